"""A small log, and parameters that are neither zero nor one."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.types import Data, Query

USERS, ITEMS = 6, 9


@pytest.fixture(scope="session")
def rows():
    """Each user's items in the order of time."""
    rng = np.random.default_rng(0)
    return [rng.permutation(ITEMS)[:count].tolist() for count in (1, 7, 2, 5, 3, 4)]


@pytest.fixture(scope="session")
def data(rows):
    users = np.repeat(np.arange(USERS), [len(row) for row in rows])
    train = build(users, np.concatenate(rows), np.ones(len(users)), np.arange(len(users)), USERS)
    return Data(USERS, ITEMS, train)


@pytest.fixture(scope="session")
def randomise():
    """A function from a model to parameters of its shapes, N(0, 0.5^2), with the zero rows that tables end with."""

    def randomise(model, seed=0):
        rng = np.random.default_rng(seed)
        shapes = jax.eval_shape(model.learn.init, jax.random.key(0), model.given)
        params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32), shapes)
        for table in params["tables"].values():
            table[-1] = 0
        return params

    return randomise


@pytest.fixture(scope="session")
def ask():
    """A function that makes a query of users with no history, or with the histories given, padded on the left."""

    def ask(users, histories=None, length=0, padding=ITEMS):
        history = np.full((len(users), length), padding, np.int32)
        for row, items in zip(history, histories or [[]] * len(users), strict=True):
            row[length - len(items) :] = items
        return Query(np.asarray(users, np.int32), history, (history < padding).astype(np.float32))

    return ask
