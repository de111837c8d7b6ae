"""The user-item matrix in dense blocks of users, and the item Gram matrix that linear models start from."""

import jax
import jax.numpy as jnp

from ancf_jax.data.samplers import take_window
from ancf_jax.layers import multi_hot, over_items
from ancf_jax.types import Array, Interactions

USER_BLOCK = 256
ITEM_BLOCK = 4096


def user_blocks(num_users: int) -> Array:
    """All users in blocks [n, USER_BLOCK]; the last one is filled up with ids from U."""
    return jnp.arange(-(-num_users // USER_BLOCK) * USER_BLOCK).reshape(-1, USER_BLOCK)


def user_rows(train: Interactions, users: Array, num_users: int, num_items: int, longest: int) -> Array:
    """The 0/1 rows [B, I] of `users` [B] in the user-item matrix; zero for U and above.

    No user has more than `longest` interactions; an item that a user has repeatedly counts once.
    """
    inside = jnp.minimum(users, num_users - 1)
    items, _ = take_window(train, inside, jnp.asarray(train.offsets)[inside + 1], longest, num_items)
    return multi_hot(jnp.where((users < num_users)[:, None], items, num_items), num_items)


def gram(train: Interactions, num_users: int, num_items: int, longest: int) -> Array:
    """G = X^T X [I, I] of the 0/1 user-item matrix X [U, I]; `longest` as above.

    Products of zeros and ones are exact in the short mantissas of accelerators, and so are their sums below 2^24 in
    float32. Memory: G and two of its column blocks, [I, ITEM_BLOCK].
    """

    def columns(items: Array) -> Array:
        def add(total: Array, users: Array) -> tuple[Array, None]:
            x = user_rows(train, users, num_users, num_items, longest)
            return total + x.T @ x[:, items], None

        return jax.lax.scan(add, jnp.zeros((num_items, len(items))), user_blocks(num_users))[0]

    return over_items(columns, jnp.arange(num_items), ITEM_BLOCK)
