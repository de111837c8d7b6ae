"""User neighbours against dense matrices in NumPy."""

import jax
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.neighbours.userknn import Config, make
from ancf_jax.types import Data, Query

USERS, ITEMS, LENGTH = 12, 9, 6
NEW = [[7, 0, 3], [2, 5, 1, 8]]  # the histories of new users


@pytest.fixture(scope="module")
def log():
    """Ratings of items by user as dictionaries; users 2 and 8 have the same items, user 4 has none."""
    rng = np.random.default_rng(5)
    rows = [{int(item): 1 + int(rng.integers(5)) for item in rng.permutation(ITEMS)[: 2 + u % 5]} for u in range(USERS)]
    rows[8], rows[4] = {item: 6 - value for item, value in rows[2].items()}, {}
    pairs = [(user, item, value) for user, row in enumerate(rows) for item, value in row.items()]
    users, items, values = np.array(pairs).T
    return rows, Data(USERS, ITEMS, build(users, items, values, np.arange(len(users)), USERS))


@pytest.fixture(scope="module")
def query(log):
    """All users, and two new ones."""
    histories = [*log[0], *({item: 1 + item % 5 for item in row} for row in NEW)]
    items, values = np.full((len(histories), LENGTH), ITEMS, np.int32), np.zeros((len(histories), LENGTH), np.float32)
    for n, row in enumerate(histories):
        items[n, LENGTH - len(row) :], values[n, LENGTH - len(row) :] = list(row), list(row.values())
    return Query(np.array([*range(USERS), USERS, USERS], np.int32), items, values)


def dense(query):
    """The values [B, I] of the histories, NaN where there is none."""
    values = np.full((len(query.users), ITEMS + 1), np.nan)
    np.put_along_axis(values, query.history, query.values, axis=1)
    return values[:, :ITEMS]


@pytest.mark.parametrize(
    ("config", "k"),
    [
        (Config(1, "cosine", 0.0, 0.0, 0.0), 1),
        (Config(3, "cosine", 2.0, 0.7, 0.4), 3),
        (Config(100, "cosine", 1.0, 0.5, 1.0), USERS),
        (Config(2, "cosine", 0.0, 0.3, 0.4, reciprocal=1.0), 2),
        (Config(3, "cosine", 1.0, 0.0, 0.5, reciprocal=0.3, novelty=0.6), 3),
    ],
)
def test_scores_are_sums_over_the_nearest_neighbours(log, query, config, k):
    model = make(config, log[1])
    params = jax.jit(model.learn.sweep)(
        model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0)
    )
    x = 1.0 * ~np.isnan(dense(query))  # [B, I]
    popularity, activity = np.maximum(x[:USERS].sum(0), 1), np.maximum(x.sum(1), 1) ** -config.activity
    gram = (x * popularity**-config.popularity) @ x.T
    similar = gram / np.maximum(np.sqrt(np.outer(np.diag(gram), np.diag(gram))) + config.shrinkage, 1e-9)
    similar = np.where(np.eye(len(x)), 0.0, similar) * activity  # of each to each, [B, B]
    farthest = np.sort(similar[:, :USERS], axis=1)[:, [-k]]
    near = similar >= farthest - 1e-6  # equally near neighbours all count
    counted = ((1 - config.reciprocal) * near + config.reciprocal * near.T)[:, :USERS]
    scores = jax.jit(model.score)(params, query)
    expected = (counted * similar[:, :USERS]) @ x[:USERS] * popularity**-config.novelty
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)


def test_pearson_finds_users_of_the_same_taste_among_all_who_have_the_items(log, query):
    model = make(Config(USERS, "pearson", 1.0, 0.0, 0.0), log[1])
    params = model.learn.sweep(model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0))
    values = dense(query)
    with np.errstate(invalid="ignore"):
        left = np.nan_to_num(values - np.nansum(values, 1, keepdims=True) / (~np.isnan(values)).sum(1, keepdims=True))
    x = 1.0 * ~np.isnan(values)
    norm = np.sqrt((left**2 @ x.T) * (x @ (left**2).T))
    both = x @ x.T
    similar = np.where(norm > 0, left @ left.T / np.where(norm > 0, norm, 1) * both / (both + 1), 0)
    similar = np.where(np.eye(len(x)), 0.0, np.maximum(similar, 0.0))[:, :USERS]
    assert (left @ left.T)[2, 8] < 0 < similar[2].max()  # the same items, but the opposite taste
    scores = jax.jit(model.score)(params, query)
    np.testing.assert_allclose(scores, similar @ x[:USERS], rtol=1e-4, atol=1e-5)
    flat = query._replace(values=1.0 * (query.history < ITEMS) * np.float32(3.3))
    assert not np.asarray(jax.jit(model.score)(params, flat)).any()
