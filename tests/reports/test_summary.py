"""The comparison's rows, tests and tables, on results written by hand."""

import numpy as np
import pytest
from scipy import stats

from ancf_jax.reports import summary
from ancf_jax.reports.page import Section

RNG = np.random.default_rng(0)
BASE = RNG.random(300)


def result(shift, seed):
    values = np.clip(BASE + shift + 0.01 * seed, 0, 2)
    metrics = {"ndcg@10": float(values.mean()), "hr@10": float(values.mean() / 2)}
    return metrics | {"best_epoch": 3, "training_seconds": 2.0, "users": {"ndcg@10": values, "hr@10": values / 2}}


@pytest.fixture(scope="module")
def rows():
    entries = {
        "worse": [result(-0.2, seed) for seed in range(3)],
        "same": [result(0.0, seed) for seed in range(3)],
        "best <b>": [result(0.0001, seed) for seed in range(3)],
    }
    entries["same"][0]["users"]["ndcg@10"] = RNG.permutation(entries["same"][0]["users"]["ndcg@10"])
    return summary.summarise(entries, ("ndcg@10", "hr@10"))


def test_best_first_with_intervals_over_seeds_and_users(rows):
    assert [row["model"] for row in rows] == ["best <b>", "same", "worse"]
    seeds, users = 0.01**2 / 3, BASE.var(ddof=1) / len(BASE)
    freedom = (seeds + users) ** 2 / (seeds**2 / 2 + users**2 / (len(BASE) - 1))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(seeds + users)
    assert rows[0]["ndcg@10 ±"] == pytest.approx(half, rel=1e-3)
    assert half > 1.04 * stats.t.ppf(0.975, 299) * np.sqrt(users)


def test_only_significant_differences_are_named(rows):
    assert rows[0]["ahead_of"] == ["worse"] and rows[1]["ahead_of"] == ["worse"] and rows[2]["ahead_of"] == []
    assert rows[0]["p"]["same"] > 0.05 > rows[0]["p"]["worse"]


def test_one_seed_has_an_interval_over_users_alone_and_the_notes_say_so():
    row = summary.summarise({"one": [result(0.0, 0)]}, ("ndcg@10",))[0]
    half = stats.t.ppf(0.975, len(BASE) - 1) * stats.sem(BASE)
    assert row["ndcg@10 ±"] == pytest.approx(half) and row["ahead_of"] == []
    head = dict.fromkeys(("dataset", "split", "protocol", "hardware", "python", "commit", "command"), "x")
    head |= {"users_tested": 300, "versions": {}}
    one, three = ("\n".join(summary.notes(head, seeds, ("ndcg@10",))) for seeds in (1, 3))
    assert "over users alone, which tells nothing of other seeds" in one and "t-test over users alone, two" in one
    assert "95% interval over seeds and users" in three and "t-test over seeds and users, two" in three


def test_the_lowest_error_is_first_and_metrics_of_some_have_a_table():
    entries = {"high": [result(0.0, 0)], "low": [result(-0.1, 0)], "none": [result(-0.2, 0)]}
    for results in entries.values():
        results[0]["rmse"], results[0]["users"]["rmse"] = results[0]["ndcg@10"], results[0]["users"]["ndcg@10"]
    assert [row["model"] for row in summary.summarise(entries, ("rmse",))] == ["none", "low", "high"]
    del entries["none"][0]["rmse"]
    rows = summary.summarise(entries, ("ndcg@10", "rmse"))
    all_models, errors = summary.tables(rows, ("ndcg@10", "rmse"))
    assert [line[0] for line in all_models.rows] == ["high", "low", "none"] and "rmse" not in all_models.headings
    assert errors.title == "Test rmse" and errors.headings == ["model", "rmse", "±"]
    assert [line[:2] for line in errors.rows] == [[row["model"], f"{row['rmse']:.4f}"] for row in (rows[1], rows[0])]
    assert rows[2]["rmse"] is None


def test_metrics_that_all_models_have_share_a_table(rows):
    (section,) = summary.tables(rows, ("ndcg@10", "hr@10"))
    assert section == Section("Test metrics", *summary.cells(rows, ("ndcg@10", "hr@10")))


def test_a_metric_that_one_seed_lacks_is_missing():
    results = [result(0.0, 0), result(0.0, 1)]
    results[0]["coverage@10"] = results[0]["gndcg@10"] = 0.5
    row = summary.summarise({"one": results}, ("ndcg@10", "gndcg@10"))[0]
    assert row["gndcg@10"] is row["gndcg@10 ±"] is row["coverage@10"] is None and row["ndcg@10 ±"] > 0


def test_beyond_accuracy_is_known_or_left_out(rows):
    assert summary.beyond(rows, "ndcg@10") == []
    known = [row | {"coverage@10": 0.25, "popularity@10": 1234.5} for row in rows[:1]]
    (section,) = summary.beyond([*known, *rows[1:]], "ndcg@10")
    assert [len(line) for line in (section.headings, *section.rows)] == [6] * 4
    assert section.rows[0][2:] == ["1,234.5", "-", "0.250", "-"] and section.rows[1][2:] == ["-"] * 4


@pytest.mark.parametrize(
    ("ahead_of", "text"),
    [
        ([], "-"),
        (["a", "b", "c", "d", "e"], "all below"),
        (["c", "d", "e"], "c and below"),
        (["a", "c", "d", "e"], "a; c and below"),
        (["d", "e"], "d, e"),
        (["a", "b", "c"], "a, b, c"),
    ],
)
def test_a_long_list_of_models_is_shortened(ahead_of, text):
    names = ["best", "a", "b", "c", "d", "e"]
    rows = [
        {"model": name, "hr@10": 0.5, "hr@10 ±": 0.1, "epochs": 1.0, "training seconds": 1.0, "ahead_of": []}
        for name in names
    ]
    rows[0]["ahead_of"] = ahead_of
    assert summary.cells(rows, ("hr@10",))[1][0][-1] == text


def test_trials_are_a_column_where_any_are_known(rows):
    assert "trials" not in summary.cells(rows, ("hr@10",))[0] and not [n for n in summary._trials(rows) if n]
    headings, table = summary.cells([rows[0] | {"trials": 1234}, rows[1], rows[2] | {"trials": 0}], ("hr@10",))
    place = headings.index("trials")
    assert [row[place] for row in table] == ["1,234", "-", "0"] and headings[place - 1] == "train s"
