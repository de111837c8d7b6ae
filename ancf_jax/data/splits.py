"""Splits of a log into training, validation and test parts, as pure functions of Interactions.

Time means `order`, the place of a row under a stable sort by time, so that ties fall the same way everywhere.
"""

from typing import NamedTuple

import numpy as np

from ancf_jax.data.interactions import from_latest, select
from ancf_jax.types import InputError, Interactions

NEGATIVES = 99  # beside each held-out item, in the ncf protocol


class Parts(NamedTuple):
    """The three parts of a log."""

    train: Interactions
    valid: Interactions
    test: Interactions


def leave_one_out(log: Interactions) -> Parts:
    """Each user's last interaction is test, the last but one validation; users with fewer than 3 only train."""
    offsets = np.asarray(log.offsets)
    held_out = np.diff(offsets)[log.users] >= 3
    later = from_latest(log)
    return _parts(log, valid=held_out & (later == 1), test=held_out & (later == 0))


def at_random(log: Interactions, fractions: tuple[float, ...], seed: int) -> Parts:
    """Rows fall to train, validation and test by chance, in exactly the given fractions (to one row)."""
    places = np.random.default_rng(seed).permutation(len(log.users))
    return cut(log, places, *borders(fractions, len(places)))


def k_fold(log: Interactions, folds: int, fold: int, seed: int) -> Parts:
    """Rows fall to `folds` parts by chance, equal to one row: part `fold` is test, a tenth of the rest validation.

    Source: M. Stone, 1974, "Cross-validatory choice and assessment of statistical predictions".
    """
    rows = len(log.users)
    start, end = (part * rows // folds for part in (fold, fold + 1))
    places = np.random.default_rng(seed).permutation(rows)
    rest = rows - (end - start)
    return cut(log, (places - end) % max(rows, 1), rest - round(rest / 10), rest)  # part `fold` comes last


def cold_items(log: Interactions, num_items: int, fractions: tuple[float, ...], seed: int) -> Parts:
    """Items fall to train, validation and test by chance, in the given fractions (to one item), with all their rows.

    So validation and test ask which new items fit a user of whom other items are known; no item is in two parts. An
    item without a training row is unknown to training: drawn as a negative, it would be one for its novelty alone.
    Source: A. Schein, A. Popescul, L. Ungar and D. Pennock, 2002, "Methods and metrics for cold-start recommendations".
    """
    places = np.random.default_rng(seed).permutation(num_items)
    return cut(log, places[log.items], *borders(fractions, num_items))


def by_time(log: Interactions, fractions: tuple[float, ...]) -> Parts:
    """The earliest fraction of all rows is train, the next validation, the latest test; `order` must be 0..R-1.

    Users and items that training has not seen yet stay in the later parts.
    """
    return cut(log, np.asarray(log.order), *borders(fractions, len(log.users)))


def ncf(train: Interactions, num_items: int, seed: int) -> tuple[Interactions, Interactions, np.ndarray]:
    """A validation part for the published NCF files, cut from their training part alone.

    Each user's last training interaction becomes validation (a user's only one stays), ranked against 99 distinct
    items drawn uniformly from those that the user has in neither part. Returns train, validation and candidates
    [rows of validation, 100] int32 with the positive last. Raises InputError when 99 such items do not exist.
    """
    last = (from_latest(train) == 0) & (np.diff(train.offsets)[train.users] > 1)
    rest, valid = select(train, ~last), select(train, last)
    rng = np.random.default_rng(seed)
    candidates = np.empty((len(valid.users), NEGATIVES + 1), np.int32)
    candidates[:, NEGATIVES] = valid.items
    for row, user in enumerate(valid.users):
        unseen = np.ones(num_items, bool)
        unseen[train.items[train.offsets[user] : train.offsets[user + 1]]] = False
        pool = np.flatnonzero(unseen)
        if len(pool) < NEGATIVES:
            raise InputError(f"--split=ncf needs {NEGATIVES} items that a user has not seen; one user has {len(pool)}")
        candidates[row, :NEGATIVES] = rng.choice(pool, NEGATIVES, replace=False)
    return rest, valid, candidates


def published(train: Interactions, seed: int) -> tuple[Interactions, Interactions]:
    """A validation part for a published split without one, cut from its training part alone: train and validation.

    A random tenth of each user's rows, rounded down but at least one, is validation; a user's only row stays. The
    published figures (Wang et al., Neural Graph Collaborative Filtering, 2019) were tuned on such a tenth.
    """
    count = np.diff(train.offsets)
    take = np.where(count > 1, np.maximum(count // 10, 1), 0)
    shuffled = np.lexsort((np.random.default_rng(seed).random(len(train.users)), train.users))
    place = np.arange(len(shuffled)) - train.offsets[train.users]  # in the user's shuffled row
    valid = np.zeros(len(shuffled), bool)
    valid[shuffled[place < take[train.users]]] = True
    return select(train, ~valid), select(train, valid)


def _parts(log: Interactions, valid: np.ndarray, test: np.ndarray) -> Parts:
    return Parts(select(log, ~(valid | test)), select(log, valid), select(log, test))


def borders(fractions: tuple[float, ...], rows: int) -> tuple[int, int]:
    """The places where validation and test begin, of `rows` in a row."""
    first, second = np.round(np.cumsum(fractions[:2]) * rows).astype(int).tolist()
    return first, second


def cut(log: Interactions, places: np.ndarray, first: int, second: int) -> Parts:
    """Cut the rows by their `places` [R]: before `first`, before `second`, and the rest."""
    return _parts(log, valid=(places >= first) & (places < second), test=places >= second)
