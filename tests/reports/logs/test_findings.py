"""Each finding is there when its figure gives reason for it, and not otherwise."""

import copy

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data import splits, summary
from ancf_jax.data.interactions import build
from ancf_jax.reports.logs.findings import findings, number, share


def split_by_time(frame):
    order = np.argsort(np.argsort(frame["time"], kind="stable"))
    log = build(frame["user"], frame["item"], frame["value"], order, frame["user"].max() + 1)
    times = np.sort(frame["time"])
    return summary.of_split(splits.by_time(log, times, (0.6, 0.2, 0.2)), times)


@pytest.fixture(scope="module")
def quiet():
    """250 users with 20 of 40 items each, one a day, split by time: nothing is to be said of them."""
    rng = np.random.default_rng(0)
    users, items = np.repeat(np.arange(250), 20), np.concatenate([rng.permutation(40)[:20] for _ in range(250)])
    days = 15_000 + np.tile(np.arange(20), 250)
    frame = pd.DataFrame({"user": users, "item": items, "value": 1.0, "time": days * 86_400})
    log = summary.of_log(frame, timed=True)
    return {"split": "time", "repeats": False, "read": log, "cleaned": log, "parts": split_by_time(frame)}


def test_nothing_stands_out(quiet):
    assert findings(quiet) == []


@pytest.mark.parametrize(
    ("split", "path", "value", "told"),
    [
        ("time", "read/missing/user", 1245, "24.9% of the rows (1,245) have no user."),
        ("time", "cleaned/values/negative", 3, "Negative values after cleaning: 3."),
        ("time", "read/values/negative", 3, "Negative values as read: 3. They were taken for returns"),
        ("time", "cleaned/values/zero", 3, "Values of 0 after cleaning: 3."),
        ("time", "cleaned/values/max", 80.0, "80, is 80 times the 99% quantile"),
        ("time", "read/repeats/rows", 0.33, "33.0% of the rows as read repeat"),
        ("time", "cleaned/items", 1, "Users: 250, items: 1."),
        (
            "leave-one-out",
            "cleaned/activity/fewer_than_3",
            0.07,
            "7.0% of the users have fewer than 3 interactions (0%",
        ),
        ("random", "cleaned/activity/once", 0.07, "7.0% of the users have one interaction"),
        ("leave-one-out", "cleaned/times", None, "The log has no times: --split=leave-one-out takes the order"),
        ("time", "cleaned/long_tail/fewer_than_5", 0.6, "60.0% of the items have fewer than 5"),
        ("time", "cleaned/times/ties", 0.2, "20.0% of the rows have the time of another row"),
        ("time", "cleaned/times/last", "2011-01-26T00:00:00", "All times are equal"),
        (
            "time",
            "cleaned/drift/new_items",
            [1.0, None, 0.1, 0.2],
            "In the median day, 15.0% of the interactions are on",
        ),
        (
            "time",
            "cleaned/drift/new_users",
            [1.0, None, 0.1, 0.9],
            "In the median day, 50.0% of the interactions are of",
        ),
        ("time", "parts/valid/rows", 0, "The valid part is empty: train with --novalidation."),
        ("time", "parts/test/rows", 0, "The test part is empty"),
        ("time", "parts/test/pair_in_train", 4, "4 rows of test have a user and item that are in train too"),
        ("time", "parts/test/users", 12, "Users tested: 12."),
        ("time", "parts/test/new_users", 0.5, "50.0% of the test interactions are of users without a training row"),
        ("time", "parts/test/new_items", 0.5, "50.0% of the test interactions are on items without a training row"),
        ("random", "parts/test/before_own", 0.9, "--split=random lets models learn from the future"),
        ("leave-one-out", "parts/test/before_any", 0.9, "--split=time cuts all users at one moment"),
        ("time", "parts/test/at_own", 0.2, "at the time of the user's last training interaction"),
    ],
)
def test_a_figure_and_what_is_said_of_it(quiet, split, path, value, told):
    report = copy.deepcopy(quiet) | {"split": split}
    report["cleaned"] = copy.deepcopy(report["cleaned"])  # which deepcopy knows to be that of 'read'
    *keys, last = path.split("/")
    part = report
    for key in keys:
        part = part[key]
    part[last] = value
    if path.endswith("times/last"):
        part["first"] = value
    (sentence,) = findings(report)
    assert told in sentence


def test_repeats_that_are_kept(quiet):
    report = copy.deepcopy(quiet) | {"repeats": True}
    report["read"]["repeats"]["rows"], report["parts"]["test"]["pair_in_train"] = 0.33, 4
    (sentence,) = findings(report)
    assert sentence.endswith("All of them stay, and what a user has is recommended and tested again.")


def test_new_items_are_the_point_of_a_split_by_items(quiet):
    report = copy.deepcopy(quiet) | {"split": "cold-items"}
    report["parts"]["test"]["new_items"] = 1.0
    assert findings(report) == []


def test_a_few_popular_items_and_a_moving_taste(quiet):
    report = copy.deepcopy(quiet)
    report["cleaned"] |= {"items": 1000}
    report["cleaned"]["long_tail"]["top"]["1%"] = 0.4
    days = len(report["cleaned"]["drift"]["rows"])
    report["cleaned"]["drift"] |= {"distance": [None] + [0.5] * (days - 1), "by_chance": [None] + [0.2] * (days - 1)}
    popular, moving = findings(report)
    assert popular.startswith("1% of the items have 40.0%") and "from day to day" in moving and "0.30" in moving


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0%"), (1, "100%"), (0.0001, "<0.1%"), (0.9999, ">99.9%"), (0.256, "25.6%"), (None, "-")],
)
def test_shares(value, text):
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (-80995.0, "-80,995"), (0.25, "0.25"), (3.14159, "3.14"), (1234.5, "1,234"), (2e18, "2e+18")],
)
def test_numbers(value, text):
    assert number(value) == text
