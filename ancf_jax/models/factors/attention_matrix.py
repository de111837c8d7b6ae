"""The attention matrix recommender: every user attends to all items at once, and the weights are the recommendation.

    A_ui = softmax over i of s(p_u, q_i),    s(p, q) = <p, q> / sqrt(D)

is the scaled dot product of Vaswani et al., Attention Is All You Need, 2017, with users as queries and items as keys.
A score is s, which ranks the items as A does. Of features that are given, A needs no training (`attention_matrix`).
Factors are learned by the multinomial likelihood (as in Liang et al., Variational Autoencoders for Collaborative
Filtering, 2018), a user's interactions being draws from row u of A:

    L = -sum over u, and i in u's interactions, of log A_ui + l2 (|p_u|^2 + |q_i|^2)

A training row is a window of one user's interactions, so that the softmax over the catalogue is taken once for all of
them. A user never seen in training is P m, for m the mean item vector of a history, and the matrix P that maps the
means of the users in training to their own vectors best (ridge regression, in `prepare`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import latest
from ancf_jax.data.samplers import over_windows, take_window
from ancf_jax.nn.layers import inner_products, item_vectors, table
from ancf_jax.nn.losses import catalogue_softmax
from ancf_jax.types import Array, ArrayLike, Data, Given, Gradient, Params, Query, Recommender

RIDGE = 0.01  # penalty on the projection of histories, in mean squares of a column of the regression
USER_BLOCK = 256
SEARCH: Space = {
    "factors": (16, 32, 64, 128),
    "l2": Range(0.0001, 0.1, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
}


@dataclass(frozen=True)
class Config:
    """The attention matrix."""

    factors: int = field(64, "embedding width D", low=1)
    history: int = field(100, "latest interactions, H, that a training row holds and that place a new user", low=1)
    l2: float = field(0.0, "L2 penalty on the embeddings of each positive", low=0)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Windows of one user each."""

    users: Array  # [B]
    items: Array  # [B, H], padded with I


def attention_matrix(users: ArrayLike, items: ArrayLike) -> Array:
    """A [U, I] of user features [U, D] and item features [I, D]: A_ui = softmax over i of <p_u, q_i> / sqrt(D).

    Each row is a distribution over the items. By hand, with D = 4 and so sqrt(D) = 2: user 0 sees the first feature,
    user 1 the second, user 2 both; e^s is 1, 2, 1 for user 0, 1, 1, 3 for user 1 and their product 1, 2, 3 for user 2.

    >>> import numpy as np
    >>> users = jnp.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0]])
    >>> items = 2 * jnp.log(jnp.array([[1.0, 1, 1, 1], [2, 1, 1, 1], [1, 3, 1, 1]]))
    >>> print(np.asarray(attention_matrix(users, items)).round(4))
    [[0.25   0.5    0.25  ]
     [0.2    0.2    0.6   ]
     [0.1667 0.3333 0.5   ]]
    """
    return jax.nn.softmax(users @ items.T / users.shape[-1] ** 0.5, axis=-1)


def make(config: Config, data: Data) -> Recommender:
    """The attention matrix of learned factors, by gradient steps over windows of users' interactions."""
    num_users, num_items, length = data.num_users, data.num_items, config.history
    given = over_windows(data, length)
    scale = config.factors**-0.5

    def init(key: Array, given: Given) -> Params:
        user, item = jax.random.split(key)
        tables = {
            "user": table(user, num_users, config.factors, config.stddev),
            "item": table(item, num_items, config.factors, config.stddev),
        }
        return {"tables": tables, "net": {}}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, ends = given.own.at(index)
        return Batch(users, take_window(given.train, users, ends, length, num_items)[0])

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user, chosen = tables["user"][batch.users], tables["item"][batch.items]  # [B, D], [B, H, D]
        positive = jnp.einsum("bd,bhd->bh", user * scale, chosen)
        penalty = config.l2 * (jnp.sum(user**2, -1)[:, None] + jnp.sum(chosen**2, -1))
        counted = batch.items < num_items
        return catalogue_softmax(user * scale, tables["item"][:num_items], positive - penalty, counted)

    def mean_item(item: Array, history: Array) -> Array:
        """The mean vector [B, D] of the items of each history [B, H]; 0 without any."""
        count = jnp.sum(history < num_items, 1, keepdims=True)
        return jnp.sum(item[history], 1) / jnp.maximum(count, 1)

    def prepare(params: Params, given: Given) -> dict:
        """The tables, and the projection P^T [D, D] of mean item vectors to users."""
        user, item = (params["tables"][name].astype(jnp.float32) for name in ("user", "item"))
        train = given.train

        def of_user(row: Array) -> Array:
            history, _ = take_window(train, row[None], jnp.asarray(train.offsets)[row + 1][None], length, num_items)
            return mean_item(item, history)[0]

        means = jax.lax.map(of_user, jnp.arange(num_users), batch_size=USER_BLOCK)
        gram = means.T @ means
        gram = gram + (RIDGE * jnp.trace(gram) / config.factors + 1e-9) * jnp.eye(config.factors)
        projection = jnp.linalg.solve(gram, means.T @ user[:num_users])
        return {**item_vectors(params, given), "net": {"projection": projection.astype(params["tables"]["user"].dtype)}}

    def embed(ready: dict, query: Query) -> tuple[Array, Array]:
        tables = ready["tables"]
        new = mean_item(tables["item"], query.history) @ ready["net"]["projection"]
        user = jnp.where((query.users == num_users)[:, None], new, tables["user"][query.users])
        return user * scale, tables["vectors"]

    def contribute(ready: dict, query: Query, items: Array) -> Array:
        item, count = ready["tables"]["item"], jnp.sum(query.history < num_items, 1)
        past = item[query.history] @ ready["net"]["projection"] * scale
        return jnp.einsum("bhd,bkd->bkh", past, item[items]) / jnp.maximum(count, 1)[:, None, None]

    learn = Gradient(len(given.own.users), init, sample, loss, batch=64)
    model = Recommender(learn, given, length, prepare, inner_products(embed), embed, alone=True)
    return model._replace(order=latest(data, length), contribute=contribute, additive=True)
