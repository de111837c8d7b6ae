"""Statistics of logs and splits against counts in plain Python."""

import bisect
import json
import math
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ancf_jax.data import splits, summary
from ancf_jax.data.interactions import build

ids = st.one_of(st.none(), st.sampled_from("abcdef"))
rows = st.tuples(ids, ids, st.sampled_from([None, -2.0, 0.0, 1.0, 3.5]), st.integers(0, 60))
logs = st.lists(rows, min_size=1, max_size=40).map(lambda log: [("a", "b", 1.0, 7), *log])


def table(log):
    frame = pd.DataFrame(log, columns=["user", "item", "value", "time"])
    return frame.astype({"user": "string", "item": "string", "value": "float64"})


def gini(counts):
    """Half the mean absolute difference of two items, relative to the mean."""
    differences = [abs(a - b) for a in counts for b in counts]
    return sum(differences) / len(differences) / (2 * sum(counts) / len(counts))


def distance(a, b):
    return sum(abs(a[item] / a.total() - b[item] / b.total()) for item in a | b) / 2


@settings(max_examples=30)
@given(logs)
def test_a_log_in_plain_python(log):
    found = summary.of_log(table(log), timed=True)
    json.dumps(found, allow_nan=False)
    known = [row for row in log if row[0] and row[1]]
    pairs = Counter(row[:2] for row in known)
    users, items = Counter(row[0] for row in known), Counter(row[1] for row in known)
    assert (found["rows"], found["users"], found["items"], found["pairs"]) == (*map(len, (log, users, items, pairs)),)
    assert found["density"] == pytest.approx(len(pairs) / len(users) / len(items))
    missing = {name: sum(row[n] is None for row in log) for n, name in enumerate(("user", "item", "value"))}
    assert found["missing"] == missing

    values = [row[2] for row in known if row[2] is not None]
    assert found["values"]["negative"] == sum(value < 0 for value in values)
    assert found["values"]["zero"] == values.count(0)
    counts = dict(zip(found["values"]["histogram"]["edges"], found["values"]["histogram"]["counts"], strict=True))
    assert counts == Counter(values)

    tail = found["long_tail"]
    for name, share in (("1%", 0.01), ("10%", 0.1), ("20%", 0.2)):
        top = items.most_common(math.ceil(share * len(items)))
        assert tail["top"][name] == pytest.approx(sum(count for _, count in top) / len(known))
    assert tail["gini"] == pytest.approx(gini(list(items.values())), abs=1e-12)
    assert tail["fewer_than_5"] == pytest.approx(sum(count < 5 for count in items.values()) / len(items))
    assert tail["lorenz"][0] == 0 and tail["lorenz"][-1] == 1 and (np.diff(tail["lorenz"], 2) > -1e-12).all()

    assert found["activity"]["once"] == pytest.approx(list(users.values()).count(1) / len(users))
    assert found["activity"]["per_user"]["max"] == max(users.values())
    assert sum(found["activity"]["histogram"]["counts"]) == len(users)

    bought = Counter(row[:2] for row in known if row[2] is None or row[2] >= 0)
    assert found["repeats"]["pairs"] == pytest.approx(sum(count > 1 for count in bought.values()) / len(bought))
    assert found["repeats"]["rows"] == pytest.approx(1 - len(bought) / bought.total())

    moments = Counter((row[0], row[3]) for row in known)
    assert found["times"]["ties"] == pytest.approx(sum(c for c in moments.values() if c > 1) / len(known))
    assert (found["times"]["first"], found["times"]["last"]) == (min(r[3] for r in known), max(r[3] for r in known))


@settings(max_examples=30)
@given(logs)
def test_drift_in_plain_python(log):
    known = [row for row in log if row[0] and row[1]]
    found = summary.of_log(table(log), timed=True)["drift"]
    assert len(found["rows"]) <= 24 and len(found["edges"]) == len(found["rows"]) + 1
    parts = defaultdict(list)
    for row in known:
        parts[bisect.bisect(found["edges"], row[3]) - 1].append(row)
    assert found["rows"] == [len(parts[n]) for n in range(len(found["rows"]))]
    before, users, items = None, set(), set()
    for n, part in ((n, parts[n]) for n in range(len(found["rows"]))):
        if not part:
            assert found["new_items"][n] is found["new_users"][n] is found["distance"][n] is None
            continue
        assert found["new_users"][n] == pytest.approx(sum(row[0] not in users for row in part) / len(part))
        assert found["new_items"][n] == pytest.approx(sum(row[1] not in items for row in part) / len(part))
        counts = Counter(row[1] for row in part)
        assert found["distance"][n] == (None if before is None else pytest.approx(distance(before, counts)))
        assert (found["by_chance"][n] is None) == (before is None)
        before, users, items = counts, users | {row[0] for row in part}, items | {row[1] for row in part}


