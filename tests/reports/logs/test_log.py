"""The tables, the plots and the page of a data set's summary."""

import re
import sys

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data import splits, summary
from ancf_jax.data.interactions import build
from ancf_jax.reports.logs import log, log_plots


def report_of(rows, timed=True, split=splits.leave_one_out):
    """The report of a log of numbered users and items, without what cleaning would do."""
    frame = pd.DataFrame(rows, columns=["user", "item", "value", "time"])
    order = np.argsort(np.argsort(frame["time"], kind="stable"))
    parts = split(build(frame["user"], frame["item"], frame["value"], order, frame["user"].max() + 1))
    found = summary.of_log(frame, timed)
    return {
        "dataset": "shop <1>.csv",
        "split": "leave-one-out",
        "repeats": False,
        "read": found,
        "cleaned": found,
        "removed": [{"rule": "value below 1", "rows": 2}],
        "changed": [{"rule": "value clipped", "rows": 1}],
        "parts": summary.of_split(parts, np.sort(frame["time"]) if timed else None),
        "command": "python -m experiments.describe",
    }


@pytest.fixture(scope="module")
def shop():
    rng = np.random.default_rng(0)
    days = 15_000 * 86_400 + rng.integers(0, 200 * 86_400, 300)
    rows = zip(rng.integers(0, 20, 300), rng.zipf(1.5, 300) % 50, rng.integers(1, 400, 300), days, strict=True)
    return report_of(list(rows))


def cells(section):
    return {line[0]: line[1:] for line in section.rows}


def test_tables_show_the_figures(shop):
    by_title = {section.title: section for section in log.sections(shop)}
    assert list(by_title) == [
        *("Counts", "Cleaning", "Values", "Times", "Long tail of items", "Activity of users"),
        *("Drift of the cleaned log", "Split: leave-one-out"),
    ]
    for section in by_title.values():
        assert {len(line) for line in section.rows} == {len(section.headings)}
    assert cells(by_title["Counts"])["rows"] == ["300", "300"]
    assert cells(by_title["Cleaning"]) == {
        "removed: value below 1": ["2", "0.7%"],
        "changed: value clipped": ["1", "0.3%"],
        "kept": ["300", "100%"],
    }
    gini = f"{shop['cleaned']['long_tail']['gini']:.2f}"
    assert cells(by_title["Long tail of items"])["Gini index"] == [gini, gini]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", cells(by_title["Times"])["first"][0])
    split = cells(by_title["Split: leave-one-out"])
    assert split["rows"] == [str(shop["parts"][name]["rows"]) for name in ("train", "valid", "test")]
    assert split["rows earlier than a training row of the same user"] == ["-", "0%", "0%"]
    drift = by_title["Drift of the cleaned log"]
    assert len(drift.rows) == len(shop["cleaned"]["drift"]["rows"]) and drift.rows[0][2:] == ["100%", "100%", "-", "-"]


def test_short_logs_show_the_time_of_day():
    report = report_of([(n % 2, n, 1.0, 1_500_000_000 + n) for n in range(8)])
    times = next(section for section in log.sections(report) if section.title == "Times")
    assert cells(times)["last"] == ["2017-07-14 02:40"] * 2


def test_the_page_needs_no_other_file_and_escapes_names(shop):
    pictures = log_plots.plots(shop)
    page = log.page(shop, ["a <remark>"], pictures)
    assert "shop &lt;1&gt;.csv" in page and "<1>" not in page and "a &lt;remark&gt;" in page
    assert "<code>--split=time</code>" in page  # of a finding
    sources = re.findall(r'(?:src|href)="([^"]{26})', page)
    assert sources == ["data:image/svg+xml;base64,"] * sum(map(len, pictures.values())) and len(sources) == 6
    assert set(pictures) < {section.title for section in log.sections(shop)}


def test_the_page_without_plots(shop):
    page = log.page(shop, ["No plots"], {})
    assert "<img" not in page and "No plots" in page and "<h2>Long tail of items</h2>" in page


def test_plots_need_matplotlib(shop, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError):
        log_plots.plots(shop)


@pytest.mark.parametrize(
    ("rows", "timed", "plotted"),
    [
        ([(0, 0, 1.0, 0)], False, {"Long tail of items", "Activity of users"}),  # one of everything, nothing varies
        ([(0, n, 2.0, n) for n in range(5)], False, {"Long tail of items", "Activity of users"}),
        ([(n, 0, float(n), 9) for n in range(5)], True, {"Long tail of items", "Activity of users", "Values", "Times"}),
    ],
)
def test_logs_of_next_to_nothing(rows, timed, plotted):
    report = report_of(rows, timed)
    pictures = log_plots.plots(report)
    assert set(pictures) == plotted and all(b"<svg" in svg for each in pictures.values() for _, svg in each)
    assert ("no times" in log.sections(report)[0].note) == (not timed)
    log.page(report, [], pictures)
