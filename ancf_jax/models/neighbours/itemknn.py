"""Item neighbours: score(u, i) = sum over j in the k nearest neighbours of i, j in u's history, of s_ij.

(Sarwar, Karypis, Konstan & Riedl, Item-Based Collaborative Filtering Recommendation Algorithms, 2001; Deshpande &
Karypis, Item-Based Top-N Recommendation Algorithms, 2004.) s_ij is a similarity of similarity.py between the users of
two items, where user u weighs n_u^-activity: users of many interactions say less about each pair. Neighbours have
positive similarities; of equally near ones, those of the lowest ids are kept. Memory: k ids and similarities an item.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import whole_history
from ancf_jax.models.neighbours.similarity import (
    SIMILARITIES,
    Slices,
    as_columns,
    comparable,
    discount,
    product,
    similarity,
    user_item_matrix,
)
from ancf_jax.nn.layers import counted, multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

BLOCK = 1 << 26  # floats of the items that are compared with all others at once
SEARCH: Space = {
    "neighbours": Range(10, 500, log=True),
    "similarity": ("cosine", "jaccard"),
    "shrinkage": Range(0.1, 300.0, log=True),
    "activity": Range(0.0, 1.0),
}


@dataclass(frozen=True)
class Config:
    """Item neighbours."""

    neighbours: int = field(100, "nearest neighbours that count", low=1)
    similarity: str = field("cosine", "what makes two items, or two users, alike", SIMILARITIES)
    shrinkage: float = field(10.0, "how much a similarity is shrunk where little is shared", low=0)
    activity: float = field(0.5, "exponent that discounts active users", low=0)


def make(config: Config, data: Data) -> Recommender:
    """Item-based collaborative filtering; learns in one sweep and scores any history, so new users need no training.

    Raises InputError for pearson where all values are the same.
    """
    num_users, num_items = data.num_users, data.num_items
    neighbours = min(config.neighbours, num_items)
    log = user_item_matrix(data.train, num_users, num_items)
    given = Given(data.train, (comparable(config.similarity, log.T.tocsr()), discount(log, config.activity)))
    block = min(max(BLOCK // (num_users + num_items), 1), num_items)

    def init(key: Array, given: Given) -> Params:
        shape = (num_items, neighbours)
        return {"tables": {"neighbours": jnp.zeros(shape, jnp.int32), "similar": jnp.zeros(shape)}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        matrix, weight = given.own  # items by users, and [U]

        def nearest(items: Array) -> tuple[Array, Array]:
            """The neighbours of consecutive `items` [b] and their similarities, both [b, k]."""
            present, values = as_columns(matrix, items, num_users)
            similar = similarity(config.similarity, matrix, num_items, present, values, weight, config.shrinkage)
            similar = jnp.where(jnp.arange(num_items)[:, None] == items, 0.0, similar)  # [I, b]
            best, ids = jax.lax.top_k(similar.T, neighbours)
            return ids, jnp.maximum(best, 0.0)

        blocks = jnp.arange(-(-num_items // block) * block).reshape(-1, block)
        ids, similar = (part.reshape(-1, neighbours)[:num_items] for part in jax.lax.map(nearest, blocks))
        return {"tables": {"neighbours": ids, "similar": similar}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        tables = params["tables"]
        nearby = Slices(jnp.arange(num_items), tables["neighbours"], tables["similar"])
        scores = product(nearby, multi_hot(query.history, num_items).T, num_items).T
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    def contribute(params: Params, query: Query, items: Array) -> Array:
        ids, similar = (params["tables"][name][items] for name in ("neighbours", "similar"))  # [B, K, k]
        alike = jax.vmap(jax.vmap(lambda ids, similar: jnp.zeros(num_items + 1).at[ids].add(similar)))(ids, similar)
        found = jnp.take_along_axis(alike, query.history[:, None], axis=2)
        return jnp.where(counted(query.history, num_items)[:, None], found, 0.0)

    model = Recommender(
        ClosedForm(1, init, sweep), given, whole_history(data), as_they_are, score, unit="sum of similarities", narrow=1
    )
    return model._replace(contribute=contribute, additive=True)
