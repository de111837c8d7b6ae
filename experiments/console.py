"""What people see: exit statuses, one-line errors, progress bars, tables, and the JSON line that ends every script.

Results go to stdout and progress to stderr. Colours and live bars appear on a terminal only.
"""

import errno
import json
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from logging import WARNING
from pathlib import Path
from typing import Any, NoReturn

from absl import flags, logging
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ancf_jax import config
from ancf_jax.settings import MeshConfig
from ancf_jax.types import InputError

LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal


def run(main: Callable[[], Mapping[str, Any]]) -> NoReturn:
    """Parses the flags, runs a script's main, prints its results as the last line, and exits.

    Exit status: 0 on success, 2 on bad flags or bad input, 130 when interrupted, 1 on any other failure.

    Args:
        main: the script; returns its results, which are printed as one JSON object.
    """
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            _print_help()
            sys.exit(0)
        _parse(sys.argv)
        if not _speaks():
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # gloo writes there past sys.stdout
        print(dumps(main()), flush=True)
    except InputError as error:
        _fail(str(error), 2)
    except FloatingPointError as error:
        _fail(str(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted; rerunning the same command resumes", 130)
    except Exception as error:
        if full := _disk_full(error):
            _fail(f"the disk is full ({full}); free some space and rerun the same command to resume", 1)
        raise
    sys.exit(0)


def dumps(result: Mapping[str, Any]) -> str:
    """The results as one line of strict JSON: NumPy and JAX values as plain numbers, NaN and infinity as null."""
    return json.dumps(_plain(result), allow_nan=False)


@contextmanager
def progress(label: str, epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A progress bar over epochs, on stderr; without a terminal a plain line now and then.

    Args:
        label: what runs, such as the model's name.
        epochs: how many epochs there are in all.

    Yields:
        report(record): to be called after each epoch with its line of metrics.jsonl; record['epoch'] counts from 1, and
        every other number in it is shown.
    """
    if not _speaks():
        yield lambda record: None
        return
    show = _bar if sys.stderr.isatty() else _lines
    with show(label, epochs) as report:
        yield report


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Prints an aligned table to stdout; never truncated, and as wide as it needs where there is no terminal.

    Args:
        columns: the headings.
        rows: one sequence of cells a row; floats show four decimals, None and NaN a dash.
        title: a line above the table.
    """
    rows = [list(row) for row in rows]
    grid = Table(box=box.SIMPLE_HEAD)
    for place, heading in enumerate(columns):
        numeric = all(row[place] is None or isinstance(_plain(row[place]), int | float) for row in rows)
        grid.add_column(Text(heading), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(_cell(value)) for value in row))
    terminal = sys.stdout.isatty()
    if title:
        print(f"\n{title}")
    Console(file=sys.stdout, force_terminal=terminal, width=None if terminal else 10_000).print(grid)


def _speaks() -> bool:
    """Whether this process prints results and progress: of several, the first. Errors are for each of them to print."""
    return config.from_flags(MeshConfig).process_id == 0


def _parse(argv: list[str]) -> None:
    """Parses the flags; whatever is wrong with them is bad input."""
    try:
        rest = flags.FLAGS(argv)[1:]
    except (flags.Error, ValueError) as error:  # a ValueError where --noNAME has a value
        raise InputError(str(error).removeprefix("ERROR:: ")) from error
    if flags.FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.INFO)  # how far a download is
        logging.get_absl_logger().addFilter(_worth_showing)
        warnings.filterwarnings("ignore", module="orbax")
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; options are written --name=value, --help lists them")


def _worth_showing(record: Any) -> bool:
    """Our own news and the warnings of others, but for Orbax, which logs pages about errors that it raises as well."""
    ours = record.pathname.startswith(str(Path(config.__file__).parent))
    return ours or (record.levelno >= WARNING and "orbax" not in record.pathname)


def _print_help() -> None:
    """The script's docstring, then its flags and those of the dataclasses."""
    print((sys.modules["__main__"].__doc__ or "").strip(), end="\n\n")
    print("--flagfile: a file of flags, one a line\n")
    for module in (sys.argv[0], config.__name__):
        print(flags.FLAGS.module_help(module))


def _fail(message: str, status: int) -> NoReturn:
    """One line on stderr, whatever line breaks the message holds, and exit."""
    print("error:", " ".join(message.split()), file=sys.stderr)
    sys.exit(status)


def _disk_full(error: BaseException | None) -> str:
    """What an error in this chain says about a full disk or an exhausted quota; '' if none says so."""
    while error is not None:
        for code in (errno.ENOSPC, errno.EDQUOT):
            if isinstance(error, OSError) and error.errno == code:
                return str(error)
            if os.strerror(code) in str(error):  # Orbax passes on the text alone, amid much else
                return os.strerror(code)
        error = error.__cause__ or error.__context__
    return ""


def _plain(value: Any) -> Any:
    """The value in terms of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy's and JAX's arrays and scalars
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    """A table's cell as text."""
    value = _plain(value)
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _numbers(record: Mapping[str, Any]) -> str:
    """'loss 0.1234  ndcg@10 0.0567': the numbers of an epoch's record but for its count."""
    shown = {key: _plain(value) for key, value in record.items() if key != "epoch"}
    return "  ".join(f"{key} {value:.4g}" for key, value in shown.items() if isinstance(value, int | float))


@contextmanager
def _bar(label: str, epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """The progress bar of a terminal."""
    columns = (
        TextColumn("{task.fields[label]}", markup=False),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=epochs, label=label, numbers="")
        yield lambda record: bar.update(task, completed=record["epoch"], numbers=_numbers(record))


@contextmanager
def _lines(label: str, epochs: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Plain lines: the first epoch, one each LINE_EVERY seconds, and the last."""
    start = time.monotonic()
    printed = -math.inf
    done = 0  # epochs of this process, which may have resumed in the middle
    pending = ""

    def report(record: Mapping[str, Any]) -> None:
        nonlocal printed, done, pending
        now = time.monotonic()
        done += 1
        left = (now - start) / done * (epochs - record["epoch"])
        clock = f"elapsed {timedelta(seconds=round(now - start))}  left {timedelta(seconds=round(left))}"
        pending = f"{label}  epoch {record['epoch']}/{epochs}  {_numbers(record)}  {clock}"
        if now - printed >= LINE_EVERY:
            print(pending, file=sys.stderr, flush=True)
            printed, pending = now, ""

    try:
        yield report
    finally:
        if pending:
            print(pending, file=sys.stderr, flush=True)
