"""User neighbours for ratings: a baseline, corrected by how the most similar users rated the item.

    r_ui = b_ui + sum over v in N(u) with i of s_uv (r_vi - b_vi) / (caution + sum over the same v of s_uv)

(Resnick et al., GroupLens: An Open Architecture for Collaborative Filtering of Netnews, 1994; Herlocker, Konstan,
Borchers & Riedl, An Algorithmic Framework for Performing Collaborative Filtering, 1999.) b_ui = mu + b_u + b_i is made
of damped means (see `residuals` in ratings.py), where those papers have the mean of a user alone. s_uv is the
correlation of what it leaves over the items that both have rated, shrunk where these are few (pearson in
similarity.py), and N(u) are the k users for whom it is largest and positive, whatever they have rated; equally near
ones all count. `caution` draws a prediction towards the baseline where few of them have the item. b_u is taken from the
query's history, so new users need no training, and a known user is no neighbour of itself. Memory: the training part,
and similarities [B, U].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_matrix

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import whole_history
from ancf_jax.models.neighbours.similarity import farthest, presence, product, similarity, slices
from ancf_jax.nn.layers import multi_hot
from ancf_jax.nn.value_heads import left_by, residuals
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

SEARCH: Space = {
    "neighbours": Range(20, 1000, log=True),
    "shrinkage": Range(5.0, 200.0, log=True),
    "caution": Range(0.0, 4.0),
    "item_damping": Range(1.0, 50.0, log=True),
    "user_damping": Range(1.0, 50.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """User neighbours for ratings."""

    neighbours: int = field(300, "nearest neighbours that count", low=1)
    shrinkage: float = field(50.0, "how much a similarity is shrunk where little is shared", low=0)
    caution: float = field(0.5, "similarity of neighbours whose word counts half", low=0)
    item_damping: float = field(5.0, "shrinks the biases of items of few ratings", low=0)
    user_damping: float = field(3.0, "shrinks the biases of users of few ratings", low=0)


def make(config: Config, data: Data) -> Recommender:
    """User neighbours for ratings; the one sweep keeps what the baseline leaves of the training part."""
    num_users, num_items = data.num_users, data.num_items
    neighbours = min(config.neighbours, num_users)
    mean, item_bias, left = residuals(data.train, num_users, num_items, config.item_damping, config.user_damping)
    places = (np.asarray(data.train.users), np.asarray(data.train.items))
    log = csr_matrix((np.asarray(left), places), shape=(num_users, num_items))
    net = {"mean": mean, "by_user": slices(log), "by_item": slices(log.T.tocsr())}
    known = {"tables": {"item_bias": jnp.append(item_bias, 0.0)}, "net": net}

    def init(key: Array, given: Given) -> Params:
        return jax.tree.map(jnp.zeros_like, given.own)

    def sweep(params: Params, given: Given, key: Array) -> Params:
        return jax.tree.map(jnp.asarray, given.own)

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        net, item_bias = params["net"], params["tables"]["item_bias"]
        user_bias, left = left_by(query, net["mean"], item_bias, config.user_damping)
        present = multi_hot(query.history, num_items).T  # [I, B]
        columns = jnp.arange(len(left))[:, None]
        values = jnp.zeros_like(present).at[query.history, columns].add(left, mode="drop")
        everywhere = jnp.ones(num_items)
        similar = similarity("pearson", net["by_user"], num_users, present, values, everywhere, config.shrinkage)
        itself = jnp.arange(num_users)[:, None] == query.users
        similar = jnp.where(itself, 0.0, jnp.maximum(similar, 0.0))  # [U, B]
        similar = jnp.where(similar >= farthest(similar, neighbours), similar, 0.0)
        total = config.caution + product(presence(net["by_item"], num_users), similar, num_items)
        correction = product(net["by_item"], similar, num_items) / jnp.where(total > 0, total, 1.0)
        scores = net["mean"] + user_bias[:, None] + item_bias[:num_items] + correction.T
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    return Recommender(
        ClosedForm(1, init, sweep),
        Given(data.train, known),
        whole_history(data),
        as_they_are,
        score,
        rates=True,
        narrow=1,
    )
