"""A log to filter, dense matrices of it, and what a filter learns of it in its only sweep."""

from typing import NamedTuple

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.types import Data

USERS, ITEMS = 14, 9


class Log(NamedTuple):
    """User 3 has nothing, user 5 items twice, and nobody has item 6."""

    x: np.ndarray  # [U, I] 0/1
    data: Data

    def normalised(self, a=0.5, b=0.5):
        """D_u^-a X D_i^-b [U, I]."""
        user, item = (np.maximum(self.x.sum(axis), 1) for axis in (1, 0))
        return user[:, None] ** -a * self.x * item**-b

    def smooth(self):
        """P [I, I]."""
        return self.normalised().T @ self.normalised()

    def ideal(self, factors, exponent):
        """D_i^-e V V^T D_i^e [I, I]."""
        v = np.linalg.svd(self.normalised())[2][:factors].T
        degrees = np.maximum(self.x.sum(0), 1)
        return degrees[:, None] ** -exponent * (v @ v.T) * degrees**exponent


@pytest.fixture(scope="session")
def log():
    x = np.random.default_rng(5).random((USERS, ITEMS)) < np.linspace(0.2, 0.7, ITEMS)
    x[3], x[:, 6] = False, False
    users, items = np.nonzero(np.concatenate([x, x[5:6]]))
    users = np.where(users == USERS, 5, users)
    train = build(users, items, np.ones(len(users)), np.arange(len(users)), USERS)
    return Log(x.astype(np.float64), Data(USERS, ITEMS, train))


@pytest.fixture(scope="session")
def scores_of(log, ask):
    """A function from a model to its scores of all users and two new ones after the sweep, and their rows [U + 2, I].

    One of the new users has an item twice, one has an item that nobody has.
    """
    histories = [*(np.flatnonzero(row).tolist() for row in log.x), [7, 0, 7], [6, 2]]
    rows = np.array([np.isin(np.arange(ITEMS), history) for history in histories]).astype(np.float64)

    def scores_of(model):
        assert model.learn.sweeps == 1
        params = jax.jit(model.learn.sweep)(
            model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
        )
        ready = jax.jit(model.prepare)(params, model.given)
        query = ask([*range(USERS), USERS, USERS], histories, model.history, ITEMS)
        return np.asarray(jax.jit(model.score)(ready, query)), rows

    return scores_of
