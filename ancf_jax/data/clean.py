"""Cleaning rules as pure functions of a table, each of which reports what it removed and what it changed.

A table has the columns user, item, value and time, and may have basket; its index stays with the rows that a rule
keeps. `clean` applies the rules in this order:

1. rows without an item, a value or a basket are dropped;
2. rows of no user, or of one of `anonymous_ids`, which stand for many, are dropped, or kept as one user;
3. rows of items that are no products, by the pattern `drop_items`, are dropped;
4. returns, which are negative values, take back what was bought before (`match_returns`), are dropped or stay;
5. rows with a value below `min_value` are dropped;
6. values above the `clip_quantile` of all values become it;
7. users with fewer than `user_core` and items with fewer than `item_core` rows are dropped, until none is left.

Repeated rows of a user and an item stay, for the log has to be split before they become one (`splits.merge_repeats`).
The rules from the third on take rows without missing cells. For every rule, and for all of them, rows kept and rows
removed add up to the rows read.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.api import types as dtypes

from ancf_jax.config import AUTO
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


class Rules(NamedTuple):
    """How a log is cleaned: DataConfig's flags of these names, with what they are if the data set says nothing."""

    anonymous: str = "drop"
    anonymous_ids: tuple[str, ...] = ()
    drop_items: str = ""
    returns: str = "match"
    min_value: float = 0.0
    clip_quantile: float = 0.0
    repeats: str = "merge"
    duplicates: str = "latest"
    user_core: int = 0
    item_core: int = 0


class Removed(NamedTuple):
    """How many rows a cleaning rule removed."""

    rule: str
    rows: int


class Changed(NamedTuple):
    """How many of the rows that it kept a cleaning rule changed."""

    rule: str
    rows: int


class Kept(NamedTuple):
    """What a rule, or all of them, left of a table; what did nothing is not listed."""

    frame: pd.DataFrame
    removed: list[Removed]
    changed: list[Changed]


Rule = Callable[[pd.DataFrame], Kept]
DEFAULT = Rules()
STREAMED = Rules(returns="drop")  # what can be done to one row without the others
BASKETS = Rules(repeats="keep")


def rules_of(config: DataConfig, own: Rules = DEFAULT) -> Rules:
    """The rules that flags give, and the data set's `own` where a flag is auto."""
    flags = {name: getattr(config, name) for name in Rules._fields}
    return own._replace(**{name: value for name, value in flags.items() if value != AUTO})


def clean(frame: pd.DataFrame, rules: Rules = DEFAULT) -> Kept:
    """Apply all rules in turn; the rows kept stay in file order and are numbered anew.

    Raises InputError that names the most severe rule when no row is left, or that says why a flag does not fit.
    """
    steps: list[Rule] = [
        partial(clean_rows, rules=rules),
        partial(clip_values, quantile=rules.clip_quantile),
        partial(take_core, user_core=rules.user_core, item_core=rules.item_core, repeats=rules.repeats == "keep"),
    ]
    kept = _in_turn(frame.reset_index(drop=True), steps)
    if kept.frame.empty:
        worst = max(kept.removed, key=lambda rule: rule.rows, default=Removed("no rows", 0))
        raise InputError(f"no row is left after cleaning; most fell to the rule '{worst.rule}' ({worst.rows} rows)")
    return kept._replace(frame=kept.frame.reset_index(drop=True))


def clean_rows(frame: pd.DataFrame, rules: Rules = DEFAULT) -> Kept:
    """The first five rules; but for returns that are matched, they look at one row alone, so a log may come in parts.

    Raises InputError for --anonymous_ids that the users' ids cannot be.
    """
    steps: list[Rule] = [
        drop_missing,
        partial(resolve_users, anonymous=rules.anonymous, ids=rules.anonymous_ids),
        partial(drop_items, pattern=rules.drop_items),
        {"match": match_returns, "drop": drop_returns, "keep": _all}[rules.returns],
        partial(drop_below, min_value=rules.min_value),
    ]
    return _in_turn(frame, steps)


