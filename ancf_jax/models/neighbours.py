"""Item neighbours: score(u, i) = sum over j in the k nearest neighbours of i, j in u's history, of s_ij.

Cosine over weighted users with shrinkage (Deshpande & Karypis, Item-based top-N recommendation algorithms, 2004):

    s_ij = g_ij / (sqrt(g_ii g_jj) + shrinkage),   g_ij = sum over users u with i and j of 1 / n_u^activity

Users of many interactions say less about each pair: `activity` discounts them. Memory: two float32 arrays [I, I].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import field
from ancf_jax.data.samplers import take_window
from ancf_jax.layers import multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Interactions, Params, Query, Recommender

USER_BLOCK = 256


@dataclass(frozen=True)
class Config:
    """Item neighbours."""

    neighbours: int = field(100, "neighbours kept per item", low=1)
    shrinkage: float = field(10.0, "added to the cosine's denominator", low=0)
    activity: float = field(0.5, "exponent that discounts active users", low=0)


def make(config: Config, data: Data) -> Recommender:
    """Item-based collaborative filtering; learns in one sweep and scores any history, so new users need no training."""
    num_users, num_items = data.num_users, data.num_items
    neighbours = min(config.neighbours, num_items)
    longest = max(int(np.diff(np.asarray(data.train.offsets)).max(initial=0)), 1)

    def init(key: Array) -> Params:
        return {"tables": {"similar": jnp.zeros((num_items, num_items))}, "net": {}}

    def sweep(params: Params, train: Interactions, key: Array) -> Params:
        offsets = jnp.asarray(train.offsets)

        def add(gram, users):
            ends = offsets[jnp.minimum(users, num_users - 1) + 1]
            rows, _ = take_window(train, jnp.minimum(users, num_users - 1), ends, longest, num_items)
            x = multi_hot(jnp.where((users < num_users)[:, None], rows, num_items), num_items)  # [b, I]
            weight = jnp.maximum(x.sum(1), 1.0) ** -config.activity
            return gram + (x * weight[:, None]).T @ x, None

        blocks = jnp.arange(-(-num_users // USER_BLOCK) * USER_BLOCK).reshape(-1, USER_BLOCK)
        gram, _ = jax.lax.scan(add, jnp.zeros((num_items, num_items)), blocks)
        norm = jnp.sqrt(jnp.diag(gram))
        similar = gram / (norm[:, None] * norm[None, :] + config.shrinkage + 1e-12)
        similar = jnp.where(jnp.eye(num_items, dtype=bool), 0.0, similar)
        weakest = jax.lax.top_k(similar, neighbours)[0][:, -1:]  # [I, 1], of each item's k nearest
        return {"tables": {"similar": jnp.where(similar >= weakest, similar, 0.0).T}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        scores = multi_hot(query.history, num_items) @ params["tables"]["similar"]
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    # A query may know more of a user than training did: the validation part, and the test part when serving.
    return Recommender(ClosedForm(1, init, sweep), min(2 * longest, num_items), lambda params: params, score)
