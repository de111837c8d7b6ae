"""Intervals and tests against SciPy, closed forms and the definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ancf_jax.evaluation import stats
from ancf_jax.types import InputError


def test_mean_interval_agrees_with_scipy():
    values = [0.31, 0.35, 0.28, 0.33, 0.30]
    mean, half = stats.mean_interval(values)
    interval = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx(tuple(interval))


def test_mean_interval_of_one_seed_has_no_width():
    mean, half = stats.mean_interval([0.5])
    assert mean == 0.5
    assert np.isnan(half)


def test_bootstrap_interval_agrees_with_scipy():
    sample = np.random.default_rng(0).exponential(size=400)
    expected = scipy_stats.bootstrap((sample,), np.mean, n_resamples=2000, method="percentile", rng=1)
    low, high = stats.bootstrap_interval(sample, seed=2)
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.1 * width)


def test_resampling_in_chunks_is_complete_and_unbiased(monkeypatch):
    sample = np.random.default_rng(0).normal(size=50)
    monkeypatch.setattr(stats, "CHUNK", 170)  # three resamples at a time, the last chunk shorter
    means = stats._resampled_means(sample, seed=0, samples=2000)
    assert means.shape == (2000,)
    assert means.mean() == pytest.approx(sample.mean(), abs=4 * scipy_stats.sem(sample) / np.sqrt(2000))
    assert means.std() == pytest.approx(sample.std() / np.sqrt(50), rel=0.1)


def p_value(a, b, **options):
    return stats.paired_bootstrap([a, b], **options)[0, 1]


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.12])
def test_paired_bootstrap_agrees_with_the_paired_t_test(shift):
    rng = np.random.default_rng(0)
    base = rng.normal(size=300)
    noise = rng.normal(scale=0.8, size=300)
    other = base + shift + noise - noise.mean()
    expected = scipy_stats.ttest_rel(base, other).pvalue
    assert p_value(base, other) == pytest.approx(expected, abs=0.02)


def test_paired_bootstrap_uses_the_pairs():
    rng = np.random.default_rng(0)
    base = rng.normal(scale=100, size=200)  # users differ far more than the models do
    better = base + rng.normal(0.5, 0.5, size=200)
    assert p_value(base, better, samples=999) == pytest.approx(1 / 1000)  # the least there is, never 0
    assert p_value(base, rng.permutation(better), samples=999) > 0.05


def test_paired_bootstrap_of_equal_models_and_its_symmetry():
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(0, 2, size=(3, 100))
    found = stats.paired_bootstrap([a, b, a, c], seed=3)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 1)
    assert found[0, 2] == 1
    assert found[1, 3] == p_value(b, c, seed=3) < 1  # whatever the other models are


def test_paired_bootstrap_counts_ties_as_extreme():
    """Ten users, one of whom has the item in one model alone: |d_s - d| < |d| for resamples that draw the user once."""
    a, b = np.zeros((2, 10))
    a[4] = 1
    assert p_value(a, b, samples=20_000) == pytest.approx(1 - 10 * 0.1 * 0.9**9, abs=0.015)


def test_paired_bootstrap_holds_its_level():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(200, 2, 60))
    p_values = [p_value(a, b, seed=i, samples=200) for i, (a, b) in enumerate(pairs)]
    assert 0.01 <= np.mean(np.array(p_values) < 0.05) <= 0.1


def test_many_models_can_still_be_told_apart():
    """Of 40 models one is far ahead: corrected for all 780 pairs, 10,000 resamples could not show it."""
    values = np.random.default_rng(0).normal(size=(40, 50))
    values[7] += 10
    upper = np.triu_indices(40, 1)
    adjusted = stats.holm(stats.paired_bootstrap(values)[upper])
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
    "call",
    [
        lambda: stats.mean_interval([]),
        lambda: stats.bootstrap_interval(np.ones((2, 2))),
        lambda: stats.paired_bootstrap([1.0, 2.0], [1.0]),
        lambda: stats.holm([0.5, np.nan]),
    ],
)
def test_bad_input_is_named_in_one_line(call):
    with pytest.raises(InputError) as error:
        call()
    assert "\n" not in str(error.value)
