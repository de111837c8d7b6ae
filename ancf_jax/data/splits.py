"""Splits of a log into training, validation and test parts, as pure functions of Interactions.

Time means `order`, the place of a row under a stable sort by time, so that ties fall the same way everywhere.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.data.clean import Changed, Removed
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
    return leave_last_out(log, np.ones(len(log.users), bool))


def leave_last_out(log: Interactions, starts: np.ndarray) -> Parts:
    """Each user's rows from the last start on are test, from the last but one validation.

    `starts` [R] marks where something begins of which one is held out, such as a basket; users with fewer than 3 such
    starts only train.
    """
    users, offsets = np.asarray(log.users), np.asarray(log.offsets)
    total = np.append(0, np.cumsum(starts))  # of the starts before each row, and of all
    later = total[offsets[users + 1]] - total[1:]
    held_out = (total[offsets[1:]] - total[offsets[:-1]])[users] >= 3
    return _parts(log, valid=held_out & (later == 1), test=held_out & (later == 0))


def first_rows(log: Interactions) -> np.ndarray:
    """Which rows [R] are the first of their user and item."""
    return ~pd.Series(_pairs(np.asarray(log.users), np.asarray(log.items))).duplicated().to_numpy()


def changes(groups: np.ndarray) -> np.ndarray:
    """Which rows [R] are the first of their group, where the rows of a group follow each other."""
    return np.append(True, np.diff(groups) != 0)[: len(groups)]


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


def by_time(log: Interactions, times: np.ndarray, fractions: tuple[float, ...]) -> Parts:
    """The earliest fraction of all rows is train, the next validation, the latest test, each cut between two times.

    `times` [R] ascend: the time of every place in `order`, which must be 0..R-1. A cut is where the time changes next
    to its fraction, so that rows of one time are in one part. Users and items that training has not seen yet stay in
    the later parts. Raises InputError where there are fewer times than parts.
    """
    return cut(log, np.asarray(log.order), *_between_times(times, fractions))


def _between_times(times: np.ndarray, fractions: tuple[float, ...]) -> tuple[int, int]:
    """The places where validation and test begin, of rows whose `times` [R] ascend."""
    changes = np.flatnonzero(np.diff(times)) + 1
    valid, test = (fraction > 0 for fraction in fractions[1:])
    if len(changes) < valid + test:
        found = f"all {len(times):,} rows have one time" if not len(changes) else f"there are {len(changes) + 1} times"
        raise InputError(
            f"flag --split: time cuts between two times, and {found}, too few for {1 + valid + test} parts; other "
            "splits are leave-one-out and random"
        )
    first, second = borders(fractions, len(times))

    def nearest(places: np.ndarray, border: int) -> int:
        return int(places[np.argmin(np.abs(places - border))])

    if not test:
        return nearest(changes, first) if valid else len(times), len(times)
    if not valid:
        return (nearest(changes, second),) * 2
    first = nearest(changes[:-1], first)
    return first, nearest(changes[changes > first], second)


def ncf(
    train: Interactions, num_items: int, seed: int, negatives: int = NEGATIVES
) -> tuple[Interactions, Interactions, np.ndarray]:
    """A validation part for test rows that come with negatives, as the published NCF files do, cut from train alone.

    Each user's last training interaction becomes validation (a user's only one stays), ranked against `negatives`
    distinct items drawn uniformly from those that the user has in neither part. Returns train, validation and
    candidates [rows of validation, negatives + 1] int32 with the positive last. Raises InputError when so many items
    do not exist.
    """
    last = (from_latest(train) == 0) & (np.diff(train.offsets)[train.users] > 1)
    rest, valid = select(train, ~last), select(train, last)
    rng = np.random.default_rng(seed)
    candidates = np.empty((len(valid.users), negatives + 1), np.int32)
    candidates[:, negatives] = valid.items
    for row, user in enumerate(valid.users):
        unseen = np.ones(num_items, bool)
        unseen[train.items[train.offsets[user] : train.offsets[user + 1]]] = False
        pool = np.flatnonzero(unseen)
        if len(pool) < negatives:
            raise InputError(
                f"validation needs {negatives} items that a user has not seen, as many as test rows have negatives; "
                f"one user has {len(pool)}"
            )
        candidates[row, :negatives] = rng.choice(pool, negatives, replace=False)
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


def merge_repeats(parts: Sequence[Interactions], how: str) -> tuple[list[Interactions], list[Removed], list[Changed]]:
    """One row for every user and item, in the first of the parts that has them, which are in the order of time.

    In that part the latest row stays, with its own value ("latest") or with the sum of those there ("sum"); rows in
    later parts, which buy again what was bought before, are dropped. So no part knows anything of a later one.
    """
    part = np.repeat(np.arange(len(parts)), [len(each.users) for each in parts])
    users, items, values = (np.concatenate([np.asarray(each[n]) for each in parts]) for n in range(3))
    pairs = pd.factorize(_pairs(users, items))[0]
    count = int(pairs.max(initial=-1)) + 1
    if count == len(pairs):
        return list(parts), [], []
    earliest, latest = np.empty((2, count), np.int64)
    earliest[pairs[::-1]] = part[::-1]
    fresh = np.flatnonzero(part == earliest[pairs])
    latest[pairs[fresh]] = fresh  # a user's rows are in the order of time, and of equal places the last is written
    counts = np.bincount(pairs[fresh])
    again = len(pairs) - len(fresh)
    removed = [
        Removed("held out, but user and item of an earlier part", again),
        Removed("repeated user and item" + ", added to its latest" * (how == "sum"), len(fresh) - count),
    ]
    changed = []
    if how == "sum":
        values = np.bincount(pairs[fresh], values[fresh])[pairs]
        changed = [Changed("value that is a sum of several", int((counts > 1).sum()))]
    kept = np.zeros(len(pairs), bool)
    kept[latest] = True
    merged = []
    for n, each in enumerate(parts):
        own = part == n
        merged.append(select(each._replace(values=values[own].astype(np.float32)), kept[own]))
    return merged, [rule for rule in removed if rule.rows], [rule for rule in changed if rule.rows]


def _pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """A number [R] int64 for each user and item."""
    return np.asarray(users, np.int64) * (int(items.max(initial=0)) + 1) + items


def _parts(log: Interactions, valid: np.ndarray, test: np.ndarray) -> Parts:
    return Parts(select(log, ~(valid | test)), select(log, valid), select(log, test))


def borders(fractions: tuple[float, ...], rows: int) -> tuple[int, int]:
    """The places where validation and test begin, of `rows` in a row."""
    first, second = np.round(np.cumsum(fractions[:2]) * rows).astype(int).tolist()
    return first, second


def cut(log: Interactions, places: np.ndarray, first: int, second: int) -> Parts:
    """Cut the rows by their `places` [R]: before `first`, before `second`, and the rest."""
    return _parts(log, valid=(places >= first) & (places < second), test=places >= second)
