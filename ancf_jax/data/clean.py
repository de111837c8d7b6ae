"""Cleaning rules as pure functions of a table, each of which reports what it removed."""

from typing import NamedTuple

import pandas as pd

from ancf_jax.types import InputError


class Removed(NamedTuple):
    """How many rows a cleaning rule removed."""

    rule: str
    rows: int


def clean(
    frame: pd.DataFrame, *, min_value: float = 0.0, user_core: int = 0, item_core: int = 0
) -> tuple[pd.DataFrame, list[Removed]]:
    """Apply the rules in turn; return the rows kept, in file order, and the rules that removed any.

    Removed are rows without a user, item or value, rows with a value below `min_value` (0: none), all but the latest
    row of a user and item (at equal times the last in the file), and then, until nothing changes, the rows of users
    with fewer than `user_core` and of items with fewer than `item_core` rows. Rows kept and removed add up to the rows
    read. Raises InputError that names the most severe rule when no row is left.
    """
    frame, removed = clean_rows(frame.reset_index(drop=True), min_value)
    frame = _drop("repeated user and item", frame, _latest(frame), removed)
    cored = _core(frame, user_core, item_core)
    frame = _drop(f"outside the core of {user_core} rows a user and {item_core} an item", frame, cored, removed)
    if frame.empty:
        worst = max(removed, key=lambda rule: rule.rows, default=Removed("no rows", 0))
        raise InputError(f"no row is left after cleaning; most fell to the rule '{worst.rule}' ({worst.rows} rows)")
    return frame.reset_index(drop=True), removed


def clean_rows(frame: pd.DataFrame, min_value: float = 0.0) -> tuple[pd.DataFrame, list[Removed]]:
    """The rules that look at one row alone: those on missing cells and on `min_value`. The index stays."""
    removed: list[Removed] = []
    frame = _drop("no user or item", frame, frame.dropna(subset=["user", "item"]), removed)
    frame = _drop("no value", frame, frame.dropna(subset=["value"]), removed)
    if min_value > 0:
        frame = _drop(f"value below {min_value:g}", frame, frame[frame["value"] >= min_value], removed)
    return frame, removed


def _drop(rule: str, frame: pd.DataFrame, kept: pd.DataFrame, removed: list[Removed]) -> pd.DataFrame:
    """What a rule kept; the number of rows it removed is added to the list."""
    if len(kept) < len(frame):
        removed.append(Removed(rule, len(frame) - len(kept)))
    return kept


def _latest(frame: pd.DataFrame) -> pd.DataFrame:
    """The latest row of every user and item, in file order."""
    by_time = frame.sort_values("time", kind="stable")
    return by_time.drop_duplicates(["user", "item"], keep="last").sort_index()


def _core(frame: pd.DataFrame, user_core: int, item_core: int) -> pd.DataFrame:
    """The largest part in which every user has `user_core` and every item has `item_core` rows."""
    rows = -1
    while rows != len(frame):
        rows = len(frame)
        for column, least in (("user", user_core), ("item", item_core)):
            if least > 1:
                frame = frame[frame[column].map(frame[column].value_counts()) >= least]
    return frame
