"""What linear models share: the user-item matrix as a factor of products, its Gram matrix, and score(u, .) = x_u B."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCSR

from ancf_jax.data.interactions import whole_history
from ancf_jax.devices.memory import check_memory
from ancf_jax.nn.layers import counted, multi_hot, over_items
from ancf_jax.types import (
    Array,
    ArrayLike,
    ClosedForm,
    Data,
    Given,
    Interactions,
    Params,
    Query,
    Recommender,
    as_they_are,
)

ITEM_BLOCK = 1024


def user_items(train: Interactions, num_users: int, num_items: int) -> tuple[BCSR, BCSR]:
    """The 0/1 user-item matrix X [U, I] and its transpose; an item that a user has repeatedly counts once.

    A product with W columns takes 2 R W operations for R interactions, where one with a dense matrix takes 2 U I W.
    """
    users, items, offsets = (jnp.asarray(column) for column in (train.users, train.known, train.offsets))
    again = (users[1:] == users[:-1]) & (items[1:] == items[:-1])
    weights = jnp.ones(len(items)).at[1:].set(jnp.where(again, 0.0, 1.0))
    by_item = jnp.argsort(items)
    ends = jnp.searchsorted(items[by_item], jnp.arange(num_items + 1)).astype(jnp.int32)
    return (
        BCSR((weights, items, offsets), shape=(num_users, num_items)),
        BCSR((weights[by_item], users[by_item], ends), shape=(num_items, num_users)),
    )


def user_weights(train: Interactions, activity: float) -> np.ndarray:
    """w_u = c |I_u|^-activity [U], with c such that all entries of X together weigh what they would for activity 0."""
    users, items = np.asarray(train.users), np.asarray(train.known)
    again = np.append(False, (users[1:] == users[:-1]) & (items[1:] == items[:-1]))
    counts = np.bincount(users[~again], minlength=len(train.offsets) - 1)
    weights = np.maximum(counts, 1.0) ** -activity
    return (weights * (counts.sum() / max((counts * weights).sum(), 1.0))).astype(np.float32)


def gram(
    train: Interactions, num_users: int, num_items: int, among: Array | None = None, weights: ArrayLike | float = 1.0
) -> Array:
    """G = X^T diag(w) X [I, I] of the 0/1 user-item matrix X [U, I] and weights w [U] of users, or one of all.

    Exact below 2^24 without weights; or [M, M] of the items `among` [M]. Memory: G and blocks [U + 2 I, ITEM_BLOCK].
    """
    x, transposed = user_items(train, num_users, num_items)
    rows = jnp.asarray(weights).reshape(-1, 1)

    def columns(items: Array) -> Array:
        found = transposed @ (rows * (x @ jax.nn.one_hot(items, num_items, axis=0)))
        return found if among is None else found[among]

    return over_items(columns, jnp.arange(num_items) if among is None else among, ITEM_BLOCK)


def over_items_squared(
    name: str, data: Data, solve: Callable[[Array, Array], Array], activity: float = 0.0
) -> Recommender:
    """The linear model with B = solve(G, B); learns in one sweep and scores any history: new users need no training.

    A user weighs the less in G the more items it has: |I_u|^-activity.
    """
    num_users, num_items = data.num_users, data.num_items
    check_memory(name, 2 * 4 * num_items**2, f"two arrays of items squared, {num_items} x {num_items},")

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"weight": jnp.zeros((num_items, num_items))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        g = gram(given.train, num_users, num_items, weights=given.own)
        weight = solve(g, params["tables"]["weight"])
        return {"tables": {"weight": weight}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        # Of a large catalogue nearly all is zero: a dense product took 16 times as long at 20,000 items.
        rows: Any = multi_hot(query.history, num_items)
        rows = BCSR.fromdense(rows, nse=query.history.size) if len(rows) > 1 else rows
        scores = rows @ params["tables"]["weight"]
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    def contribute(params: Params, query: Query, items: Array) -> Array:
        found = params["tables"]["weight"][query.history[:, None], items[:, :, None]]
        return jnp.where(counted(query.history, num_items)[:, None], found, 0.0)

    learn = ClosedForm(1, init, sweep)
    given = Given(data.train, user_weights(data.train, activity))
    model = Recommender(learn, given, whole_history(data), as_they_are, score, narrow=1)
    return model._replace(contribute=contribute, additive=True)
