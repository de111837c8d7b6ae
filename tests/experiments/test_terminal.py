"""What people see on terminals of 80 and 100 columns, and what files get."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from types import SimpleNamespace

import pytest
from absl.testing import flagsaver
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from experiments import console
from experiments.console import bars, tables

RECORD = {"epoch": 1, "loss": 0.123456, "hr@10": 0.25, "ndcg@10": 0.375, "seconds": 1.5}
TABLES = """
from experiments import console
metrics = ["rmse", "±", "mae", "±", "ndcg@10", "±", "gndcg@10", "±", "hr@10", "±"]
models = ["ancf-ordered", "userknn_ratings", "popularity"]
rows = [[model, *["0.1234"] * 10, "20", "1,234.5", "mf; bpr and below"] for model in models]
console.table(["model", *metrics, "best epoch", "train s", "ahead of"], rows, "A title" + " and more" * 20)
films = [[1, 258, "The Englishman Who Went Up a Hill", 0.03, "Monty Python's Life of Brian (55%)" + ", Alien (5%)" * 9]]
console.table(["rank", "item", "title", "score", "because of"], films)
console.say("- a sentence" + " of many words" * 9)
"""


def on_terminal(columns, code):
    """What a program prints on a terminal, in lines without colours and trailing spaces."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"} | {"TERM": "xterm"}
    program = [sys.executable, "-c", code]
    with subprocess.Popen(program, stdin=theirs, stdout=theirs, stderr=theirs, env=environment):
        os.close(theirs)
        out = b""
        with contextlib.suppress(OSError):  # as it ends
            while piece := os.read(ours, 65536):
                out += piece
    os.close(ours)
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.decode()).splitlines()]


@pytest.fixture
def terminal(monkeypatch):
    """A function that makes stdout or stderr a terminal of so many columns, and returns it."""

    def make(name, columns):
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, name, stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(columns))
        return stream

    return make


