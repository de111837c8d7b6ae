"""A graph filter as ANCF's closed form: score(u, i) = asinh(f_ui / 2b), f_ui ChebyCF's (graph/chebycf.py).

b is the share of pairs of user and item that interacted, as in prior.py. The filter knows all items, at a cost that
grows with the interactions, where EASE's grows with the square of the items. A user's own interactions are in the graph
that their scores are filtered by, so training scores flatter it and nothing can be learnt beside them, only apart.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.models.ancf.prior import log_like, shares
from ancf_jax.models.graph import chebycf
from ancf_jax.models.graph.filters import Filters, filtered, filters_of, smooth_vectors
from ancf_jax.models.graph.propagation import Graph, edges, graph_of
from ancf_jax.types import Array, Data, Interactions

Respond = Callable[[Array, Filters], Array]


class Filtered(NamedTuple):
    """The closed form's settings, and what it is made of."""

    respond: Respond  # signals x [I + 1, B] -> F x
    reverse: Respond  # x -> F^T x
    factors: int
    mean: float  # b
    known: Graph

    def fit(self, train: Interactions, known: Graph) -> dict[str, Array]:
        """V [I + 1, D]."""
        return {"vectors": smooth_vectors(known, self.factors, jax.random.key(0))}

    def ready(self, held: dict[str, Array], known: Graph) -> tuple[Graph, Array]:
        """What scores need: the graph and V."""
        return known, held["vectors"]

    def of_history(self, ready: tuple[Graph, Array], history: Array) -> Array:
        """Scores [B, I] of all items after histories [B, H]."""
        return log_like(filtered(self.respond, history, filters_of(*ready)), self.mean)

    def contribute(self, ready: tuple[Graph, Array], history: Array, items: Array) -> Array:
        """The scores of items [B, K] after histories [B, H], shared out over these: F_ih of each, [B, K, H]."""
        filters = filters_of(*ready)

        def of_user(past: Array, wanted: Array) -> Array:
            return jnp.pad(filtered(self.reverse, wanted[:, None], filters), ((0, 0), (0, 1)))[:, past]

        return shares(jax.lax.map(lambda pair: of_user(*pair), (history, items)), self.mean)


def make(config: Any, data: Data) -> Filtered:
    """The filter of ANCF's settings (ancf.Config)."""
    factors = min(config.prior_factors, data.num_items, data.num_users)
    settings = chebycf.Config(flatness=config.prior_flatness, normalisation=config.prior_exponent)
    transposed = replace(settings, normalisation=-settings.normalisation)
    respond, reverse = chebycf.respond_of(settings), chebycf.respond_of(transposed)
    mean = len(data.train.items) / data.num_users / data.num_items
    return Filtered(respond, reverse, factors, mean, graph_of(edges(data)))
