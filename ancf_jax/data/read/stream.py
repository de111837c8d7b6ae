"""A log larger than memory: a Parquet file, or a folder of them, of which one row group at a time is in memory.

`scan` reads the log once, for the vocabularies and the held-out parts; passes.py then gives the training rows, again
and again.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow.parquet

from ancf_jax.data import splits
from ancf_jax.data.clean import STREAMED, Changed, Kept, Removed, clean_rows, rules_of
from ancf_jax.data.interactions import build, encode, vocabulary
from ancf_jax.data.read import where
from ancf_jax.data.read.files import File, files_of, readable
from ancf_jax.data.read.formats.delimited import Dialect
from ancf_jax.data.read.sources import log_of, wanted_columns
from ancf_jax.data.read.tables import filtered, read_file, require_columns
from ancf_jax.data.targets import logarithm
from ancf_jax.devices.memory import check_machine
from ancf_jax.files import at_home
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError

COPIES = 3  # of ids, at least: as they are found, as they are merged, and where a search finds them
OBJECT = 49  # bytes of a text in Python beside its letters


class RowGroup(NamedTuple):
    """Rows of a Parquet file that are read at once."""

    file: File
    number: int  # in its file
    first: int  # the place of its first row in the file
    length: int


class Stream(NamedTuple):
    """Training rows that stay in their files."""

    config: DataConfig
    user_ids: np.ndarray  # [U]
    item_ids: np.ndarray  # [I]
    groups: list[RowGroup]  # of the whole log, in the order of time
    rows: np.ndarray  # [groups] int64: how many rows of each are for training, after cleaning; they come first in it
    folded: np.ndarray  # [groups] int64: the same if validation is training too


class Scan(NamedTuple):
    """What one reading of the log gives, as a Dataset has it."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    parts: splits.Parts  # train: the rows of some users alone
    removed: list[Removed]
    changed: list[Changed]
    fingerprint: str
    stream: Stream
    inferred: list[str]


def scan(config: DataConfig, users: Sequence[str] = ()) -> Scan:
    """Read the log once and split it by time: by the order of files by name, and of the rows in them.

    Rows are cleaned one by one, and repeated pairs stay; --fractions are of the rows before cleaning, and with
    --time_column the cuts are where the time changes next to them. Training rows are
    kept in memory of users who occur in a held-out part, and of `users`, given by their ids as text. Raises InputError
    for what is no Parquet file, lacks a column or has a bad cell, and for rows that --time_column shows out of order.
    """
    groups, fingerprint = _row_groups(config)
    starts = np.cumsum([0, *(group.length for group in groups)])
    first, second = splits.borders(config.fractions, int(starts[-1]))
    if config.time_column:
        first, second = (_between_times(groups, starts, border, config) for border in (first, second))
    head = min(int(np.searchsorted(starts, first, "right")), len(groups))  # groups up to the first held-out row
    rows, folded = np.zeros((2, len(groups)), np.int64)
    seen_users: list[np.ndarray] = []
    seen_items: list[np.ndarray] = []
    wanted, kept, ends, removed, changed = np.array([]), {}, {}, Counter[str](), Counter[str]()
    inferred: dict[str, None] = {}

    def take(n: int) -> None:
        nonlocal wanted
        (log, dropped, altered), times, remarks = read_group(groups[n], config)
        removed.update({rule.rule: rule.rows for rule in dropped})
        changed.update({rule.rule: rule.rows for rule in altered})
        inferred.update(dict.fromkeys(remarks))
        if log.empty:
            return
        if config.time_column:
            ends[n] = _check_order(groups[n], log, *times)
        _add(seen_users, log["user"])
        _add(seen_items, log["item"])
        places = np.asarray(log.index) - groups[n].first + starts[n]
        rows[n], folded[n] = (places < first).sum(), (places < second).sum()
        asked = log["user"].astype("str").isin(users) if users else False
        found = vocabulary(log["user"][(places >= first) | asked])
        if len(found):
            wanted = vocabulary(wanted, found) if len(wanted) else found
        kept[n] = log[["user", "item", "value"]].set_index(places)[_among(log["user"], wanted)]

    for n in (*range(head, len(groups)), *range(head - 1, -1, -1)):  # held-out rows say whose training rows to keep
        take(n)
    for before, after in pairwise(sorted(ends)):
        if ends[after].form != ends[before].form:
            raise InputError(
                f"{groups[after].file.path}: its times are {ends[after].form}, and {ends[before].form} before it; "
                "legal is one format, which --time_format states"
            )
        if ends[after].first < ends[before].last:
            raise _disorder(groups[after], ends[after].row)
    rules = [Removed(rule, count) for rule, count in sorted(removed.items())]
    if not rows.any():
        dropped_text = ", ".join(f"{rule.rows} for {rule.rule}" for rule in rules) or "none"
        raise InputError(f"--dataset={config.dataset}: no row is left for training; rows dropped: {dropped_text}")
    user_ids, item_ids = vocabulary(*seen_users), vocabulary(*seen_items)
    parts = _split(pd.concat([kept[n] for n in sorted(kept)]), user_ids, item_ids, first, second)
    for part, share, name in zip(parts[1:], config.fractions[1:], ("validation", "test"), strict=True):
        if not len(part.users) and (share or name == "test"):
            raise InputError(f"--fractions: no row is left for the {name} part; a cut falls between two times")
    stream = Stream(config, user_ids, item_ids, groups, rows, folded)
    alterations = [Changed(rule, count) for rule, count in sorted(changed.items())]
    return Scan(user_ids, item_ids, parts, rules, alterations, fingerprint, stream, list(inferred))


