"""Description of data by command line: what is printed and written, and what is refused."""

import json
import sys

import numpy as np
import pytest

from ancf_jax.data.read import sources
from experiments import describe

LOG = """user,item,value,time
al,x,2,2020-01-01
al,y,1,2020-01-02
al,x,3,2020-01-05
al,z,-1,2020-01-06
bo,x,1,2020-01-03
bo,y,4,2020-01-04
bo,w,1,2020-01-07
,x,1,2020-01-02
cy,w,1,2020-01-03
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("describe") / "log.csv"
    path.write_text(LOG)
    return [f"--dataset={path}", "--value_column=value", "--time_column=time"]


@pytest.fixture(scope="module")
def described(script, log, tmp_path_factory):
    """The workdir of a description, and what was printed."""
    folder = tmp_path_factory.mktemp("described")
    status, out, err = script(describe, *log, f"--workdir={folder}")
    assert status == 0 and err == ""
    return folder, out


@pytest.fixture
def no_plots(monkeypatch):
    """Plots take longer than all else."""
    monkeypatch.setattr(describe.report_plots, "plots", lambda report: {})


def test_terminal_page_and_json(described):
    folder, out = described
    last = json.loads(out.splitlines()[-1])
    assert (last["rows_read"], last["rows"], last["users"], last["items"]) == (9, 6, 3, 3)
    assert (last["train"], last["valid"], last["test"]) == (4, 1, 1) and last["repeats"] == pytest.approx(1 / 7)
    for words in (
        "11.1% of the rows (1) have no user",
        "Negative values as read: 1. They were taken for returns",
        "leave-one-out tests none of them",
    ):
        assert words in " ".join(out.split())
    report = json.loads((folder / "describe.json").read_text())
    assert report["read"]["rows"] == 9 and sum(rule["rows"] for rule in report["removed"]) == 3
    assert len(report["findings"]) == last["findings"]
    assert report["read"]["times"]["first"] == "2020-01-01T00:00:00"
    page = (folder / "describe.html").read_text()
    assert "data:image/svg+xml;base64," in page and "Drift of the cleaned log" in page


def test_numbers_are_aligned_on_the_right(described):
    lines = described[1].splitlines()
    start = lines.index("Counts")
    ends = {len(line.rstrip()) for line in lines[start + 2 : start + 12] if line.strip() and "─" not in line}
    assert len(ends) == 1


def test_a_random_split_of_dated_rows_is_flagged(script, tmp_path, no_plots):
    rng = np.random.default_rng(0)
    rows = [f"{user},{item},{time}\n" for user in range(9) for time, item in enumerate(rng.permutation(30))]
    (tmp_path / "log.csv").write_text("user,item,when\n" + "".join(rows))
    options = [f"--dataset={tmp_path}/log.csv", "--time_column=when", f"--workdir={tmp_path}/out"]
    _, out, _ = script(describe, *options, "--split=random")
    assert "--split=random lets models learn from the future" in " ".join(out.split())
    assert json.loads(out.splitlines()[-1])["test_before_own_train"] > 0.8
    _, out, _ = script(describe, *options, "--split=time")
    assert json.loads(out.splitlines()[-1])["test_before_any_train"] == 0


def test_the_file_is_read_once(script, log, tmp_path, monkeypatch, no_plots):
    read = []
    table = sources.read_table
    monkeypatch.setattr(sources, "read_table", lambda *arguments: read.append(arguments) or table(*arguments))
    assert script(describe, *log, f"--workdir={tmp_path}/out")[0] == 0
    assert len(read) == 1


def test_what_was_inferred_is_said(script, tmp_path, no_plots):
    rows = "".join(f"{n % 3};{n % 4};{n + 1}.12.2010\n" for n in range(20))
    (tmp_path / "log.csv").write_text("user;item;t\n" + rows)
    flags = (f"--dataset={tmp_path}/log.csv", "--time_column=t", f"--workdir={tmp_path}/out")
    status, out, _ = script(describe, *flags)
    said = ["log.csv: columns are separated by semicolons", "column 't': dates written as %d.%m.%Y, without a zone"]
    assert status == 0 and all(sentence in out for sentence in said)
    report = json.loads((tmp_path / "out" / "describe.json").read_text())
    assert len(report["inferred"]) == 2 and report["read"]["times"]["unit"] == "seconds"
    assert said[0] in (tmp_path / "out" / "describe.html").read_text()


def test_times_that_count_rows_are_times(script, tmp_path, no_plots):
    rows = "".join(f"{n % 3},{n},{n}\n" for n in range(30))
    (tmp_path / "log.csv").write_text(f"user,item,time\n{rows}")
    options = [f"--dataset={tmp_path}/log.csv", f"--workdir={tmp_path}/out"]
    _, out, _ = script(describe, *options, "--time_column=time")
    assert "The log has no times" not in out and json.loads(out.splitlines()[-1])["test_before_any_train"] is not None
    _, out, _ = script(describe, *options)
    assert "The log has no times" in out and json.loads(out.splitlines()[-1])["test_before_any_train"] is None


def test_a_log_without_times_and_matplotlib(script, log, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, out, _ = script(describe, log[0], f"--workdir={tmp_path}/out")
    assert status == 0 and "No plots: install" in out and "The log has no times" in out and "Drift" not in out
    page = (tmp_path / "out" / "describe.html").read_text()
    assert "<img" not in page and "No plots: install" in page


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--time_column=tine", "did you mean time"),
        ("--split=ncf", "ncf-ml-1m"),
        ("--stream", "--stream"),
        ("--min_value=100", "no row is left"),
    ],
)
def test_bad_input_is_one_line(script, log, tmp_path, flag, told):
    status, _, err = script(describe, *log, f"--workdir={tmp_path}/out", flag)
    assert status == 2 and told in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()
