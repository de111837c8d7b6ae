"""The comparison's rows, tests and pages, on results written by hand."""

import numpy as np
import pytest
from scipy import stats

from ancf_jax import report

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
    return report.summarise(entries, ("ndcg@10", "hr@10"))


def test_best_first_with_student_intervals(rows):
    assert [row["model"] for row in rows] == ["best <b>", "same", "worse"]
    means = [BASE.mean() + 0.01 * seed for seed in range(3)]
    half = stats.t.ppf(0.975, 2) * np.std(means, ddof=1) / np.sqrt(3)
    assert rows[1]["ndcg@10 ±"] == pytest.approx(half, rel=1e-6)


def test_only_significant_differences_are_named(rows):
    assert rows[0]["ahead_of"] == ["worse"] and rows[1]["ahead_of"] == ["worse"] and rows[2]["ahead_of"] == []
    assert rows[0]["p"]["same"] > 0.05 > rows[0]["p"]["worse"]


def test_one_seed_has_the_bootstrap_interval_over_users():
    row = report.summarise({"one": [result(0.0, 0)]}, ("ndcg@10",))[0]
    normal = 1.96 * BASE.std() / np.sqrt(len(BASE))
    assert row["ndcg@10 ±"] == pytest.approx(normal, rel=0.1) and row["ahead_of"] == []


def test_the_lowest_error_is_first_and_missing_metrics_are_dashes():
    entries = {"high": [result(0.0, 0)], "low": [result(-0.1, 0)], "none": [result(-0.2, 0)]}
    for results in entries.values():
        results[0]["rmse"], results[0]["users"]["rmse"] = results[0]["ndcg@10"], results[0]["users"]["ndcg@10"]
    assert [row["model"] for row in report.summarise(entries, ("rmse",))] == ["none", "low", "high"]
    del entries["none"][0]["rmse"]
    rows = report.summarise(entries, ("ndcg@10", "rmse"))
    table = report.cells(rows, ("ndcg@10", "rmse"))[1]
    assert [line[0] for line in table] == ["high", "low", "none"] and table[2][3:5] == ["-", "-"] != table[1][3:5]
    assert rows[2]["rmse"] is None


def test_markdown_is_aligned(rows):
    lines = [line for line in report.markdown("T", rows, ("ndcg@10", "hr@10"), ["note"]).splitlines() if "|" in line]
    assert len(lines) == 5 and len({len(line) for line in lines}) == 1
    assert "all below" not in lines[2] and "worse" in lines[2] and "all below" in lines[3]


def test_the_page_needs_no_other_file_and_escapes_names(rows):
    picture = report.plot(rows, ("ndcg@10", "hr@10"), {"same": [(1.0, 0.2), (2.0, 0.3)]}, "ndcg@10")
    assert b"<svg" in picture
    page = report.page("T", rows, ("ndcg@10", "hr@10"), ["note"], [picture])
    assert "best &lt;b&gt;" in page and "<b>" not in page and 'src="http' not in page and "note" in page
