"""What a log looks like, and how its split may leak, as plain numbers in a dict that JSON holds.

Shares are in [0, 1]; None stands for what cannot be said. Nothing here is random but the permutation behind `drift`,
whose seed is fixed.
"""

from typing import Any

import numpy as np
import pandas as pd

from ancf_jax.data.splits import Parts

TOP = (0.01, 0.1, 0.2)  # of the items, whose share of the interactions is counted
FEW = 12  # distinct values that are counted one by one
BINS = 30
LONG_TAIL = 20  # a largest value of so many medians puts a histogram on a log scale
PERIODS = {  # a length of time: NumPy's unit, how many of them, and what aligns them (weeks begin on Mondays)
    "hour": ("h", 1, 0),
    "day": ("D", 1, 0),
    "week": ("D", 7, 3),
    "month": ("M", 1, 0),
    "quarter": ("M", 3, 0),
    "year": ("Y", 1, 0),
}
SINCE_1970 = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
UNITS = dict(zip(("s", "ms", "us", "ns"), SINCE_1970, strict=True))


def of_log(frame: pd.DataFrame, timed: bool, unit: str = "") -> dict[str, Any]:
    """Counts, values, times, long tail, activity, repeats and drift of a log.

    `frame` has user, item, value and time, as a Source has them; at least one row has a user, an item and a value.
    Rows without a user or an item are counted, and left out of all else; 'times' and 'drift' are None unless `timed`.
    `unit` is a Source's.
    """
    known = frame.dropna(subset=["user", "item"])
    users, items = (pd.factorize(known[column])[0].astype(np.int64) for column in ("user", "item"))
    values = known["value"].to_numpy(np.float64)
    times = known["time"].to_numpy(np.int64) if timed else None
    num_users, num_items = int(users.max()) + 1, int(items.max()) + 1
    pairs = len(np.unique(users * num_items + items))
    return {
        "rows": len(frame),
        "users": num_users,
        "items": num_items,
        "pairs": pairs,
        "density": pairs / (num_users * num_items),
        "missing": {column: int(frame[column].isna().sum()) for column in ("user", "item", "value")},
        "values": value_distribution(values[~np.isnan(values)]),
        "times": None if times is None else time_distribution(users, times, unit),
        "long_tail": long_tail(np.bincount(items)),
        "activity": activity(np.bincount(users)),
        "repeats": repeats(users, items, values),
        "drift": None if times is None else drift(users, items, times, unit),
    }


def value_distribution(values: np.ndarray) -> dict[str, Any]:
    """Quantiles of `values` [R], which are finite, how many are negative, zero and distinct, and a histogram."""
    distinct, counts = np.unique(values, return_counts=True)
    positive = values[values > 0]
    if len(distinct) <= FEW:
        bins = {"scale": "values", "edges": distinct.tolist(), "counts": counts.tolist()}
    elif len(positive) and positive.max() > LONG_TAIL * np.median(positive):
        bins = log_histogram(positive)
    else:
        bins = _linear_histogram(values)
    signs = {"negative": int((values < 0).sum()), "zero": int((values == 0).sum()), "distinct": len(distinct)}
    return quantiles(values) | signs | {"histogram": bins}


def quantiles(values: np.ndarray) -> dict[str, float]:
    """The least, the quartiles, the 99% quantile, the largest and the mean of `values` [n], n > 0."""
    names = {"min": 0, "25%": 0.25, "median": 0.5, "75%": 0.75, "99%": 0.99, "max": 1}
    found = np.quantile(values, list(names.values())).tolist()
    return dict(zip(names, found, strict=True)) | {"mean": float(values.mean())}


