"""The user-item matrix and the Gram matrix against NumPy, with an empty user and repeated items."""

import jax
import numpy as np

from ancf_jax.data.interactions import build
from ancf_jax.models.linear import gram

USERS, ITEMS = 7, 5
USER = np.array([0, 0, 1, 2, 2, 2, 2, 4, 5, 5, 6])  # user 3 has nothing, user 2 an item twice
ITEM = np.array([4, 0, 1, 2, 0, 2, 1, 4, 1, 0, 0])  # nobody has item 3
TRAIN = build(USER, ITEM, np.full(len(USER), 4.0), np.arange(len(USER)), USERS)
X = np.zeros((USERS, ITEMS))
X[USER, ITEM] = 1


def test_the_user_item_matrix_and_its_transpose():
    x, transposed = jax.jit(lambda train: gram.user_items(train, USERS, ITEMS))(TRAIN)
    np.testing.assert_array_equal(x.todense(), X)
    np.testing.assert_array_equal(transposed.todense(), X.T)


def test_blocks_of_items_give_the_gram_matrix(monkeypatch):
    monkeypatch.setattr(gram, "ITEM_BLOCK", 2)  # three blocks, the last one not full
    found = jax.jit(lambda train: gram.gram(train, USERS, ITEMS))(TRAIN)
    np.testing.assert_array_equal(found, X.T @ X)