def frames(stream):
    """The bars as they were drawn one after the other, without colours."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-ln-z]", "\r", re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()))
    return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


@pytest.mark.parametrize("columns", [80, 100])
def test_tables_fit_a_terminal(columns):
    lines = on_terminal(columns, TABLES)
    assert max(map(cell_len, lines)) <= columns
    words = " ".join(lines).split()
    for whole in (
        "ancf-ordered",
        "userknn_ratings",
        "gndcg@10",
        "1,234.5",
        "Englishman",
        "Python's",
        "(55%),",
        "0.0300",
    ):
        assert whole in words
    assert words.count("0.1234") == 30 and words.count("±") == 5  # nothing is left out, or there twice
    assert words.count("ancf-ordered") == words.count("model") > 1  # the first column stands in each table
    assert words.count("many") == 9 and "…" not in words


def test_a_file_gets_tables_as_wide_as_they_are(capsys):
    exec(TABLES)
    lines = capsys.readouterr().out.splitlines()
    (heading,) = (line for line in lines if line.startswith("model"))
    assert len(heading.split()) == 17 and "\x1b" not in "".join(lines)
    assert not [line for line in lines if line != line.rstrip()]
    assert len(lines[-1]) > 120


texts = st.lists(st.text("ab1 ", max_size=20), min_size=3, max_size=3)


@given(st.lists(texts, min_size=1, max_size=7), st.integers(10, 120))
def test_columns_are_never_narrower_than_their_words(columns, width):
    headings, cells = [column[0] for column in columns], list(zip(*(column[1:] for column in columns), strict=True))
    found = tables.fit(headings, cells, width)
    assert [place for table in found for place, _ in table[1:]] == list(range(1, len(columns)))
    for table in found:
        assert table[0][0] == 0
        assert sum(wide for _, wide in table) + tables.GAP * (len(table) - 1) <= width or len(table) <= 2
        for place, wide in table:
            assert wide >= max((len(word) for text in columns[place] for word in text.split()), default=0)


def test_what_belongs_together_stays_together():
    headings = ["model", *["ndcg@10", "±"] * 9]
    found = tables.fit(headings, [["mf", *["0.1234"] * 18]], 40)
    assert len(found) > 2
    assert all([headings[place] for place, _ in table][1:] == ["ndcg@10", "±"] * (len(table) // 2) for table in found)


def test_only_text_is_wrapped():
    cells = [["0.1 to 0.2", "a b c d e f g h i j k l m n o p"]]
    (((_, first), (_, second)),) = tables.fit(["interval", "text"], cells, 28)
    assert (first, second) == (10, tables.TEXT)


@pytest.mark.parametrize(("value", "right"), [("1,234", True), ("-0.5", True), ("6.7k", True), ("c1", False)])
def test_numbers_are_on_the_right(value, right, capsys):
    console.table(["name", "a long heading"], [["x", value]])
    line = capsys.readouterr().out.splitlines()[-2]
    assert line == (f"x     {value:>14}" if right else f"x     {value}")


def run(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
        console.run(lambda: None, lambda: console.say("for people") or {"hr@10": 0.5})
    assert stop.value.code == 0


def test_json_is_for_programs(terminal, monkeypatch, capsys):
    run([], monkeypatch)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"hr@10": 0.5}
    shown = terminal("stdout", 80)
    run([], monkeypatch)
    assert shown.getvalue() == "for people\n"
    run(["--json"], monkeypatch)
    assert json.loads(shown.getvalue().splitlines()[-1]) == {"hr@10": 0.5}


def test_a_reader_that_has_seen_enough():
    code = "from experiments import console; console.run(lambda: None, lambda: print('a\\n' * 9**6) or {})"
    first = subprocess.run(f'{sys.executable} -c "{code}" | head -n 1', shell=True, capture_output=True, text=True)
    assert (first.stdout, first.stderr) == ("a\n", "")


@pytest.mark.parametrize("columns", [80, 100])
def test_bars_keep_their_times(terminal, columns):
    shown = terminal("stderr", columns)
    with console.progress("userknn_ratings seed 0", 200) as report:
        for epoch in (1, 199):
            report(RECORD | {"epoch": epoch})
    lines = frames(shown)
    assert max(map(cell_len, lines)) <= columns
    assert all(re.search(r" \d+/200 +\d:\d\d:\d\d left (\d|-):..:..", line) for line in lines), lines
    numbers = lines[-1].split("left")[1].split(None, 1)[1].strip()
    assert numbers == ("ndcg@10 0.375" if columns == 80 else "loss 0.1235  ndcg@10 0.375")


def test_a_long_name_gives_way_to_the_times(terminal):
    shown = terminal("stderr", 80)
    with console.progress("somebodys_package.recommenders.attentive seed 0 of many", 20) as report:
        report(RECORD)
    assert re.search(r"^somebodys_package.*… .* 1/20 \d:\d\d:\d\d left \d:\d\d:\d\d", frames(shown)[-1])


def test_bars_of_several_runs(terminal, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now[0]))
    shown = terminal("stderr", 80)
    with console.progress("mf seed 0", 4, console.Series(3, 6, started=40.0)) as report:
        now[0] = 110.0
        report(RECORD | {"epoch": 2})
        time.sleep(0.3)  # bars are drawn ten times a second
    lines = [line for line in frames(shown) if "run 3 of 6" in line]
    assert re.search(r"2/6 +0:01:00 left 0:02:00", lines[0])  # two took a minute
    assert re.search(r"2/6 +0:01:10 left 0:01:50", lines[-1])  # 3 will have taken 90 seconds
    assert "mf seed 0" in frames(shown)[-1]  # what stays


def test_a_run_that_resumed_is_judged_by_its_own_epochs(terminal, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: now[0]))
    shown = terminal("stderr", 80)
    with console.progress("mf", 100) as report:
        for epoch in (91, 92):
            now[0] += 10
            report(RECORD | {"epoch": epoch})
    assert re.search(r"92/100 +0:00:20 left 0:01:20", frames(shown)[-1])


def test_what_comes_before_the_first_epoch_is_no_part_of_the_others(capsys, monkeypatch):
    """A start of 100 seconds, and epochs of 1 second: of the last of two runs, all that is left is its own."""
    clock = iter([30.0, 130.0, 145.0])
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.progress("ancf", 40, console.Series(2, 2, started=0.0)) as report:
        for epoch in (0, 15):
            report({"epoch": epoch})
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("elapsed 0:01:40  left -:--:--  run 2 of 2  left overall -:--:--")
    assert last.endswith("elapsed 0:01:55  left 0:00:25  run 2 of 2  left overall 0:00:25")


def test_lines_of_several_runs(capsys, monkeypatch):
    clock = iter([10.0, 20.0])
    monkeypatch.setattr(bars, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.progress("mf", 2, console.Series(2, 4, started=0.0)) as report:
        report({"epoch": 1, "loss": 0.5})
    said = "elapsed 0:00:10  left 0:00:10  run 2 of 4  left overall 0:00:40"
    assert capsys.readouterr().err == f"mf  epoch 1/2  loss 0.5  {said}\n"


def test_what_takes_a_while_is_said_on_terminals_alone(terminal, capsys):
    console.status("reading ...")
    assert capsys.readouterr().err == ""
    shown = terminal("stderr", 80)
    console.status("reading ...")
    assert shown.getvalue() == "reading ...\n"
