"""User neighbours: score(u, i) = sum over v in the k nearest neighbours of u, v with i, of s_uv n_v^-activity.

(Herlocker, Konstan, Borchers & Riedl, An Algorithmic Framework for Performing Collaborative Filtering, 1999.) s_uv is a
similarity of similarity.py between the items of a history and those of a user in training, where item i weighs
n_i^-popularity: what everybody has says little about anybody. Who has many items is near to many: `activity` makes a
user of n_v items a more distant neighbour (for the cosine, as the asymmetry does of Aiolli, Efficient Top-N
Recommendation for Very Large Scale Binary Rated Datasets, 2013). Neighbours have positive similarities, and equally
near ones all count. A known user is no neighbour of itself. Memory: the training part, and similarities [B, U].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import field
from ancf_jax.layers import multi_hot
from ancf_jax.similarity import (
    SIMILARITIES,
    comparable,
    discount,
    presence,
    product,
    similarity,
    slices,
    user_item_matrix,
)
from ancf_jax.types import Array, ClosedForm, Data, Interactions, Params, Query, Recommender


@dataclass(frozen=True)
class Config:
    """User neighbours."""

    neighbours: int = field(60, "nearest neighbours that count", low=1)
    similarity: str = field("cosine", "what makes two items, or two users, alike", SIMILARITIES)
    shrinkage: float = field(3.0, "how much a similarity is shrunk where little is shared", low=0)
    popularity: float = field(0.2, "exponent that discounts popular items", low=0)
    activity: float = field(0.1, "exponent that discounts active users", low=0)


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
    }

    def init(key: Array) -> Params:
        return {"tables": {}, "net": jax.tree.map(jnp.zeros_like, known)}

    def sweep(params: Params, train: Interactions, key: Array) -> Params:
        return {"tables": {}, "net": jax.tree.map(jnp.asarray, known)}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        by_user, by_item, user_weight, item_weight = (params["net"][name] for name in known)
        present = multi_hot(query.history, num_items).T  # [I, B]
        values = deviations_of(query, present)
        similar = similarity(config.similarity, by_user, num_users, present, values, item_weight, config.shrinkage)
        itself = jnp.arange(num_users)[:, None] == query.users
        similar = jnp.where(itself, 0.0, similar * user_weight[:, None]).T  # [B, U]
        farthest = jax.lax.top_k(similar, neighbours)[0][:, -1:]  # [B, 1], of each user's k nearest
        similar = jnp.where(similar >= jnp.maximum(farthest, 0.0), similar, 0.0)
        scores = product(presence(by_item, num_users), similar.T, num_items).T
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    # A query may know more of a user than training did: the validation part, and the test part when serving.
    longest = max(int(np.diff(np.asarray(data.train.offsets)).max(initial=0)), 1)
    return Recommender(ClosedForm(1, init, sweep), min(2 * longest, num_items), lambda params: params, score)


def deviations_of(query: Query, present: Array) -> Array:
    """The value of each item of a history less the history's mean [I, B]; 0 where `present` [I, B] is."""
    columns = jnp.arange(len(query.users))[:, None]
    values = jnp.zeros_like(present).at[query.history, columns].add(query.values, mode="drop")
    values = present * (values - values.max(axis=0))  # so that values that are all the same deviate by exactly 0
    return present * (values - values.sum(axis=0) / jnp.maximum(present.sum(axis=0), 1.0))
