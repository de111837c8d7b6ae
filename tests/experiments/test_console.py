"""Exit statuses, the last line of JSON, one-line errors, and output for terminals and files."""

import errno
import io
import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import flagsaver

from ancf_jax import config
from ancf_jax.settings import TrainConfig
from ancf_jax.types import InputError
from experiments import console


@pytest.fixture
def run(monkeypatch, capsys):
    """A function that runs a main with arguments: exit status, stdout, stderr."""
    monkeypatch.setattr(console.endings, "leave", console.endings.fail)  # which leaves this process to the next test

    def run(main, *args):
        monkeypatch.setattr(sys, "argv", ["script", *args])
        with pytest.raises(SystemExit) as stop:
            console.run(lambda: config.define_flags(TrainConfig), main)
        return stop.value.code, *capsys.readouterr()

    with flagsaver.flagsaver():
        yield run


def fail(error):
    """A main that raises."""

    def main():
        raise error

    return main


def test_last_line_is_json(run):
    def main():
        print("for people")
        return {"hr@10": np.float32(0.5), "mse": float("nan"), "users": jnp.int32(3), "per": [np.inf, (1, "a")]}

    status, out, err = run(main)
    assert status == 0 and err == ""
    assert json.loads(out.splitlines()[-1]) == {"hr@10": 0.5, "mse": None, "users": 3, "per": [None, [1, "a"]]}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--epochs=abc", "flag --epochs: 'abc' is not an integer or auto"),
        ("--epoch=3", "--epochs?"),
        ("--epochs=0", "flag --epochs: 0"),
        ("--flagfile=missing.flags", "missing.flags"),
        ("--novalidation=true", "--novalidation=true"),
        ("stray", "'stray'"),
        (
            "--metric=\udcf0\udc9f\udca5\udc9d",
            "'--metric=\U0001f95d' is no text in this locale, utf-8; set PYTHONUTF8=1",
        ),
    ],
)
def test_bad_flags(run, argument, message):
    status, out, err = run(lambda: config.to_json(config.from_flags(TrainConfig)), argument)
    assert status == 2 and out == ""
    assert err.startswith("error: ") and message in err and err.count("\n") == 1


def test_bad_input_is_one_line(run):
    assert run(fail(InputError("row 3:\n  no user"))) == (2, "", "error: row 3: no user\n")


def test_help(run):
    status, out, _ = run(fail(AssertionError), "--help")
    assert status == 0 and "--epochs" in out and "--epochs=auto" in out


def test_interrupt(run):
    status, _, err = run(fail(KeyboardInterrupt()))
    assert status == 130 and "resumes" in err and err.count("\n") == 1


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_is_lost_in_a_callback_or_becomes_another_error_ends_a_script(run, number, status):
    class Callback:
        def __del__(self):
            signal.raise_signal(number)

    def lost():
        Callback()
        time.sleep(5)

    def another():
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            raise InputError("the checkpoint cannot be read") from None

    for main in (lost, another):
        found, _, err = run(main)
        assert found == status and "rerunning the same command resumes" in err and err.count("\n") == 1


def chained(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "result.json"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        chained(RuntimeError("save failed"), OSError(errno.ENOSPC, "No space left on device")),
        ValueError("RESOURCE_EXHAUSTED: Failed to write 8 bytes:\nNo space left on device [os_error_code='28']"),
    ],
)
def test_full_disk(run, error):
    status, _, err = run(fail(error))
    assert status == 1 and err.startswith("error: the disk is full") and err.count("\n") == 1


def test_other_errors_keep_their_traceback(run, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script"])
    with pytest.raises(ZeroDivisionError):
        console.run(lambda: None, lambda: {"rate": 1 / 0})


def test_status_of_a_crash():
    code = "from experiments import console; console.run(lambda: None, lambda: {'rate': 1 / 0})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("Traceback") and "ZeroDivisionError" in done.stderr


def test_table_in_a_file(capsys):
    long = "a [long] title " * 20
    console.table(["model", "title", "ndcg@10"], [["ancf", long, np.float32(0.5)], ["mf", "b", None]], title="All")
    out = capsys.readouterr().out
    lines = [line.rstrip() for line in out.splitlines() if line.strip()]
    assert "\x1b" not in out and "…" not in out
    assert lines[0] == "All"
    assert [line.split()[0] for line in lines[-2:]] == ["ancf", "mf"]
    assert long.strip() in lines[-2] and lines[-2].endswith("0.5000") and lines[-1].endswith("     -")


def test_names_do_not_command_a_terminal(run, capsys):
    """A title that would clear the screen, and an id that would colour what follows."""
    console.table(["user", "\x1b[2Jtitle"], [["\x1b[31m7", "b\rc"]], title="of \x9b1m8")
    out = capsys.readouterr().out
    assert "\\x1b[31m7" in out and "b\\rc" in out and "of \\x9b1m8" in out
    assert not set(out) & {"\x1b", "\x9b", "\r"}
    status, _, err = run(fail(InputError("unknown user \x1b]0;x\x07")))
    assert status == 2 and err == "error: unknown user ]0;x\n"


def test_progress_in_a_file(capsys, monkeypatch):
    clock = iter([0, 1, 2, 3, 14, 15])
    monkeypatch.setattr(console.bars, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with console.progress("ancf", 10) as report:
        for epoch in range(6, 11):  # a run that resumed
            report({"epoch": epoch, "loss": 1 / epoch, "ndcg@10": jnp.float32(0.25), "best": None})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in lines] == ["6/10", "9/10", "10/10"]
    assert lines[0] == "ancf  epoch 6/10  loss 0.1667  ndcg@10 0.25  elapsed 0:00:01  left 0:00:04"
    assert lines[2].endswith("elapsed 0:00:15  left 0:00:00")


def test_progress_on_a_terminal(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress("[ancf]", 2) as report:
        report({"epoch": 1, "loss": 0.5})
        report({"epoch": 2, "loss": 0.25})
    assert "[ancf]" in terminal.getvalue() and "2/2" in terminal.getvalue() and "loss 0.25" in terminal.getvalue()