def drop_missing(frame: pd.DataFrame) -> Kept:
    """Drop the rows without an item, without a value or without a basket."""
    columns = [name for name in ("item", "value", "basket") if name in frame]
    return _in_turn(frame, [partial(_drop_without, column=name) for name in columns])


def resolve_users(frame: pd.DataFrame, anonymous: str = "drop", ids: Sequence[str] = ()) -> Kept:
    """Drop the rows without a user or with one of `ids`, or ("keep") make them the rows of a single user.

    That user is the first of `ids`; without them it is -1 where ids are whole numbers and "anonymous" where they are
    text. Raises InputError for `ids` that are no whole numbers where the users' are.
    """
    user = frame["user"]
    listed = [_whole(text) for text in ids] if dtypes.is_integer_dtype(user) else list(ids)
    unknown = user.isna() | user.isin(listed)
    if anonymous == "drop":
        return _keep("anonymous user", frame, ~unknown)
    one = listed[0] if listed else -1 if dtypes.is_integer_dtype(user) else "anonymous"
    return Kept(frame.assign(user=user.mask(unknown, one)), [], _changed(f"anonymous users made user {one}", unknown))


def drop_items(frame: pd.DataFrame, pattern: str = "") -> Kept:
    """Drop the rows of items whose whole id matches a regular expression, ignoring case."""
    if not pattern:
        return _all(frame)
    matches = re.compile(pattern, re.IGNORECASE).fullmatch
    dropped = [item for item in frame["item"].unique() if matches(str(item))]
    return _keep(f"no product, but like {pattern}", frame, ~frame["item"].isin(dropped))


def drop_returns(frame: pd.DataFrame) -> Kept:
    """Drop the rows with a negative value."""
    return _keep("return", frame, frame["value"] >= 0)


def match_returns(frame: pd.DataFrame) -> Kept:
    """Drop returns, the rows with a negative value, and take their values from what was bought before.

    A return takes back what the same user bought of the same item earlier (at equal times: before it in the file), the
    latest purchase first, over several if it has to. A purchase that is taken back in full is dropped; what a return
    exceeds all earlier purchases by is lost. What rounding leaves of a purchase or a return, a billionth, counts as 0.
    """
    value, time = frame["value"].to_numpy(np.float64), frame["time"].to_numpy()
    returned = value < 0
    if not returned.any():
        return _all(frame)
    pairs = pd.factorize(_pairs(frame))[0]
    with_returns = np.zeros(int(pairs.max()) + 1, bool)
    with_returns[pairs[returned]] = True
    rows = np.flatnonzero(with_returns[pairs])  # all others stay as they are
    rows = rows[np.lexsort((time[rows], pairs[rows]))]
    bought: list[int] = []  # places in `rows` of purchases of which something is left, the latest last
    left, pair_before, matched = value[rows].tolist(), -1, 0
    for place, (pair, quantity) in enumerate(zip(pairs[rows].tolist(), value[rows].tolist(), strict=True)):
        if pair != pair_before:
            bought, pair_before = [], pair
        if quantity > 0:
            bought.append(place)
            continue
        matched += quantity < 0 and bool(bought)
        owed, nothing = -quantity, -1e-9 * quantity
        while bought and owed > nothing:
            latest = bought[-1]
            taken = min(owed, left[latest])
            owed -= taken
            left[latest] -= taken
            if left[latest] <= 1e-9 * value[rows[latest]]:
                left[latest] = 0.0
                bought.pop()
    rest = value.copy()
    rest[rows] = left
    emptied, reduced = (value > 0) & (rest == 0), (rest > 0) & (rest < value)
    counts = {
        "return of an earlier purchase": matched,
        "return without an earlier purchase": int(returned.sum()) - matched,
        "purchase that was returned": int(emptied.sum()),
    }
    kept = frame.assign(value=rest)[~(returned | emptied)]
    removed = [Removed(rule, rows) for rule, rows in counts.items() if rows]
    return Kept(kept, removed, _changed("purchase that was returned in part", reduced))