def _between_times(groups: list[RowGroup], starts: np.ndarray, border: int, config: DataConfig) -> int:
    """The place next to `border` where the time changes, found in the row groups around it; the end if it never does.

    `starts` [groups + 1] are the places of the first rows of the groups.
    """
    if border >= starts[-1]:
        return border
    low = int(np.searchsorted(starts, border, "right")) - 1
    high = low
    pieces: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    while True:
        for n in (low, high):
            if n not in pieces:
                pieces[n] = _times(groups[n], int(starts[n]), config)
        places, times = (np.concatenate([pieces[n][k] for n in sorted(pieces)]) for k in (0, 1))
        changes = places[1:][np.diff(times) != 0]
        near = int(changes[np.argmin(np.abs(changes - border))]) if len(changes) else None
        below = border - starts[low] if low else math.inf
        above = starts[high + 1] - border if high + 1 < len(groups) else math.inf
        if below == above == math.inf:
            return int(starts[-1]) if near is None else near
        if near is not None and abs(near - border) < min(below, above):
            return near
        low, high = max(low - 1, 0), min(high + 1, len(groups) - 1)


def _times(group: RowGroup, start: int, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """The places, from `start`, and the times of a row group's rows that cleaning leaves."""
    kept, (_, power), _ = read_group(group, config)
    times = kept.frame["time"].to_numpy().astype(object) * 10 ** (18 - power)  # groups may count other fractions
    return np.asarray(kept.frame.index) - group.first + start, times


class _Ends(NamedTuple):
    """The first and the last time in a row group, exact, how they are written, and the place of its first row."""

    first: Fraction
    last: Fraction
    form: str
    row: int


def _row_groups(config: DataConfig) -> tuple[list[RowGroup], str]:
    """The row groups in the order of time, and a fingerprint of what the files say of themselves."""
    path = at_home(config.dataset)
    files = files_of(config.dataset, "dataset") if path.exists() else []
    if not files or files[0].kind != ".parquet" or files[0].packed:
        raise InputError(f"--dataset={config.dataset}: legal with --stream are a .parquet file and a folder of them")
    wanted, groups, digest = list(wanted_columns(config).items()), [], hashlib.sha256()
    for file in files:
        with readable(file.path), pyarrow.parquet.ParquetFile(file.path) as opened:
            metadata, columns = opened.metadata, opened.schema_arrow.names
        require_columns(file, [*columns, *dict(file.keys)], wanted)
        digest.update(f"{file.path.name} {file.path.stat().st_size} {metadata.to_dict()}".encode())
        first = 0
        for number in range(metadata.num_row_groups):
            groups.append(RowGroup(file, number, first, metadata.row_group(number).num_rows))
            first += groups[-1].length
    if not any(group.length for group in groups):
        raise InputError(f"--dataset={config.dataset}: no rows")
    return groups, digest.hexdigest()[:16]


def read_group(group: RowGroup, config: DataConfig) -> tuple[Kept, tuple[str, int], list[str]]:
    """The rows of a row group that cleaning leaves, under their places in the file, and what it did.

    Beside it how times are written and the power of ten that they count, and what was inferred.
    """
    conditions = where.parse(config.where)
    wanted = [*wanted_columns(config).items(), *(("where", condition.column) for condition in conditions)]
    dialect = Dialect(decimal=config.decimal or ".", na_values=config.na_values)  # no row group decides alone
    table = read_file(group.file, wanted, dialect, group.first, group.number, group.first)
    whole = len(table.places)
    table = filtered(table, conditions)
    log = log_of(table, config)
    kept = clean_rows(log.frame, rules_of(config, STREAMED))
    if config.target == "log":
        kept = kept._replace(frame=kept.frame.assign(value=logarithm(kept.frame["value"].to_numpy())))
    left_out = whole - len(table.places)
    unasked = [Removed(f"not --where={config.where}", left_out)] if left_out else []
    kept = kept._replace(removed=[*unasked, *kept.removed], changed=[*log.changed, *kept.changed])
    return kept, (log.form, log.power), log.inferred


def _check_order(group: RowGroup, log: pd.DataFrame, form: str, power: int) -> _Ends:
    """The times of a row group's ends. Raises InputError if a row is earlier than the one before it."""
    times = log["time"].to_numpy()
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise _disorder(group, log.index[back[0] + 1])
    first, last = (Fraction(int(time), 10**power) for time in times[[0, -1]])
    return _Ends(first, last, form, log.index[0])


def _disorder(group: RowGroup, row: int) -> InputError:
    return InputError(
        f"{group.file.path}: row {row + 1} is earlier than the one before it (--time_column); --stream needs rows in "
        "the order of time, and files that are in it by name"
    )


def _add(pieces: list[np.ndarray], ids: pd.Series) -> None:
    """Add ids to those found so far, which are merged whenever they have doubled; memory is asked for all of them."""
    pieces.append(vocabulary(ids))
    if sum(map(len, pieces)) > 2 * len(pieces[0]):
        pieces[:] = [vocabulary(*pieces)]
        size = pieces[0].nbytes
        if pieces[0].dtype == object:
            size += sum(map(len, pieces[0])) + OBJECT * len(pieces[0])
        check_machine(f"{len(pieces[0]):,} different ids", COPIES * size, "fewer users and items, as by --where")


def _among(ids: pd.Series, wanted: np.ndarray) -> np.ndarray:
    """Which rows [R] are of the ids `wanted`; in some row groups ids are text, in others the same are numbers."""
    if pd.api.types.is_integer_dtype(ids) == (wanted.dtype != object):
        return ids.isin(wanted).to_numpy()
    return ids.astype("string").isin(wanted.astype(object).astype(str).astype(object)).to_numpy()


def _split(log: pd.DataFrame, user_ids: np.ndarray, item_ids: np.ndarray, first: int, second: int) -> splits.Parts:
    """The parts of a log whose index says where a row is among all rows."""
    order = np.arange(len(log))
    users, items = (
        encode(log[name] if ids.dtype != object else log[name].astype("string"), ids)
        for name, ids in (("user", user_ids), ("item", item_ids))
    )
    whole = build(users, items, log["value"], order, len(user_ids))
    return splits.cut(whole, np.asarray(whole.order), *np.searchsorted(log.index, [first, second]).tolist())
