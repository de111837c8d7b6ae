"""Item neighbours against the definition, pair by pair."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models import neighbours
from ancf_jax.models.neighbours import Config, make
from ancf_jax.types import Data

USERS, ITEMS = 13, 8


@pytest.fixture(scope="module")
def log():
    """Rows of items by user; user 4 has none, user 5 some items twice."""
    rng = np.random.default_rng(3)
    rows = [rng.permutation(ITEMS)[: 1 + user % 6].tolist() for user in range(USERS)]
    rows[4], rows[5] = [], rows[5] + rows[5][:2]
    users = np.repeat(np.arange(USERS), [len(row) for row in rows])
    items = np.array([item for row in rows for item in row])
    return rows, Data(USERS, ITEMS, build(users, items, np.ones(len(users)), np.arange(len(users)), USERS))


def similarities(rows, shrinkage, activity):
    """s_ij [I, I] from the sets of items that users have."""
    sets = [set(row) for row in rows if row]
    gram = np.zeros((ITEMS, ITEMS))
    for i, j in np.ndindex(ITEMS, ITEMS):
        gram[i, j] = sum(len(items) ** -activity for items in sets if {i, j} <= items)
    similar = np.zeros((ITEMS, ITEMS))
    for i, j in np.ndindex(ITEMS, ITEMS):
        if i != j and gram[i, j]:
            similar[i, j] = gram[i, j] / (np.sqrt(gram[i, i] * gram[j, j]) + shrinkage)
    return similar


def expected_score(similar, history, item, k):
    nearest = similar[item] >= np.sort(similar[item])[-k] - 1e-6  # equally near neighbours all count
    return sum(similar[item, j] for j in set(history) if nearest[j])


@pytest.mark.parametrize(
    ("k", "shrinkage", "activity"),
    [(ITEMS, 0.0, 0.0), (3, 0.0, 0.5), (3, 2.5, 0.5), (1, 10.0, 1.0), (100, 1.0, 2.0)],
)
def test_scores_are_sums_over_the_nearest_neighbours(log, ask, monkeypatch, k, shrinkage, activity):
    rows, data = log
    monkeypatch.setattr(neighbours, "USER_BLOCK", 5)  # three blocks, the last one not full
    model = make(Config(k, shrinkage, activity), data)
    assert model.history == min(2 * max(map(len, rows)), ITEMS)  # validation and test items come on top
    params = model.learn.sweep(model.learn.init(jax.random.key(0)), data.train, jax.random.key(0))
    histories = [*rows, [7, 0]]  # the last one is a new user's
    query = ask([*range(USERS), USERS], histories, model.history, ITEMS)
    similar = similarities(rows, shrinkage, activity)
    expected = [
        [expected_score(similar, history, item, min(k, ITEMS)) for item in range(ITEMS)] for history in histories
    ]
    np.testing.assert_allclose(model.score(params, query), expected, rtol=1e-5, atol=1e-6)
