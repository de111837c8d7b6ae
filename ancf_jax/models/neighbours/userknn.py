"""User neighbours: score(u, i) = n_i^-novelty sum over users v with i of a_uv s_uv n_v^-activity.

(Herlocker, Konstan, Borchers & Riedl, An Algorithmic Framework for Performing Collaborative Filtering, 1999.) s_uv is a
similarity of similarity.py between the items of a history and those of a user in training, where item i weighs
n_i^-popularity: what everybody has says little about anybody. Who has many items is near to many: `activity` makes a
user of n_v items a more distant neighbour (for the cosine, as the asymmetry does of Aiolli, Efficient Top-N
Recommendation for Very Large Scale Binary Rated Datasets, 2013). With N(u) the k users v of the largest positive
s_uv n_v^-activity,

    a_uv = (1 - reciprocal) [v in N(u)] + reciprocal [u in N(v)]

Some users are among the nearest of very many (Radovanovic, Nanopoulos & Ivanovic, Hubs in Space, 2010), and have few of
those among their own: what is reciprocal keeps them from answering for everybody. With 1, those alone count who have
the user among their nearest, as in the code published with Ferrari Dacrema, Cremonesi & Jannach, Are We Really Making
Much Progress?, 2019, which discounts popular items too. Equally near neighbours all count, and a known user is no
neighbour of itself. Memory: the training part, and similarities [B, U].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import whole_history
from ancf_jax.models.neighbours.similarity import (
    SIMILARITIES,
    as_columns,
    comparable,
    discount,
    farthest,
    presence,
    product,
    similarity,
    slices,
    user_item_matrix,
)
from ancf_jax.nn.layers import counted, multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

BLOCK = 1 << 24  # floats of the users that are compared with all others at once
SEARCH: Space = {
    "neighbours": Range(10, 500, log=True),
    "similarity": ("cosine", "jaccard"),
    "shrinkage": Range(0.1, 100.0, log=True),
    "popularity": Range(0.0, 0.8),
    "activity": Range(0.0, 0.8),
    "reciprocal": Range(0.0, 1.0),
    "novelty": Range(0.0, 0.6),
}


@dataclass(frozen=True)
class Config:
    """User neighbours."""

    neighbours: int = field(60, "nearest neighbours that count", low=1)
    similarity: str = field("cosine", "what makes two items, or two users, alike", SIMILARITIES)
    shrinkage: float = field(3.0, "how much a similarity is shrunk where little is shared", low=0)
    popularity: float = field(0.2, "exponent that discounts popular items", low=0)
    activity: float = field(0.1, "exponent that discounts active users", low=0)
    reciprocal: float = field(0.0, "share of a neighbour's weight for having the user among its nearest", low=0, high=1)
    novelty: float = field(0.0, "exponent that discounts popular items among the recommended", low=0)


def make(config: Config, data: Data) -> Recommender:
    """User-based collaborative filtering; its one sweep keeps the training part, and any history can be scored.

    By pearson, a history whose values are all the same has no neighbours. Raises InputError if all of training's are.
    """
    num_users, num_items = data.num_users, data.num_items
    neighbours = min(config.neighbours, num_users)
    log = user_item_matrix(data.train, num_users, num_items)
    by_item = log.T.tocsr()
    known = {
        "by_user": comparable(config.similarity, log),
        "by_item": slices(by_item),
        "user_weight": discount(log, config.activity),
        "item_weight": discount(by_item, config.popularity),
        "novelty": discount(by_item, config.novelty),
        "reach": np.zeros(num_users, np.float32),  # similarity of a user's k-th nearest, where it is asked for
    }
    block = min(max(BLOCK // (num_users + num_items), 1), num_users)

    def init(key: Array, given: Given) -> Params:
        return {"tables": {}, "net": jax.tree.map(jnp.zeros_like, given.own)}

    def alike(net: Params, present: Array, values: Array, users: Array) -> Array:
        """s_uv [U, B] of `users` [B], whose items and deviations are [I, B]: nobody is like itself."""
        by_user, weight = net["by_user"], net["item_weight"]
        similar = similarity(config.similarity, by_user, num_users, present, values, weight, config.shrinkage)
        return jnp.where(jnp.arange(num_users)[:, None] == users, 0.0, similar)

    def sweep(params: Params, given: Given, key: Array) -> Params:
        net = jax.tree.map(jnp.asarray, given.own)

        def reach(users: Array) -> Array:
            similar = alike(net, *as_columns(net["by_user"], users, num_items), users)
            return farthest(similar * net["user_weight"][:, None], neighbours)

        if config.reciprocal:
            blocks = jnp.arange(-(-num_users // block) * block).reshape(-1, block)
            return {"tables": {}, "net": {**net, "reach": jax.lax.map(reach, blocks).reshape(-1)[:num_users]}}
        return {"tables": {}, "net": net}

    def weighed(net: Params, query: Query, present: Array) -> Array:
        """a_uv s_uv n_v^-activity [U, B] of queries whose items are `present` [I, B]."""
        plain = alike(net, present, deviations_of(query, present), query.users)  # [U, B]
        similar = plain * net["user_weight"][:, None]
        near = (similar >= farthest(similar, neighbours)) * (1.0 - config.reciprocal)
        if config.reciprocal:
            back = plain * jnp.maximum(present.sum(axis=0), 1.0) ** -config.activity
            # Who is as near as the k-th must not be lost to rounding.
            near += (back >= (1 - 1e-6) * net["reach"][:, None]) * config.reciprocal
        return near * jnp.maximum(similar, 0.0)

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        net = params["net"]
        near = weighed(net, query, multi_hot(query.history, num_items).T)
        scores = product(presence(net["by_item"], num_users), near, num_items).T * net["novelty"]
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    def contribute(params: Params, query: Query, items: Array) -> Array:
        """A neighbour's part is shared out over the items that it has in common with the user, by their weights."""
        net, present = params["net"], multi_hot(query.history, num_items).T
        weight = net["item_weight"][:, None]
        users, others = presence(net["by_user"], num_items), presence(net["by_item"], num_users)
        common = product(users, weight * present, num_users)  # [U, B]
        each = weighed(net, query, present) / jnp.where(common > 0, common, 1.0)

        def of_user(one: tuple[Array, ...]) -> Array:
            each, history, items = one
            having = product(users, jax.nn.one_hot(items, num_items, axis=0), num_users)  # [U, K]
            shares = weight * product(others, each[:, None] * having, num_items)  # [I, K]
            return (shares[history] * net["novelty"][items]).T

        found = jax.lax.map(of_user, (each.T, query.history, items))
        return jnp.where(counted(query.history, num_items)[:, None], found, 0.0)

    model = Recommender(
        ClosedForm(1, init, sweep),
        Given(data.train, known),
        whole_history(data),
        as_they_are,
        score,
        unit="sum of similarities",
        narrow=1,
    )
    return model if config.similarity == "pearson" else model._replace(contribute=contribute, additive=True)


def deviations_of(query: Query, present: Array) -> Array:
    """The value of each item of a history less the history's mean [I, B]; 0 where `present` [I, B] is."""
    columns = jnp.arange(len(query.users))[:, None]
    values = jnp.zeros_like(present).at[query.history, columns].add(query.values, mode="drop")
    values = present * (values - values.max(axis=0))  # so that values that are all the same deviate by exactly 0
    return present * (values - values.sum(axis=0) / jnp.maximum(present.sum(axis=0), 1.0))
