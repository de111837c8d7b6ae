"""The Gram matrix and the user-item matrix behind it, against NumPy on an empty user and repeated items."""

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax import gram
from ancf_jax.data.interactions import build

USERS, ITEMS = 7, 5
USER = np.array([0, 0, 1, 2, 2, 2, 2, 4, 5, 5, 6])  # user 3 has nothing, user 2 an item twice
ITEM = np.array([4, 0, 1, 2, 0, 2, 3, 4, 1, 3, 0])


def test_blocks_of_users_and_items_give_the_gram_matrix(monkeypatch):
    monkeypatch.setattr(gram, "USER_BLOCK", 3)  # three blocks, the last one not full
    monkeypatch.setattr(gram, "ITEM_BLOCK", 2)
    train = build(USER, ITEM, np.full(len(USER), 4.0), np.arange(len(USER)), USERS)
    x = np.zeros((USERS, ITEMS))
    x[USER, ITEM] = 1
    rows = [gram.user_rows(train, users, USERS, ITEMS, 4) for users in gram.user_blocks(USERS)]
    np.testing.assert_array_equal(jnp.concatenate(rows)[:USERS], x)
    assert not jnp.concatenate(rows)[USERS:].any()
    found = jax.jit(lambda train: gram.gram(train, USERS, ITEMS, 4))(train)
    np.testing.assert_array_equal(found, x.T @ x)
