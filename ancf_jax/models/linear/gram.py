"""The user-item matrix as a factor of products, and the item Gram matrix that linear models start from."""

import jax
import jax.numpy as jnp
from jax.experimental.sparse import BCSR

from ancf_jax.nn.layers import over_items
from ancf_jax.types import Array, Interactions

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


def gram(train: Interactions, num_users: int, num_items: int) -> Array:
    """G = X^T X [I, I] of the 0/1 user-item matrix X [U, I], exact below 2^24.

    Memory: G and blocks [U + 2 I, ITEM_BLOCK].
    """
    x, transposed = user_items(train, num_users, num_items)

    def columns(items: Array) -> Array:
        return transposed @ (x @ jax.nn.one_hot(items, num_items, axis=0))

    return over_items(columns, jnp.arange(num_items), ITEM_BLOCK)
