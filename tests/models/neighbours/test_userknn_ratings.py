"""User neighbours for ratings against the definition, pair by pair."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.neighbours.userknn_ratings import Config, make
from ancf_jax.types import Data, Query

USERS, ITEMS, SHRINKAGE = 13, 16, 2.0
NEW = [{15: 5.0}, {2: 1.0, 0: 5.0, 6: 2.0, 9: 4.0}]  # the ratings of new users; nobody in training has item 15


@pytest.fixture(scope="module")
def ratings():
    """Each user's ratings by item, oldest first; user 4 has none."""
    rng = np.random.default_rng(3)
    rows = [{int(item): float(rng.integers(1, 6)) for item in rng.permutation(15)[: 6 + u % 6]} for u in range(USERS)]
    rows[4] = {}
    return rows


def damped(values, damping):
    return sum(values) / (damping + len(values)) if values else 0.0


def predictions(rows, k, caution):
    """r_ui [B, I] of all users and the new ones, from loops."""
    mean = np.mean([value for row in rows for value in row.values()])
    bias = [damped([row[item] - mean for row in rows if item in row], 3.0) for item in range(ITEMS)]
    left = [{item: row[item] - mean - bias[item] for item in row} for row in [*rows, *NEW]]
    user = [damped(list(row.values()), 1.5) for row in left]
    left = [{item: row[item] - user[n] for item in row} for n, row in enumerate(left)]

    def similar(one, other):
        both = [(one[i], other[i]) for i in one if i in other]
        a, b = np.array(both or [(0.0, 0.0)]).T
        norm = np.sqrt((a**2).sum() * (b**2).sum())
        return len(both) / (len(both) + SHRINKAGE) * (a * b).sum() / norm if norm else 0.0

    expected = np.empty((len(left), ITEMS))
    for u, row in enumerate(left):
        near = {v: s for v in range(USERS) if v != u and (s := similar(row, left[v])) > 0}
        near = dict(sorted(near.items(), key=lambda pair: -pair[1])[:k])
        for i in range(ITEMS):
            having = [v for v in near if i in left[v]]
            below = caution + sum(near[v] for v in having)
            correction = sum(near[v] * left[v][i] for v in having) / below if having else 0.0
            expected[u, i] = mean + user[u] + bias[i] + correction
    return expected


@pytest.mark.parametrize(("k", "caution"), [(3, 0.0), (100, 0.5)])
def test_predictions_follow_the_definition(ratings, k, caution):
    users, items = np.array([(user, item) for user, row in enumerate(ratings) for item in row]).T
    values = [value for row in ratings for value in row.values()]
    data = Data(USERS, ITEMS, build(users, items, values, np.arange(len(users)), USERS))
    model = make(Config(k, SHRINKAGE, caution, item_damping=3.0, user_damping=1.5), data)
    params = jax.jit(model.learn.sweep)(
        model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
    )
    rows = [*ratings, *NEW]
    history, known = np.full((len(rows), model.history), ITEMS, np.int32), np.zeros((len(rows), model.history))
    for place, row in enumerate(rows):
        first = model.history - len(row)
        history[place, first:], known[place, first:] = list(row), list(row.values())
    query = Query(np.array([*range(USERS), USERS, USERS], np.int32), history, known.astype(np.float32))
    expected = predictions(ratings, k, caution)
    scores = jax.jit(model.score)(params, query)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
    assert model.rates and np.ptp(expected - expected.mean(1, keepdims=True), axis=0).max() > 0.1  # not biases alone
    some = np.array([[3, 15, 3]] * len(rows))
    given = np.take_along_axis(expected, some, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(params, query, some), given, rtol=1e-4)
