"""Intervals and tests against SciPy, closed forms and the definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ancf_jax.evaluation import stats
from ancf_jax.types import InputError


def test_the_interval_of_one_seed_is_student_s_over_users():
    values = [0.31, 0.35, 0.28, 0.33, 0.30]
    mean, half = stats.mean_interval(values)
    interval = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx(tuple(interval))


def test_a_single_value_has_no_interval_and_equal_ones_one_of_no_width():
    mean, half = stats.mean_interval([0.5])
    assert mean == 0.5 and np.isnan(half)
    assert stats.mean_interval([[0.5, 0.5], [0.5, 0.5]]) == (0.5, 0.0)


def drawn(rng, seeds, users, by_seed, by_user, noise, users_are=None):
    """A table [S, E] of independent effects of seeds and users; those of users may be given."""
    users_are = rng.normal(0, by_user, users) if users_are is None else users_are
    return rng.normal(0, by_seed, seeds)[:, None] + users_are + rng.normal(0, noise, (seeds, users))


@pytest.mark.parametrize(
    ("seeds", "by_seed", "by_user", "noise", "low", "high"),
    [
        (5, 0.0, 1.0, 0.0, 0.93, 0.97),  # users alone
        (5, 0.3, 0.1, 0.0, 0.93, 0.97),  # seeds above all
        (4, 0.1, 1.0, 0.0, 0.93, 0.98),  # both
        (3, 0.1, 1.0, 1.0, 0.93, 0.99),  # and what a user is for one seed alone, which counts twice
        (3, 0.0, 0.0, 1.0, 0.98, 1.0),  # that alone
        (1, 0.0, 1.0, 0.5, 0.93, 0.97),
    ],
)
def test_intervals_cover_the_mean_of_other_seeds_and_users(seeds, by_seed, by_user, noise, low, high):
    rng = np.random.default_rng(0)
    found = [stats.mean_interval(drawn(rng, seeds, 80, by_seed, by_user, noise)) for _ in range(2000)]
    assert low <= np.mean([abs(mean) <= half for mean, half in found]) <= high


def test_users_alone_would_cover_too_little():
    """The means over seeds of each user, or of the seeds, as tables had it before, know of one of the two alone."""
    rng = np.random.default_rng(0)
    tables = [drawn(rng, 4, 80, 0.1, 1.0, 0.0) for _ in range(500)]
    for alone in (0, 1):
        found = [stats.mean_interval(table.mean(axis=alone)) for table in tables]
        assert np.mean([abs(mean) <= half for mean, half in found]) < 0.93


def test_bootstrap_intervals_agree_with_scipy():
    sample = np.random.default_rng(0).exponential(size=400)
    expected = scipy_stats.bootstrap((sample,), np.mean, n_resamples=2000, method="percentile", rng=1)
    (low, high), doubled = stats.bootstrap_intervals([sample, 2 * sample], seed=2)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.1 * width)
    np.testing.assert_allclose(doubled, (2 * low, 2 * high))


def test_resampling_in_chunks_is_complete_and_unbiased(monkeypatch):
    sample = np.random.default_rng(0).normal(size=50)
    monkeypatch.setattr(stats, "CHUNK", 170)  # three resamples at a time, the last chunk shorter
    means = stats._resampled_means(sample, seed=0, samples=2000)
    assert means.shape == (2000,)
    assert means.mean() == pytest.approx(sample.mean(), abs=4 * scipy_stats.sem(sample) / np.sqrt(2000))
    assert means.std() == pytest.approx(sample.std() / np.sqrt(50), rel=0.1)


def p_value(a, b):
    return stats.paired_tests([a, b])[0, 1]


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.12])
def test_one_seed_is_tested_by_the_paired_t_test(shift):
    rng = np.random.default_rng(0)
    base, noise = rng.normal(size=300), rng.normal(scale=0.8, size=300)
    assert p_value(base, base + shift + noise) == pytest.approx(
        scipy_stats.ttest_rel(base, base + shift + noise).pvalue
    )


def test_deterministic_users_leave_welch_s_test_of_seeds():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4), rng.normal(1, 3, 6)
    expected = scipy_stats.ttest_ind(a, b, equal_var=False).pvalue
    assert p_value(np.tile(a[:, None], 20), np.tile(b[:, None], 20)) == pytest.approx(expected)


def test_users_are_paired():
    rng = np.random.default_rng(0)
    base = rng.normal(scale=100, size=200)  # users differ far more than the models do
    better = base + rng.normal(0.5, 0.5, size=200)
    assert p_value(base, better) < 1e-6 and p_value(base, rng.permutation(better)) > 0.05


def test_paired_tests_of_equal_models_and_their_symmetry():
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(0, 2, size=(3, 4, 100))
    found = stats.paired_tests([a, b, a, c])
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    assert found[0, 2] == 1 and found[1, 3] == p_value(b, c) < 1  # whatever the other models are
    assert p_value([0.5, 0.5], [0.25, 0.25]) == 0 and p_value([0.5], [0.25]) == 1


@pytest.mark.parametrize(("seeds", "by_seed", "noise"), [(1, 0.0, 1.0), (4, 0.15, 0.1), (3, 0.05, 0.0)])
def test_paired_tests_hold_their_level(seeds, by_seed, noise):
    """Two models of one quality: seeds move each on its own, users both alike."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(1500):
        users = rng.normal(0, 1, 60)
        found.append(p_value(*(drawn(rng, seeds, 60, by_seed, 0, noise, users) for _ in range(2))))
    assert 0.005 <= np.mean(np.array(found) < 0.05) <= 0.065