def log_histogram(values: np.ndarray) -> dict[str, Any]:
    """Counts of positive `values` between powers of 2, [1, 2), [2, 4) and so on; 'edges' has one more than 'counts'."""
    low, high = np.floor(np.log2([values.min(), values.max()])).astype(int)
    edges = 2.0 ** np.arange(low, high + 2)
    return {"scale": "log", "edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}


def _linear_histogram(values: np.ndarray) -> dict[str, Any]:
    """Counts in bins of one width, each of which holds as many whole numbers as the next where all are whole."""
    if (values % 1 == 0).all():
        width = -(-(values.max() - values.min() + 1) // BINS)
        edges = np.arange(values.min() - 0.5, values.max() + width, width)
    else:
        edges = np.linspace(values.min(), values.max(), BINS + 1)
    return {"scale": "linear", "edges": edges.tolist(), "counts": np.histogram(values, edges)[0].tolist()}


def time_distribution(users: np.ndarray, times: np.ndarray, unit: str = "") -> dict[str, Any]:
    """First and last time, interactions a period, and the share of rows [R] whose user has another at the same time."""
    counted, _ = dates(times, unit)
    period, places, edges = periods(times, 100, unit)
    rows = np.lexsort((times, users))
    same = (np.diff(users[rows]) == 0) & (np.diff(times[rows]) == 0)
    tied = np.append(same, False) | np.append(False, same)
    return {
        "unit": counted,
        "first": _moment(times.min(), counted),
        "last": _moment(times.max(), counted),
        "ties": float(tied.mean()),
        "period": period,
        "edges": edges,
        "counts": np.bincount(places, minlength=len(edges) - 1).tolist(),
    }


def dates(times: np.ndarray, unit: str = "") -> tuple[str | None, np.ndarray]:
    """What `times` [R] count since 1970, and the dates [R]; None and the times where they are no such counts.

    `unit` is s, ms, us or ns where it is known. Of numbers that nobody explains nothing but their size tells: they are
    taken for what puts the median between 1973 and 2286, which no two units do.
    """
    if unit in UNITS:
        return UNITS[unit], (times // SINCE_1970[UNITS[unit]]).astype("datetime64[s]")
    middle = float(np.median(times))
    for name, in_a_second in SINCE_1970.items():
        if 1e8 <= middle / in_a_second < 1e10:
            return name, (times // in_a_second).astype("datetime64[s]")
    return None, times


def periods(times: np.ndarray, most: int, unit: str = "") -> tuple[str | None, np.ndarray, list[Any]]:
    """The shortest periods of which at most `most` cover `times` [R] (years may be more).

    Returns the period's name, the place of every row's period [R], and the P + 1 borders: ISO dates, or numbers
    without a name where the times are no dates.
    """
    counted, when = dates(times, unit)
    if counted is None:
        first, last = int(times.min()), int(times.max())
        width = -(-(last - first + 1) // most)
        places = (times - first) // width
        return None, places, [first + width * place for place in range(int(places.max()) + 2)]
    for name in PERIODS:
        step, count, shift = PERIODS[name]
        places = (when.astype(f"datetime64[{step}]").astype(np.int64) + shift) // count
        first, last = int(places.min()), int(places.max())
        if last - first < most:
            break
    borders = (np.arange(first, last + 2) * count - shift).astype(f"datetime64[{step}]")
    return name, places - first, borders.astype(str).tolist()


def _moment(time: np.integer, unit: str | None) -> Any:
    """A time as ISO date and time of day, or as it is without a `unit`."""
    if unit is None:
        return int(time)
    return str(np.datetime64(int(time) // SINCE_1970[unit], "s"))


def long_tail(counts: np.ndarray) -> dict[str, Any]:
    """How unequally interactions fall on items, of which `counts` [I] each have at least one.

    'top' is the share of the interactions on the most popular 1%, 10% and 20% of the items, rounded up. 'gini' is
    sum_j (2 j - I - 1) x_j / (I sum_j x_j) for x_1 <= x_2 <= ..., in [0, 1 - 1 / I]. 'lorenz' is the share of the
    interactions on the least popular 0%, 1%, ..., 100% of the items.
    Source: M. Lorenz, 1905, "Methods of measuring the concentration of wealth"; C. Gini, 1912.
    """
    ascending = np.sort(counts)
    size, shares = len(counts), np.append(0, np.cumsum(ascending)) / counts.sum()
    weights = (2 * np.arange(1, size + 1) - size - 1) / size
    return {
        "top": {f"{top:.0%}": 1 - float(shares[size - int(np.ceil(top * size))]) for top in TOP},
        "gini": float((weights * ascending).sum() / counts.sum()),
        "per_item": quantiles(counts),
        "once": float((counts == 1).mean()),
        "fewer_than_5": float((counts < 5).mean()),
        "lorenz": np.interp(np.linspace(0, 1, 101), np.linspace(0, 1, size + 1), shares).tolist(),
    }


def activity(counts: np.ndarray) -> dict[str, Any]:
    """How many interactions users have, of whom `counts` [U] each have at least one."""
    return {
        "per_user": quantiles(counts),
        "once": float((counts == 1).mean()),
        "fewer_than_3": float((counts < 3).mean()),
        "histogram": log_histogram(counts),
    }


def repeats(users: np.ndarray, items: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """The share of pairs that occur more than once, and of rows that repeat another; returns (negative) left out."""
    kept = ~(values < 0)
    _, counts = np.unique(users[kept] * (int(items.max()) + 1) + items[kept], return_counts=True)
    pairs, rows = max(len(counts), 1), max(int(kept.sum()), 1)
    return {"pairs": float((counts > 1).sum() / pairs), "rows": float((counts - 1).sum() / rows)}


def drift(users: np.ndarray, items: np.ndarray, times: np.ndarray, unit: str = "") -> dict[str, Any]:
    """Of at most 24 periods: rows, shares of rows on items and users new in it, and how far the shares of items moved.

    'distance' is the total variation sum_i |p_i - q_i| / 2 between the items' shares in a period and in the last one
    before it with rows, in [0, 1]; 'by_chance' is the same after a permutation of the items over all rows, for few
    rows differ by chance alone. None where there is no row, or no period before.
    """
    period, places, edges = periods(times, 24, unit)
    rows = np.bincount(places, minlength=len(edges) - 1)
    drawn = np.random.default_rng(0).permutation(items)
    return {
        "period": period,
        "edges": edges,
        "rows": rows.tolist(),
        "new_items": _new(items, places, rows),
        "new_users": _new(users, places, rows),
        "distance": _distances(items, places, rows),
        "by_chance": _distances(drawn, places, rows),
    }


def _new(ids: np.ndarray, places: np.ndarray, rows: np.ndarray) -> list[float | None]:
    """The share of each period's rows whose id is in no earlier period."""
    first = np.full(int(ids.max()) + 1, len(rows))
    np.minimum.at(first, ids, places)
    new = np.bincount(places[first[ids] == places], minlength=len(rows))
    return [int(count) / int(total) if total else None for count, total in zip(new, rows, strict=True)]


def _distances(items: np.ndarray, places: np.ndarray, rows: np.ndarray) -> list[float | None]:
    """The total variation between the items' shares in each period and in the last before it with rows."""
    by_place = items[np.argsort(places, kind="stable")]
    found: list[float | None] = []
    before: np.ndarray | None = None
    for part in np.split(by_place, np.cumsum(rows)[:-1]):
        shares = np.bincount(part, minlength=int(items.max()) + 1) / max(len(part), 1)
        found.append(None if before is None or not len(part) else float(np.abs(shares - before).sum() / 2))
        before = shares if len(part) else before
    return found


def of_split(parts: Parts, times: np.ndarray | None) -> dict[str, Any]:
    """Sizes of the parts, and for validation and test what training knows of them that it should not, or should.

    `times` [R] int64 is the time of every place in `order`; None for a log without times. Rows of a held-out part:
    'pair_in_train' have their user and item in train too, 'new_users' and 'new_items' are of users and items without a
    training row, counted as well; 'before_own' are earlier than some training row of the same user, 'at_own' at the
    time of the user's last one, 'before_any' earlier than some training row of anyone. 'train_after' is the share of
    the training rows that are later than a held-out one, in the mean.
    """
    stride = max(int(part.items.max(initial=0)) for part in parts) + 1
    pairs = [np.asarray(part.users, np.int64) * stride + part.items for part in parts]
    train, rows = parts.train, sum(len(part.users) for part in parts)
    sizes = [
        {
            "rows": len(part.users),
            "share": len(part.users) / rows,
            "users": len(np.unique(part.users)),
            "items": len(np.unique(part.items)),
        }
        for part in parts
    ]
    found: dict[str, Any] = dict(zip(Parts._fields, sizes, strict=True))
    found["pairs_in_valid_and_test"] = len(np.intersect1d(pairs[1], pairs[2]))
    for name, part, pair in zip(Parts._fields[1:], parts[1:], pairs[1:], strict=True):
        strange_user, strange_item = ~np.isin(part.users, train.users), ~np.isin(part.items, train.items)
        found[name] |= {
            "pair_in_train": int(np.isin(pair, pairs[0]).sum()),
            "users_without_train": len(np.unique(part.users[strange_user])),
            "items_without_train": len(np.unique(part.items[strange_item])),
            "new_users": _share(strange_user),
            "new_items": _share(strange_item),
        }
        if times is not None and len(train.users) and len(part.users):
            found[name] |= _leaks(train, part, times)
    return found


def _leaks(train, part, times: np.ndarray) -> dict[str, float | None]:
    """What is earlier and later than what, for `of_split`."""
    trained, tested = times[train.order], times[part.order]
    starts, ends = train.offsets[:-1], train.offsets[1:]
    last = np.full(len(starts), np.iinfo(np.int64).min)
    last[ends > starts] = trained[ends[ends > starts] - 1]  # a user's rows are sorted by time
    own = last[part.users]
    after = len(trained) - np.searchsorted(np.sort(trained), tested, side="right")
    return {
        "before_own": _share(tested < own),
        "at_own": _share(tested == own),
        "before_any": _share(tested < trained.max()),
        "train_after": float(after.mean() / len(trained)),
    }


def _share(mask: np.ndarray) -> float | None:
    return float(mask.mean()) if len(mask) else None
