"""Which training rows make a step: an epoch's order, and strata of rows of like length, so that little is padding.

A row of a model that reads windows of histories has a length, and a batch is as wide as its longest row. Where many are
short, each step takes its share of every stratum of lengths, each at its own width. This is stratified sampling: a row
weighs what it weighs in a batch drawn from all.
"""

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.types import Array, ClosedForm, Given, Gradient

LEVELS = 16  # widths that are tried
STRATA = 4  # at most, as each is compiled by itself
MANY = 256  # rows that are worth a stratum
WORTH = 0.95  # one more stratum is taken if it leaves at most so much of the columns
Order = dict[int, np.ndarray]  # width of a stratum (0: the rows have no lengths) -> its rows in batches [n, B] int32


def steps_per_epoch(learn: Gradient | ClosedForm, batch_size: int) -> int:
    """Batches of `batch_size` (0: the model's own) that cover all training rows; 1 for a sweep."""
    return 1 if isinstance(learn, ClosedForm) else max(math.ceil(learn.rows / (batch_size or learn.batch)), 1)


def batch_of(learn: Gradient | ClosedForm, batch_size: int) -> int:
    """The training rows in a step: `batch_size` (0: the model's own), or all where there are fewer; 0 in a sweep."""
    return 0 if isinstance(learn, ClosedForm) else min(batch_size or learn.batch, max(learn.rows, 1))


def order_of(learn: Gradient | ClosedForm, batch_size: int, seed: int, epoch: int, parts: int = 1) -> Order:
    """The rows of epoch number `epoch` in batches; the last batch of a stratum is filled up from its first rows.

    `parts` divides the batches of strata, if there are several.
    """
    if isinstance(learn, ClosedForm):
        return {0: np.zeros((1, 0), np.int32)}
    draw, steps = np.random.default_rng((seed, epoch)), steps_per_epoch(learn, batch_size)
    if learn.lengths is None or not learn.rows:
        rows = draw.permutation(learn.rows).astype(np.int32)
        return {0: np.resize(rows, (steps, batch_of(learn, batch_size)))}
    widths = widths_of(learn, batch_size, parts)
    order = {}
    for less, width in pairwise([-1, *widths]):
        rows = np.flatnonzero((learn.lengths > less) & (learn.lengths <= width)).astype(np.int32)
        batch = _share(len(rows), steps, parts) if len(widths) > 1 else batch_of(learn, batch_size)
        order[width] = np.resize(draw.permutation(rows), (steps, batch))
    return order


def steps_of(order: Order) -> int:
    """How many steps there are in an epoch's order."""
    return len(next(iter(order.values())))


def sampled(learn: Gradient, given: Given, rows: dict[int, Array], key: Array) -> list[Any]:
    """The batch of each stratum, of its rows [B] in a step."""
    keys = keys_of(key, len(rows))
    batches = [learn.sample(key, given, index) for index, key in zip(rows.values(), keys, strict=True)]
    if learn.narrow is None:
        return batches
    return [learn.narrow(batch, width) for batch, width in zip(batches, rows, strict=True)]


def mean_over(losses: list[tuple[Array, dict[str, Array]]]) -> tuple[Array, dict[str, Array]]:
    """One loss of those of all strata, each a mean and its sums: the mean over all that they count, and all sums."""
    if len(losses) == 1:
        return losses[0]
    sums = jax.tree.map(lambda *parts: sum(parts), *[each for _, each in losses])
    total = sum(mean * each["count"] for mean, each in losses)
    return total / jnp.maximum(sums["count"], 1), sums


def keys_of(key: Array, count: int) -> list[Array]:
    """A key for each of so many strata."""
    return [key] if count == 1 else list(jax.random.split(key, count))


def widths_of(learn: Gradient, batch_size: int, parts: int = 1) -> tuple[int, ...]:
    """The widths of the strata, ascending: those that make the fewest columns a step, of all ways with WORTH."""
    lengths = np.asarray(learn.lengths)
    longest = max(int(lengths.max()), 1)
    upto = np.cumsum(np.bincount(lengths, minlength=longest + 1))  # rows of at most so many columns
    steps = steps_per_epoch(learn, batch_size)

    def columns(widths: Sequence[int]) -> float:
        sizes = np.diff(upto[list(widths)], prepend=0)
        if sizes.min() < MANY:
            return math.inf
        return sum(width * _share(size, steps, parts) for width, size in zip(widths, sizes, strict=True))

    best: tuple[int, ...] = (longest,)
    least: float = longest * batch_of(learn, batch_size)
    levels = sorted({-(-longest * n // LEVELS) for n in range(1, LEVELS)} - {longest})
    for count in range(1, STRATA):
        found = min(((*cuts, longest) for cuts in combinations(levels, count)), key=columns, default=best)
        if columns(found) <= WORTH * least:
            best, least = found, columns(found)
    return best


def _share(rows: int, steps: int, parts: int) -> int:
    """The rows of a stratum in a step."""
    return -(-rows // (steps * parts)) * parts
