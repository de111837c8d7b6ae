"""The user-item matrix and the Gram matrix against NumPy, with an empty user and repeated items."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.devices import memory
from ancf_jax.models.linear import ease, gram, slim
from ancf_jax.types import Data, InputError

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


@pytest.mark.parametrize("module", [ease, slim])
def test_too_many_items_are_refused_before_anything_is_allocated(module, monkeypatch):
    data = Data(USERS, ITEMS, TRAIN)
    monkeypatch.setattr(memory, "available", lambda: 8 * ITEMS**2 - 1)
    with pytest.raises(InputError, match="--item_core"):
        module.make(module.Config(), data)
    monkeypatch.setattr(memory, "available", lambda: 8 * ITEMS**2)
    module.make(module.Config(), data)
