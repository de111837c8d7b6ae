"""Item neighbours for ratings against the definition, pair by pair."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.neighbours import ratingknn
from ancf_jax.models.neighbours.ratingknn import Config, make
from ancf_jax.types import Data, InputError, Query

USERS, ITEMS, SHRINKAGE = 13, 8, 2.0


@pytest.fixture(scope="module")
def ratings():
    """Each user's ratings by item, oldest first; user 4 has none, item 7 is never rated."""
    rng = np.random.default_rng(3)
    rows = [{int(item): float(rng.integers(1, 6)) for item in rng.permutation(7)[: 2 + u % 6]} for u in range(USERS)]
    rows[4] = {}
    return rows


def learnt(rows):
    """mu, b_i [I] and s_ij [I, I] from loops over users and items."""
    mean = np.mean([value for row in rows for value in row.values()])

    def damped(values, damping):
        return sum(values) / (damping + len(values)) if values else 0.0

    bias = [damped([row[item] - mean for row in rows if item in row], 3.0) for item in range(ITEMS)]
    left = [{item: row[item] - mean - bias[item] for item in row} for row in rows]
    left = [{item: row[item] - damped(list(row.values()), 1.5) for item in row} for row in left]
    similar = np.zeros((ITEMS, ITEMS))
    for i, j in np.ndindex(ITEMS, ITEMS):
        both = [(row[i], row[j]) for row in left if i in row and j in row]
        if i != j and len(both) > 1:
            a, b = np.array(both).T
            correlation = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
            similar[i, j] = max((len(both) - 1) / (len(both) - 1 + SHRINKAGE) * correlation, 0)
    return mean, np.array(bias), similar


def predict(row, item, mean, bias, similar, k):
    """r_ui of a user with the ratings `row`."""
    left = {j: value - mean - bias[j] for j, value in row.items()}
    user = sum(left.values()) / (1.5 + len(left))
    nearest = sorted(left, key=lambda j: -similar[item, j])[:k]
    total = sum(similar[item, j] for j in nearest)
    correction = sum(similar[item, j] * (left[j] - user) for j in nearest) / total if total else 0
    return mean + user + bias[item] + correction


def query_of(rows, length):
    history, values = np.full((len(rows), length), ITEMS), np.zeros((len(rows), length))
    for place, row in enumerate(rows):
        history[place, length - len(row) :], values[place, length - len(row) :] = list(row), list(row.values())
    return Query(np.full(len(rows), USERS), history.astype(np.int32), values.astype(np.float32))


@pytest.mark.parametrize(("k", "chunk"), [(2, 3), (20, 128)])  # several chunks of a history, or all of it at once
def test_predictions_follow_the_definition(ratings, monkeypatch, k, chunk):
    monkeypatch.setattr(ratingknn, "CHUNK", chunk)
    monkeypatch.setattr(ratingknn, "USER_BLOCK", 5)  # three blocks, the last one not full
    users, items = np.array([(user, item) for user, row in enumerate(ratings) for item in row]).T
    values = [value for row in ratings for value in row.values()]
    data = Data(USERS, ITEMS, build(users, items, values, np.arange(len(users)), USERS))
    model = make(Config(k, SHRINKAGE, item_damping=3.0, user_damping=1.5), data)
    params = jax.jit(model.learn.sweep)(
        model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
    )
    mean, bias, similar = learnt(ratings)
    np.testing.assert_allclose(params["tables"]["similar"], similar, rtol=1e-4, atol=1e-5)
    assert model.rates and not similar[7].any() and (similar > 0).sum() > 10
    rows = [*ratings, {7: 5.0}]  # the last one is a new user's, who has rated what nobody had
    query = query_of(rows, model.history)
    expected = np.array([[predict(row, item, mean, bias, similar, k) for item in range(ITEMS)] for row in rows])
    np.testing.assert_allclose(jax.jit(model.score)(params, query), expected, rtol=1e-4)
    items = np.array([[3, 7, 3]] * len(rows))
    given = np.take_along_axis(expected, items, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(params, query, items), given, rtol=1e-4)


def test_more_items_than_fit_are_refused(monkeypatch):
    monkeypatch.setattr("ancf_jax.devices.memory.available", lambda: 2**20)
    data = Data(1, 1000, build([0], [0], [1.0], [0], 1))
    with pytest.raises(InputError, match="--model=ratingknn: five arrays of items by items need"):
        make(Config(), data)