def test_what_moved_is_told_from_chance():
    rng = np.random.default_rng(0)
    users, times = np.zeros(4000, int), np.repeat(np.arange(4), 1000)
    same = summary.drift(users, rng.integers(0, 500, 4000), times)
    assert same["distance"][1:] == pytest.approx(same["by_chance"][1:], abs=0.05) and min(same["distance"][1:]) > 0.2
    moved = summary.drift(users, times * 500 + rng.integers(0, 500, 4000), times)
    assert moved["distance"][1:] == pytest.approx([1, 1, 1]) and max(moved["by_chance"][1:]) < 0.9
    assert moved["new_items"] == [1, 1, 1, 1] and moved["new_users"] == [1, 0, 0, 0]


def test_a_log_without_times_has_no_time_and_no_drift():
    found = summary.of_log(table([("a", "x", 1.0, 0), ("b", "x", 1.0, 1)]), timed=False)
    assert found["times"] is found["drift"] is None
    assert found["long_tail"]["gini"] == 0 and found["long_tail"]["top"]["1%"] == 1


def read(border):
    """An ISO date, of which a month or a year is the first day."""
    return datetime.fromisoformat(border if len(border) > 7 else (border + "-01-01")[:10])


NEXT = {  # the border after one
    "hour": lambda border: border + timedelta(hours=1),
    "day": lambda border: border + timedelta(days=1),
    "week": lambda border: border + timedelta(days=7),
    "month": lambda border: (border + timedelta(days=31)).replace(day=1),
    "quarter": lambda border: (border + timedelta(days=92)).replace(day=1),
    "year": lambda border: border.replace(year=border.year + 1),
}


