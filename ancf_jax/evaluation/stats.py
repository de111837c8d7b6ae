"""How sure a figure is: intervals over seeds and over users, and tests between models."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from ancf_jax.types import InputError

CHUNK = 4_000_000  # resampled values held at once
SAMPLES, PER_PAIR = 10_000, 200  # resamples at the least, and for each pair that is tested


def mean_interval(values: ArrayLike) -> tuple[float, float]:
    """The mean over seeds and the half width of its 95% interval by Student's t.

    mean +- t_{0.975, n-1} s / sqrt(n), with s the sample standard deviation of `values` [n]. The half width is nan for
    a single value. Raises InputError without a value.
    Source: Student (W. S. Gosset), 1908, "The probable error of a mean".
    """
    sample = _sample(values)
    if len(sample) == 1:
        return float(sample[0]), float("nan")
    return float(sample.mean()), float(stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample))


def bootstrap_interval(per_user: ArrayLike, seed: int = 0, samples: int = 2000) -> tuple[float, float]:
    """The 95% percentile interval of the mean of `per_user` [E], by resampling users with replacement.

    Returns the 2.5% and 97.5% quantiles of `samples` resampled means. Raises InputError without a value.
    Source: B. Efron, 1979, "Bootstrap methods: another look at the jackknife".
    """
    low, high = np.quantile(_resampled_means(_sample(per_user), seed, samples), (0.025, 0.975))
    return float(low), float(high)


def paired_bootstrap(per_user: ArrayLike, seed: int = 0, samples: int = 0) -> np.ndarray:
    """Two-sided p-values [M, M] of equal means of every two of M models, `per_user` [M, E] of the same users.

    p_ab = (#{s : |d_s - d| >= |d|} + 1) / (samples + 1), with d = mean(a - b) over users and d_s that of resample s of
    the users; centring on d makes the resamples follow the null hypothesis. In (0, 1], and 1 on the diagonal. All pairs
    share the resamples. No p-value is below 1 / (samples + 1), and a correction for many pairs multiplies it by their
    number, so that by default (0) there are more resamples where there are more pairs. Raises InputError without users.
    Source: B. Efron and R. Tibshirani, 1993, "An introduction to the bootstrap", chapter 16.
    """
    values = np.asarray(per_user, np.float64)
    if values.ndim != 2 or not values.size:
        raise InputError(f"paired values must be a row of numbers for each model, got shape {values.shape}")
    samples = samples or max(SAMPLES, PER_PAIR * len(values) * (len(values) - 1) // 2)
    means = values.mean(axis=1)
    centred = _resampled_means(values.T, seed, samples) - means  # [samples, M]
    extreme = np.zeros((len(values), len(values)))
    for n, mean in enumerate(means):
        least = np.abs(mean - means) * (1 - 1e-9)  # values of few levels tie often, and rounding must not decide
        extreme[n] = (np.abs(centred[:, n, None] - centred) >= least).sum(axis=0)
    return (extreme + 1) / (samples + 1)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's adjustment of `p_values` [n] for testing n hypotheses, in the order given.

    p~_(i) = max_{j <= i} min(1, (n - j + 1) p_(j)) over the ascending p_(1) <= ... <= p_(n). Controls the chance of any
    false discovery. Raises InputError for a value outside [0, 1].
    Source: S. Holm, 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p_values, np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise InputError("p-values must lie in [0, 1]")
    order = np.argsort(values)
    adjusted = np.empty_like(values)
    adjusted[order] = np.maximum.accumulate(np.minimum(np.arange(len(values), 0, -1) * values[order], 1))
    return adjusted


def _sample(values: ArrayLike) -> np.ndarray:
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not len(sample):
        raise InputError(f"values must be a list of at least one number, got shape {sample.shape}")
    return sample


def _resampled_means(sample: np.ndarray, seed: int, samples: int) -> np.ndarray:
    """Means [samples, ...] of resamples of the first axis of `sample` [E, ...]."""
    rng, count = np.random.default_rng(seed), len(sample)
    rows = max(1, CHUNK // count)
    sizes = [min(rows, samples - start) for start in range(0, samples, rows)]
    means = []
    for size in sizes:
        drawn = rng.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)  # of each in each resample
        means.append(times @ sample / count)
    return np.concatenate(means)
