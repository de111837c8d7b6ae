"""How far each item is on the rise: r_i = log((w_i + c) / (n_i w + c)), with n_i its interactions and w_i how many of
them are late, each counting 2^(-age / half-life), of which w is the mean over the log.

It is 0 for an item whose interactions are spread as all are, and c = 5 keeps it near 0 for one that has few. What is
held out of a user is later than what is known of them, so an item that has left the shelf is less likely than it was,
and a new one more. Training cannot learn its weight: what it predicts lies all over the log.
"""

import numpy as np

from ancf_jax.data.interactions import recency
from ancf_jax.types import Interactions

HALF_LIFE = 0.1  # of the log
FEW = 5.0  # c


def rises(train: Interactions, num_items: int) -> np.ndarray:
    """r [I + 1] float32, 0 at padding."""
    items, late = np.asarray(train.items), np.asarray(recency(np.asarray(train.order), HALF_LIFE))
    of_item = np.bincount(items, late, num_items + 1)
    usual = np.bincount(items, minlength=num_items + 1) * late.mean()
    return np.log((of_item + FEW) / (usual + FEW)).astype(np.float32)