def drop_below(frame: pd.DataFrame, min_value: float = 0.0) -> Kept:
    """Drop the rows with a value below `min_value` (0: none)."""
    return _keep(f"value below {min_value:g}", frame, frame["value"] >= min_value) if min_value else _all(frame)


def clip_values(frame: pd.DataFrame, quantile: float = 0.0) -> Kept:
    """Make the values above the `quantile` of all values equal to it (0: none)."""
    if not quantile or frame.empty:
        return _all(frame)
    limit = float(frame["value"].quantile(quantile))
    above = frame["value"] > limit
    rule = f"value clipped to {limit:g}, the {quantile:g}-quantile"
    return Kept(frame.assign(value=frame["value"].clip(upper=limit)), [], _changed(rule, above))


def take_core(frame: pd.DataFrame, user_core: int = 0, item_core: int = 0, repeats: bool = False) -> Kept:
    """Keep the largest part in which every user has `user_core` and every item has `item_core` rows (the k-core).

    Rows of one user and item count once, unless `repeats` count.
    """
    if max(user_core, item_core) < 2:
        return _all(frame)
    sides = [(frame[name].factorize()[0], least) for name, least in (("user", user_core), ("item", item_core))]
    counts = np.ones(len(frame), bool) if repeats else ~pd.Series(_pairs(frame)).duplicated().to_numpy()
    kept, before = np.ones(len(frame), bool), -1
    while kept.sum() != before:
        before = kept.sum()
        for codes, least in sides:
            kept &= np.bincount(codes[kept & counts], minlength=len(frame))[codes] >= least
    return _keep(f"outside the core of {user_core} rows a user and {item_core} an item", frame, kept)


def time_baskets(frame: pd.DataFrame) -> Kept:
    """Give all rows of a user's basket the earliest of their times, so that no split by time parts them."""
    time = frame.groupby(basket_numbers(frame))["time"].transform("min")
    return Kept(
        frame.assign(time=time), [], _changed("time made that of the first row of its basket", time != frame["time"])
    )


def basket_numbers(frame: pd.DataFrame) -> np.ndarray:
    """A number [R] for each user and basket: one that several users have the id of is a basket of each."""
    users, baskets = (frame[name].factorize()[0].astype(np.int64) for name in ("user", "basket"))
    return pd.factorize(users * (baskets.max(initial=0) + 1) + baskets)[0]


def _in_turn(frame: pd.DataFrame, steps: Sequence[Rule]) -> Kept:
    """What is left after several rules, and all that they report."""
    removed, changed = [], []
    for step in steps:
        kept = step(frame)
        frame = kept.frame
        removed += kept.removed
        changed += kept.changed
    return Kept(frame, removed, changed)


def _drop_without(frame: pd.DataFrame, column: str) -> Kept:
    return _keep(f"no {column}", frame, frame[column].notna())


def _all(frame: pd.DataFrame) -> Kept:
    return Kept(frame, [], [])


def _keep(rule: str, frame: pd.DataFrame, rows: pd.Series | np.ndarray) -> Kept:
    """The rows where a mask is true."""
    count = len(frame) - int(rows.sum())
    return Kept(frame[rows], [Removed(rule, count)], []) if count else _all(frame)


def _changed(rule: str, rows: pd.Series | np.ndarray) -> list[Changed]:
    return [Changed(rule, int(rows.sum()))] if rows.any() else []


def _pairs(frame: pd.DataFrame) -> np.ndarray:
    """A number [R] int64 for each user and item, the same in all their rows."""
    users, items = (frame[name].factorize()[0].astype(np.int64) for name in ("user", "item"))
    return users * (items.max(initial=0) + 1) + items


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise InputError(f"flag --anonymous_ids: '{text}' is no whole number, as the users' ids are here") from error
