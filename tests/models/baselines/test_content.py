"""Content scores against scikit-learn's cosine, with recency, groups and words in place of a history."""

from functools import cache

import jax
import numpy as np
import pytest
import scipy.sparse
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import normalize

from ancf_jax.data.interactions import build
from ancf_jax.devices import memory
from ancf_jax.models.baselines.content import Config, group_means, make
from ancf_jax.types import Data, InputError, Query

ITEMS, WIDTH = 9, 4
HISTORY = np.array([[9, 2, 5, 0], [9, 9, 9, 9], [1, 1, 8, 3], [9, 9, 9, 7]])  # item 7 has no features
QUERY = Query(np.zeros(4, np.int32), HISTORY, np.ones(HISTORY.shape, np.float32))


@cache
def data() -> Data:
    features = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    features[7] = 0
    users, items = np.array([(0, 2), (0, 5), (0, 0), (1, 1), (1, 8)]).T
    return Data(2, ITEMS, build(users, items, np.ones(5), np.arange(5), 2), features)


def scores_of(**fields):
    model = make(Config(**fields), data())
    return np.asarray(model.score(model.prepare({}, model.given), QUERY))


@pytest.mark.parametrize("half_life", [0.0, 2.0])
def test_scores_are_cosines_of_the_profile(half_life):
    features = data().features
    unit = normalize(features)
    age = [3, 2, 1, 0]
    profiles = [
        sum((0.5 ** (a / half_life) if half_life else 1) * unit[i] for i, a in zip(row, age, strict=True) if i < ITEMS)
        for row in HISTORY
    ]
    expected = cosine_similarity(np.array([np.zeros(WIDTH) + profile for profile in profiles]), features)
    np.testing.assert_allclose(scores_of(half_life=half_life), expected, atol=1e-6)
    assert not expected[1].any() and not expected[3].any() and not expected[:, 7].any()


def test_groups_pull_items_towards_their_mean():
    unit = normalize(data().features)
    means = group_means(unit, 3)
    assert not means[7].any() and not scores_of(groups=3, group_share=0.4)[:, 7].any()  # nothing is known of it
    assert not group_means(np.zeros_like(unit), 3).any()
    for mean in np.unique(means[np.arange(ITEMS) != 7], axis=0):
        members = np.flatnonzero((means == mean).all(axis=1))
        np.testing.assert_allclose(mean, unit[members].mean(axis=0), atol=1e-6)
    assert len(np.unique(means, axis=0)) == 4
    smoothed = 0.6 * unit + 0.4 * normalize(means)
    profiles = np.array([unit[[2, 5, 0]].sum(axis=0), unit[[1, 1, 8, 3]].sum(axis=0)])
    expected = cosine_similarity(profiles, smoothed)
    np.testing.assert_allclose(scores_of(groups=3, group_share=0.4)[[0, 2]], expected, atol=1e-6)
    np.testing.assert_array_equal(group_means(unit, 50).shape, unit.shape)  # more groups than items


def test_a_need_in_features_is_scored_by_its_cosine():
    model = make(Config(), data())
    wanted = np.array([[1.0, 0, -2, 0], [0, 0, 0, 0]], np.float32)
    found, items = jax.jit(model.retrieve)(model.prepare({}, model.given), wanted)
    np.testing.assert_allclose(found @ items.T, cosine_similarity(wanted, data().features), atol=1e-6)


def test_without_features_the_flags_are_named():
    with pytest.raises(InputError, match=r"--model=content: needs item features; .*--item_text.*--item_vectors"):
        make(Config(), data()._replace(features=None))


@pytest.mark.parametrize("fields", [{}, {"groups": 3}])
def test_sparse_features_score_as_dense_ones(fields):
    thin = np.where(np.random.default_rng(1).random((ITEMS, WIDTH)) < 0.5, data().features, 0).astype(np.float32)
    found = []
    for features in (thin, scipy.sparse.csr_matrix(thin)):
        model = make(Config(**fields), data()._replace(features=features))
        found.append(np.asarray(model.score(model.prepare({}, model.given), QUERY)))
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-6)


def test_memory_is_asked_before_features_are_dense(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10 * 2**30)
    sellers = scipy.sparse.eye(100_000, 120_000, dtype=np.float32, format="csr")
    with pytest.raises(InputError, match=r"the features \[100000, 120000\] need 44.7 GiB and this device has 10"):
        make(Config(), data()._replace(features=sellers))
