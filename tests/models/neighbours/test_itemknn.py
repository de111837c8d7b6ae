"""Item neighbours against the definition, pair by pair."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.neighbours.itemknn import Config, make
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


def similarities(rows, similarity, shrinkage, activity):
    """s_ij [I, I] from the sets of items that users have; 0 on the diagonal."""
    sets = [set(row) for row in rows if row]
    gram = np.zeros((ITEMS, ITEMS))
    for i, j in np.ndindex(ITEMS, ITEMS):
        gram[i, j] = sum(len(items) ** -activity for items in sets if {i, j} <= items)
    own = np.diag(gram)
    below = np.sqrt(np.outer(own, own)) if similarity == "cosine" else own[:, None] + own - gram
    return np.where(np.eye(ITEMS), 0.0, gram / (below + shrinkage))


@pytest.mark.parametrize(
    ("k", "similarity", "shrinkage", "activity"),
    [(3, "cosine", 0.0, 0.0), (3, "cosine", 2.5, 0.5), (100, "jaccard", 1.0, 2.0)],
)
def test_scores_are_sums_over_the_nearest_neighbours(log, ask, monkeypatch, k, similarity, shrinkage, activity):
    rows, data = log
    monkeypatch.setattr(
        "ancf_jax.models.neighbours.itemknn.BLOCK", 3 * (USERS + ITEMS)
    )  # three blocks, the last one not full
    model = make(Config(k, similarity, shrinkage, activity), data)
    assert model.history == min(2 * max(map(len, rows)), ITEMS)  # validation and test items come on top
    params = jax.jit(model.learn.sweep)(
        model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
    )
    ids, similar = (np.asarray(params["tables"][name]) for name in ("neighbours", "similar"))
    expected = similarities(rows, similarity, shrinkage, activity)
    k = min(k, ITEMS)
    np.testing.assert_allclose(similar, -np.sort(-expected, axis=1)[:, :k], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(similar, np.take_along_axis(expected, ids, axis=1), rtol=1e-5, atol=1e-6)
    assert all(len(set(row)) == k for row in ids.tolist())
    if not activity:  # counts are exact, so equal similarities are equal
        np.testing.assert_array_equal(ids, np.argsort(-expected, axis=1, kind="stable")[:, :k])
    histories = [*rows, [7, 0]]  # the last one is a new user's
    query = ask([*range(USERS), USERS], histories, model.history, ITEMS)
    scores = [[similar[item][np.isin(ids[item], history)].sum() for item in range(ITEMS)] for history in histories]
    np.testing.assert_allclose(model.score(params, query), scores, rtol=1e-5, atol=1e-6)