def test_a_lucky_seed_is_no_evidence():
    """Users alone find a difference in nearly every pair of models that differ by their seeds alone."""
    rng = np.random.default_rng(0)
    users = rng.normal(0, 1, 500)
    pairs = [[drawn(rng, 3, 500, 0.2, 0, 0.2, users) for _ in range(2)] for _ in range(200)]
    assert np.mean([p_value(a.mean(axis=0), b.mean(axis=0)) < 0.05 for a, b in pairs]) > 0.8
    assert np.mean([p_value(a, b) < 0.05 for a, b in pairs]) < 0.08


def test_many_models_can_still_be_told_apart():
    """Of 40 models one is far ahead, corrected for all 780 pairs."""
    values = np.random.default_rng(0).normal(size=(40, 50))
    values[7] += 10
    upper = np.triu_indices(40, 1)
    adjusted = stats.holm(stats.paired_tests(values)[upper])
    assert (adjusted[(upper[0] == 7) | (upper[1] == 7)] < 0.05).all() and (adjusted < 0.05).sum() < 50


def test_holm_by_hand():
    # Ascending: 5 x 0.01, 4 x 0.02, 3 x 0.03, and 2 x 0.04 and 1 x 0.05 raised to the one before.
    np.testing.assert_allclose(stats.holm([0.03, 0.01, 0.05, 0.02, 0.04]), [0.09, 0.05, 0.09, 0.08, 0.09])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.001, 0.999))
def test_holm_rejects_as_the_step_down_procedure_does(p_values, level):
    rejected = set()
    for step, i in enumerate(np.argsort(p_values)):
        if p_values[i] * (len(p_values) - step) > level:
            break
        rejected.add(int(i))
    assert set(np.flatnonzero(stats.holm(p_values) <= level)) == rejected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: stats.mean_interval([]), "at least one number, got shape (0,)"),
        (lambda: stats.bootstrap_intervals(np.ones((2, 2, 2))), "got shape (2, 2, 2)"),
        (lambda: stats.paired_tests([[1.0, 2.0], [1.0]]), "of the same users, got [(1, 2), (1, 1)]"),
        (lambda: stats.holm([0.5, np.nan]), "must lie in [0, 1]"),
    ],
)
def test_bad_input_is_named_in_one_line(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value) and "\n" not in str(error.value)
