"""What ANCF's scores have that training cannot weigh, as what it predicts lies all over the log: two terms.

How far each item is on the rise: r_i = log((w_i + c) / (n_i w + c)), with n_i its interactions and w_i how many of them
are late, each counting 2^(-age / half-life), of which w is the mean over the log. It is 0 for an item whose times are
spread as all are, and c = 5 keeps it near 0 for one that has few. What is held out of a user is later than what is
known of them, so an item that has left the shelf is less likely than it was, and a new one more.

How often the user did it: log(1 + n_ui), with n_ui how often item i is in the whole history. It is 0 for an item that
is new to the user, so it matters where the log keeps repeats and lists may have them.
"""

import jax.numpy as jnp
import numpy as np

from ancf_jax.data.interactions import recency
from ancf_jax.types import Array, Interactions

HALF_LIFE = 0.1  # of the log
FEW = 5.0  # c


def rises(train: Interactions, num_items: int) -> np.ndarray:
    """r [I + 1] float32, 0 at padding."""
    items, late = np.asarray(train.items), np.asarray(recency(np.asarray(train.order), HALF_LIFE))
    of_item = np.bincount(items, late, num_items + 1)
    usual = np.bincount(items, minlength=num_items + 1) * late.mean()
    return np.log((of_item + FEW) / (usual + FEW)).astype(np.float32)


def often(history: Array, num_items: int) -> Array:
    """log(1 + n) [B, I] of histories [B, H]."""
    rows = jnp.arange(len(history))[:, None]
    return jnp.log1p(jnp.zeros((len(history), num_items)).at[rows, history].add(1.0, mode="drop"))


def falls_of_often(history: Array, items: Array) -> Array:
    """What log(1 + n) of items [B, K] loses without the item of each column of histories [B, H]: [B, K, H]."""
    same = history[:, None] == items[:, :, None]
    return same * jnp.log1p(same.sum(axis=2, keepdims=True))


def share_out_often(history: Array, items: Array) -> Array:
    """log(1 + n) of items [B, K], in equal shares on the n interactions of histories [B, H] with it: [B, K, H]."""
    same = history[:, None] == items[:, :, None]
    count = same.sum(axis=2, keepdims=True)
    return same * jnp.log1p(count) / jnp.maximum(count, 1)
