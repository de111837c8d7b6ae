"""How sure a figure is: intervals over seeds and users together, and tests between models.

A metric of S seeds (trainings) and E users is a table x_se = mu + a_s + b_e + c_se of independent effects. The
variance of its mean is estimated by s_a^2 / S + s_b^2 / E, with the sample variances s_a^2 of the S means over users
and s_b^2 of the E means over seeds. That is var(a) / S + var(b) / E + 2 var(c) / (S E) in the mean: it counts the last
part twice, so that intervals are rather too wide than too narrow, as those of the bootstrap over both are (A. Owen,
2007, "The pigeonhole bootstrap"). Degrees of freedom are those of F. Satterthwaite, 1946, "An approximate distribution
of estimates of variance components". One seed tells nothing of others: what is said of it is over users alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats takes half a second to import

from ancf_jax.types import InputError

CHUNK = 4_000_000  # resampled values held at once


def mean_interval(per_user: ArrayLike) -> tuple[float, float]:
    """The mean of `per_user` [S, E], or [E] for one seed, and the half width of its 95% interval over seeds and users.

    mean +- t_{0.975, f} sqrt(s_a^2 / S + s_b^2 / E), see above. The half width is nan for a single value. Raises
    InputError without a value.
    """
    table = _table(per_user)
    variance, freedom = _variance([table.mean(axis=1), table.mean(axis=0)])
    return float(table.mean()), float(special.stdtrit(freedom, 0.975) * np.sqrt(variance)) if freedom else float("nan")


def bootstrap_intervals(per_user: ArrayLike, seed: int = 0, samples: int = 2000) -> np.ndarray:
    """The 95% percentile intervals [M, 2] of the means of M metrics of one model, `per_user` [M, E], over its users.

    The 2.5% and 97.5% quantiles of the means over `samples` resamples of the users. Raises InputError without a value.
    Source: B. Efron, 1979, "Bootstrap methods: another look at the jackknife".
    """
    means = _resampled_means(_table(per_user).T, seed, samples)  # [samples, M]
    return np.quantile(means, (0.025, 0.975), axis=0).T


def paired_tests(per_user: Sequence[ArrayLike]) -> np.ndarray:
    """Two-sided p-values [M, M] of equal means of every two of M models, each [S, E] of own seeds and the same users.

    t = d / sqrt(s_d^2 / E + s_a^2 / S + s_a'^2 / S'), with d the difference of the means, s_d^2 the variance over
    users of the differences of their means over seeds, for users are paired, and s_a^2 and s_a'^2 those of the two
    models' means over users, for seeds are not; degrees of freedom as above. In [0, 1], and 1 for equal means or a
    single value each. Raises InputError without users, or if models differ in their number.
    Source: Student (W. S. Gosset), 1908, "The probable error of a mean", and as above.
    """
    tables = [_table(model) for model in per_user]
    if len({table.shape[1] for table in tables}) != 1:
        raise InputError(f"paired values must be of the same users, got {[table.shape for table in tables]}")
    users, seeds = np.array([table.mean(axis=0) for table in tables]), [table.mean(axis=1) for table in tables]
    found = np.ones((len(tables), len(tables)))
    for a, b in zip(*np.triu_indices(len(tables), 1), strict=True):
        difference = users[a] - users[b]
        variance, freedom = _variance([difference, seeds[a], seeds[b]])
        if freedom and difference.mean():
            with np.errstate(divide="ignore"):
                found[a, b] = found[b, a] = 2 * special.stdtr(freedom, -abs(difference.mean()) / np.sqrt(variance))
    return found


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


def _variance(samples: Sequence[np.ndarray]) -> tuple[float, float]:
    """The sum of s^2 / n over samples [n] of two values or more, and its degrees of freedom; 0 if there is none."""
    parts = [(sample.var(ddof=1) / len(sample), len(sample) - 1) for sample in samples if len(sample) > 1]
    variance = sum(part for part, _ in parts)
    if not variance:
        return 0.0, float(len(parts))
    return variance, variance**2 / sum(part**2 / freedom for part, freedom in parts)


def _table(values: ArrayLike) -> np.ndarray:
    """Values as a table [S, E] in float64, a list as one row."""
    table = np.atleast_2d(np.asarray(values, np.float64))
    if table.ndim != 2 or not table.size:
        raise InputError(f"values must be rows of at least one number, got shape {np.shape(values)}")
    return table


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
