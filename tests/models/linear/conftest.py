"""A log in which some items go together, and what a linear model learns of one in its only sweep."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.types import Data

USERS, ITEMS = 40, 11


@pytest.fixture(scope="session")
def log():
    """The 0/1 matrix [U, I] in which some items go together, and its data; user 3 has nothing, user 7 items twice."""
    rng = np.random.default_rng(0)
    taste = rng.random((USERS, 3)) ** 2 @ rng.random((3, ITEMS)) ** 2
    x = (taste > np.median(taste)) ^ (rng.random(taste.shape) < 0.1)
    x[3] = False
    users, items = np.nonzero(np.concatenate([x, x[7:8]]))
    users = np.where(users == USERS, 7, users)
    data = Data(USERS, ITEMS, build(users, items, np.ones(len(users)), np.arange(len(users)), USERS))
    return x.astype(np.float64), data


@pytest.fixture(scope="session")
def learned():
    """A function from a model to its parameters after the one sweep."""

    def learned(model):
        assert model.learn.sweeps == 1
        params = model.learn.init(jax.random.key(0), model.given)
        return jax.jit(model.learn.sweep)(params, model.given, jax.random.key(0))

    return learned
