"""Targets: what models of values learn and are judged by, in place of the values v themselves.

    value    v
    log      log(1 + v)
    user     v / the mean of the user's values
    item     v / the mean of the item's values
    z-score  (v - mean) / standard deviation
    min-max  (v - min) / (max - min)

All statistics are of the training part alone, so that nothing of a held-out row is in another row's target; a held-out
one may lie outside [0, 1] under min-max. `restore` takes targets, and predictions of them, back to values.
"""

from typing import NamedTuple

import numpy as np

from ancf_jax.types import InputError, Interactions


class Target(NamedTuple):
    """A target with its statistics: (v - center) / scale but for log."""

    kind: str
    center: float = 0.0
    scale: np.ndarray | float = 1.0  # of all rows, or [U + 1] of users, or [I + 1] of items; the last of an unknown one
    low: float = -np.inf  # the least and the greatest value of a training part that is in memory
    high: float = np.inf


def fit(kind: str, train: Interactions, num_items: int) -> Target:
    """The target `kind` with the statistics of a training part.

    Users and items without a training row, or without a mean above 0, have the mean of all rows. Where all values are
    the same, z-score and min-max make them 0. Raises InputError if there is no row or if the mean of all is not above 0
    where it divides.
    """
    values = np.asarray(train.values, np.float64)
    low, high = (values.min(), values.max()) if len(values) else (-np.inf, np.inf)
    if kind in ("value", "log"):
        return Target(kind, low=low, high=high)
    if not len(values):
        raise InputError(f"flag --target: {kind} needs training rows, and there are none; legal are value and log")
    if kind in ("user", "item"):
        ids, size = (train.users, len(train.offsets) - 1) if kind == "user" else (train.items, num_items)
        return Target(kind, 0.0, _means(kind, values, np.asarray(ids), size), low, high)
    if low == high:
        return Target(kind, low, 1.0, low, high)
    center, scale = (values.mean(), values.std()) if kind == "z-score" else (low, high - low)
    return Target(kind, center, scale, low, high)


def apply(target: Target, part: Interactions) -> Interactions:
    """A part of the data with its values as `target` has them. Raises InputError as `logarithm` does."""
    if target.kind == "value":
        return part
    values = np.asarray(part.values, np.float64)
    if target.kind == "log":
        values = logarithm(values)
    else:
        of = {"user": part.users, "item": part.items}.get(target.kind)
        values = (values - target.center) / (target.scale if of is None else np.asarray(target.scale)[of])
    return part._replace(values=values.astype(np.float32))


def restore(
    target: Target, users: np.ndarray, items: np.ndarray, made: np.ndarray, *, clip: bool = False
) -> np.ndarray:
    """The values v [...] of which `made` [...] are the targets, or predictions of them, in the log's own units.

    `users` and `items` [...] are dense ids, U and I for unknown ones. With `clip`, a value outside those of the
    training part becomes the nearest of its ends.
    """
    found = np.asarray(made, np.float64)
    if target.kind == "log":
        found = np.expm1(found)
    elif target.kind != "value":
        of = {"user": users, "item": items}.get(target.kind)
        found = found * (target.scale if of is None else np.asarray(target.scale)[of]) + target.center
    return np.clip(found, target.low, target.high) if clip else found


def logarithm(values: np.ndarray) -> np.ndarray:
    """log(1 + v). Raises InputError for a value that has none."""
    least = values.min(initial=0)
    if least <= -1:
        raise InputError(
            f"flag --target: log needs values above -1, and one is {least:g}; --returns=drop drops the negative ones"
        )
    return np.log1p(values)


def _means(kind: str, values: np.ndarray, ids: np.ndarray, size: int) -> np.ndarray:
    """The mean [size + 1] of every id's values, and the mean of all for an id that is unknown."""
    mean = values.mean()
    if mean <= 0:
        raise InputError(
            f"flag --target: {kind} divides by means, and that of all training rows is {mean:g}, not above 0; "
            "--returns=drop drops negative values"
        )
    means = np.bincount(ids, values, size + 1) / np.maximum(np.bincount(ids, minlength=size + 1), 1)
    return np.where(means > 0, means, mean)
