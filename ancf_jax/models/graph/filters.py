"""Graph filters in closed form: a history r [I], 0/1, is a signal on the items, and a score what is left of it.

With R [U, I] the 0/1 matrix of the training part and D_u, D_i the diagonals of its degrees,

    R~ = D_u^-1/2 R D_i^-1/2,    P = R~^T R~,    V = the D leading right singular vectors of R~

I - P is the Laplacian of a graph of the items, with eigenvalues in [0, 1], and each filter is a function of P: P itself
smooths a signal over items that share users, and V V^T, the ideal low-pass filter, keeps its D smoothest parts alone.
V is learned in one sweep, see linear/singular.py. Any history can be scored, so new users need no training.

P is two sparse products and is never formed, so a user costs 2 R operations each time that the filter applies it.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.data.interactions import whole_history
from ancf_jax.models.graph.propagation import Graph, edges, graph_of, product
from ancf_jax.models.linear.singular import leading
from ancf_jax.nn.layers import multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender

UNIT = "filtered history"
ROUNDS = 8  # of the subspace iteration


class Filters(NamedTuple):
    """What filters are made of; signals are columns [I + 1, B], of which the last row, padding, is zero."""

    smooth: Callable[[Array], Array]  # x -> P x
    ideal: Callable[[Array], Array]  # x -> V V^T x
    degrees: Array  # [I + 1, 1] of D_i, and 1 for an item without users


def over_histories(data: Data, *, factors: int, respond: Callable[[Array, Filters], Array]) -> Recommender:
    """The recommender of a filter: score(u, .) = respond(r), for histories r [I + 1, B] and the filters of this log.

    D is `factors`, or the number of users or items if that is smaller.
    """
    num_items = data.num_items
    factors = min(factors, num_items, data.num_users)

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"item": jnp.zeros((num_items + 1, factors))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        return {"tables": {"item": smooth_vectors(given.own, factors, key)}, "net": {}}

    def prepare(params: Params, given: Given) -> Params:
        return {"tables": params["tables"], "net": given.own}

    def score(ready: Params, query: Query, items: Array | None = None) -> Array:
        scores = filtered(respond, query.history, filters_of(ready["net"], ready["tables"]["item"]))
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    given = Given(data.train, graph_of(edges(data)))
    return Recommender(ClosedForm(1, init, sweep), given, whole_history(data), prepare, score, unit=UNIT, narrow=1)


def weighed(response: Callable[[Array], Array], degrees: Array, exponent: float) -> Callable[[Array], Array]:
    """x -> D_i^e F(D_i^-e x) of a response F."""
    weight = degrees**exponent
    return lambda x: weight * response(x / weight)


def smooth_vectors(graph: Graph, factors: int, key: Array) -> Array:
    """V [I + 1, D], and 0 for padding."""
    smooth, num_items = smoother(graph), len(graph.item_scale) - 1
    item = leading(lambda q: smooth(q)[:num_items], key, num_items, factors, ROUNDS)
    return jnp.pad(item, ((0, 1), (0, 0)))


def smoother(graph: Graph) -> Callable[[Array], Array]:
    """x -> P x."""
    return lambda x: product(graph.to_items, product(graph.to_users, x))


def filters_of(graph: Graph, vectors: Array) -> Filters:
    """The filters of a graph whose smoothest parts are V [I + 1, D]."""
    scale = jnp.asarray(graph.item_scale)[:, None]  # d^-1/2, and 0 for an item without users
    return Filters(smoother(graph), lambda x: vectors @ (vectors.T @ x), jnp.where(scale > 0, scale, 1.0) ** -2)


@jax.default_matmul_precision("highest")
def filtered(respond: Callable[[Array, Filters], Array], history: Array, filters: Filters) -> Array:
    """Scores [B, I] after histories [B, H] of any length, padded with I."""
    num_items = len(filters.degrees) - 1
    signal = jnp.pad(multi_hot(history, num_items).T, ((0, 1), (0, 0)))
    return respond(signal, filters)[:num_items].T
