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
    removed: list[Removed] = []
    frame = frame.reset_index(drop=True)

    def drop(rule: str, kept: pd.DataFrame) -> pd.DataFrame:
        if len(kept) < len(frame):
            removed.append(Removed(rule, len(frame) - len(kept)))
        return kept

    frame = drop("no user or item", frame.dropna(subset=["user", "item"]))
    frame = drop("no value", frame.dropna(subset=["value"]))
    if min_value > 0:
        frame = drop(f"value below {min_value:g}", frame[frame["value"] >= min_value])
    frame = drop("repeated user and item", _latest(frame))
    cored = _core(frame, user_core, item_core)
    frame = drop(f"outside the core of {user_core} rows a user and {item_core} an item", cored)
    if frame.empty:
        worst = max(removed, key=lambda rule: rule.rows, default=Removed("no rows", 0))
        raise InputError(f"no row is left after cleaning; most fell to the rule '{worst.rule}' ({worst.rows} rows)")
    return frame.reset_index(drop=True), removed


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
