"""The tables and the page of benchmarks, on results written by hand."""

import json

import pytest

from ancf_jax.reports import speed

ALONE = {
    "unit": "samples",
    "rate": 483024.0,
    "rate_low": 9400.0,
    "rate_high": 501000.0,
    "compile_seconds": 2.04,
    "peak_memory": 1_500_000_000,
    "device_memory": None,
    "flops_per_second": 3e9,
    "machine_flops_per_second": 1.2e11,
    "bytes_per_second": 8e9,
    "machine_bytes_per_second": 2e10,
    "quality": {},
    "peer": None,
    "command": "python -m experiments.benchmark",
    "hardware": "cpu x 1",
    "python": "3.11",
    "versions": {"jax": "0.10"},
    "commit": "abc",
    "model": "mf",
    "data": "ml-1m",
    "seconds": [3.0, 1.0, 1.5],
    "work": {"what": "training", "steps": 0, "config": {"factors": 8}},
}
PEER = {"name": "other", "version": "1.2", "rate": 48.3, "peak_memory": None, "warmed_up": False}
COMPARED = ALONE | {"ratio": 2.5, "ratio_low": 2.25, "ratio_high": 3.0, "peer": PEER, "device_memory": 7_000_000}
COMPARED |= {"quality": {"ours": 0.25, "peer": 0.125}, "command": "python -m experiments.benchmark --against=other"}
RESULTS = {"first": ALONE, "second": COMPARED}


def test_the_shares_of_operations():
    traced = ALONE | {"operations": {"total": 2.0, "gathers": 1.0, "copies": 0.5}}
    title, headings, rows = speed.tables({"first": traced, "second": ALONE})[-1]
    assert title == "where the time goes" and headings == ["benchmark", "gathers", "copies"]
    assert rows == [["first", "50%", "25%"]]


def test_an_epoch_and_a_full_ranking_of_one_model():
    work = ALONE["work"]
    ranking = ALONE | {"seconds": [0.25], "work": work | {"what": "ranking"}, "peak_memory": 2_000_000_000}
    wider = ALONE | {"work": work | {"config": {"factors": 16}}}  # whose ranking was not measured
    (_, _, rates), (title, headings, rows) = speed.tables({"a": ALONE, "b": wider, "c": ranking})
    assert len(rates) == 3
    assert title == "an epoch of training and a full ranking"
    assert headings == ["model", "data", "epoch s", "ranking s", "memory MB"]
    assert rows == [["mf", "ml-1m", "1.50", "0.25", "2,000"]]
    short = {name: each | {"work": each["work"] | {"steps": 5}} for name, each in (("a", ALONE), ("c", ranking))}
    assert len(speed.tables(short)) == 1  # no whole epoch


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.14159, "3.14"),
        (999.4, "999"),
        (999.6, "1k"),
        (483024, "483k"),
        (9.64e10, "96.4G"),
        (2e15, "2e+03T"),
    ],
)
def test_three_digits(value, text):
    assert speed.short(value) == text


def test_tables():
    (_, headings, rates), (_, other_headings, compared) = speed.tables(RESULTS)
    first = {heading: cell.strip() for heading, cell in zip(headings, rates[0], strict=True)}
    assert first == {
        "benchmark": "first",
        "rate": "483k",
        "unit": "samples/s",
        "range": "9.4k to 501k",
        "compile s": "2.0",
        "memory MB": "1,500",
        "FLOP/s": "3G (2%)",
        "bytes/s": "8G (40%)",
    }
    assert rates[1][headings.index("memory MB")] == "    7"  # the device's, aligned under 1,500
    (row,) = compared
    assert dict(zip(other_headings, row, strict=True)) == {
        "benchmark": "second",
        "against": "other 1.2, cold",
        "rate there": "48.3 samples/s",
        "memory MB there": "-",
        "times as long": "2.50",
        "range": "2.25 to 3.00",
        "ndcg@10": "0.2500",
        "there": "0.1250",
    }


def test_without_a_comparison_there_is_one_table():
    assert [title for title, _, _ in speed.tables({"first": ALONE})] == ["speed"]


def test_the_page_says_where_and_how():
    page = speed.markdown(json.loads(json.dumps(RESULTS)))
    assert page.count("cpu x 1; Python 3.11, jax 0.10; commit abc:") == 1
    assert "- `python -m experiments.benchmark --against=other`: second" in page
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert len({len(line) for line in rows[:4]}) == 1 and "lower bound" in page


def test_the_plot_shows_each_ratio():
    assert b"<svg" in speed.plot(RESULTS)