def start(border, name):
    """The start of the period of a date."""
    border = border.replace(minute=0, second=0)
    if name == "hour":
        return border
    border = border.replace(hour=0)
    months = {"month": border.month, "quarter": (border.month - 1) // 3 * 3 + 1, "year": 1}
    if name in months:
        return border.replace(month=months[name], day=1)
    return border - timedelta(days=border.weekday()) if name == "week" else border


@settings(max_examples=40)
@given(st.integers(2 * 10**8, 3 * 10**9), st.integers(0, 8000 * 86400), st.sampled_from([1, 24, 100]))
@example(1_300_000_000, 0, 24)
@example(1_300_000_000, 99 * 3600, 100)
def test_the_shortest_periods_that_are_few_enough(first, span, most):
    times = np.array([first, first + span // 3, first + span])
    name, places, borders = summary.periods(times, most)
    stamps = [datetime(1970, 1, 1) + timedelta(seconds=int(time)) for time in times]
    expected = [start(stamps[0], name)]
    while expected[-1] <= stamps[-1]:
        expected.append(NEXT[name](expected[-1]))
    assert [read(border) for border in borders] == expected
    assert places.tolist() == [bisect.bisect(expected, stamp) - 1 for stamp in stamps]
    assert len(expected) - 1 <= most or name == "year"
    names = list(summary.PERIODS)
    if name != "hour":
        shorter = names[names.index(name) - 1]
        border, count = start(stamps[0], shorter), 0
        while border <= stamps[-1] and count <= most:
            border, count = NEXT[shorter](border), count + 1
        assert count > most


@pytest.mark.parametrize(("unit", "factor"), summary.SINCE_1970.items())
def test_times_count_seconds_or_less(unit, factor):
    seconds = np.array([1_291_191_960, 1_300_000_000, 1_323_435_000])
    found = summary.time_distribution(np.arange(3), seconds * factor + factor // 2)
    assert found["unit"] == unit
    assert found["first"] == "2010-12-01T08:26:00" and found["last"] == "2011-12-09T12:50:00"
    assert found["period"] == "week" and date.fromisoformat(found["edges"][0]).weekday() == 0


def test_other_times_are_numbers():
    found = summary.time_distribution(np.zeros(3, int), np.array([5, 5, 2004]))
    assert (found["unit"], found["first"], found["last"]) == (None, 5, 2004)
    assert found["ties"] == pytest.approx(2 / 3) and len(found["counts"]) == 100
    assert found["edges"][:2] == [5, 25] and (found["counts"][0], found["counts"][-1]) == (2, 1)


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([3.0] * 9, "values"),
        ([0.5, 1, 1.5, 5], "values"),
        (range(1, 101), "linear"),
        (np.linspace(-1, 1, 50), "linear"),
        ([*range(1, 40), 5000], "log"),
        ([-7, 0, *range(1, 40), 2.0**20], "log"),
        ([*np.linspace(0.001, 0.01, 20), 3], "log"),
    ],
)
def test_histograms_count_every_value_once(values, scale):
    values = np.array(values, float)
    bins = summary.value_distribution(values)["histogram"]
    assert bins["scale"] == scale
    shown = values[values > 0] if scale == "log" else values
    if scale == "values":
        expected = [(shown == edge).sum() for edge in bins["edges"]]
    else:
        pairs = zip(bins["edges"], bins["edges"][1:], strict=False)
        expected = [((low <= shown) & (shown < high)).sum() for low, high in pairs]
        expected[-1] += (shown == bins["edges"][-1]).sum()
    assert bins["counts"] == expected and sum(expected) == len(shown)


def test_bins_of_whole_numbers_are_fair():
    bins = summary.value_distribution(np.arange(0, 101.0))["histogram"]
    assert set(bins["counts"][:-1]) == {4}


def log_of(log):
    users, items, times = map(np.array, zip(*log, strict=True))
    order = np.empty(len(log), int)
    order[np.argsort(times, kind="stable")] = np.arange(len(log))
    return build(users, items, np.ones(len(log)), order, 5), np.sort(times)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 9)), min_size=3, max_size=40),
    st.integers(0, 99),
)
def test_a_split_in_plain_python(log, seed):
    whole, times = log_of(log)
    parts = splits.at_random(whole, (0.5, 0.2, 0.3), seed)
    found = summary.of_split(parts, times)
    json.dumps(found, allow_nan=False)
    listed = [list(zip(part.users, part.items, times[part.order], strict=True)) for part in parts]
    train, valid, test = listed
    seen, users, items = ({key(row) for row in train} for key in (lambda r: r[:2], lambda r: r[0], lambda r: r[1]))
    assert found["pairs_in_valid_and_test"] == len({row[:2] for row in valid} & {row[:2] for row in test})
    for name, part in zip(("train", "valid", "test"), listed, strict=True):
        sizes = [len(part), len({row[0] for row in part}), len({row[1] for row in part})]
        assert [found[name][key] for key in ("rows", "users", "items")] == sizes
        assert found[name]["share"] == pytest.approx(len(part) / len(log))
    for name, part in (("valid", valid), ("test", test)):
        assert found[name]["pair_in_train"] == sum(row[:2] in seen for row in part)
        assert found[name]["users_without_train"] == len({row[0] for row in part} - users)
        assert found[name]["items_without_train"] == len({row[1] for row in part} - items)
        if not part:
            assert found[name]["new_users"] is None and "before_own" not in found[name]
            continue
        last = {user: max(row[2] for row in train if row[0] == user) for user in users}
        expected = {
            "new_users": [row[0] not in users for row in part],
            "new_items": [row[1] not in items for row in part],
            "before_own": [row[2] < last.get(row[0], -1) for row in part],
            "at_own": [row[2] == last.get(row[0], -1) for row in part],
            "before_any": [any(row[2] < other[2] for other in train) for row in part],
            "train_after": [sum(row[2] < other[2] for other in train) / len(train) for row in part],
        }
        for key, shares in expected.items():
            assert found[name][key] == pytest.approx(sum(shares) / len(part)), key


def test_a_split_by_time_does_not_leak_and_a_random_one_does():
    rng = np.random.default_rng(0)
    whole, times = log_of([(n % 5, n, time) for n, time in enumerate(rng.permutation(200))])
    by_time = summary.of_split(splits.by_time(whole, times, (0.6, 0.2, 0.2)), times)["test"]
    assert by_time["before_own"] == by_time["before_any"] == by_time["train_after"] == 0
    at_random = summary.of_split(splits.at_random(whole, (0.6, 0.2, 0.2), 0), times)["test"]
    assert at_random["before_own"] > 0.8 and 0.3 < at_random["train_after"] < 0.7
    latest = summary.of_split(splits.leave_one_out(whole), times)["test"]
    assert latest["before_own"] == 0 < latest["before_any"]
    assert "before_own" not in summary.of_split(splits.leave_one_out(whole), None)["test"]
