"""Progress on stderr: bars on a terminal, plain lines now and then elsewhere, and the time that is left."""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from experiments.console.script import speaks
from experiments.console.text import plain

LINE_EVERY = 10.0  # seconds between progress lines where there is no terminal
WIDE = 100  # columns of a terminal with room for a long bar
UNKNOWN = "-:--:--"

Report = Callable[[Mapping[str, Any]], None]


class Series(NamedTuple):
    """Which of several runs in a row one is."""

    number: int  # from 1
    total: int
    started: float  # time.monotonic() as the first started


def status(text: str) -> None:
    """Says on stderr what takes a while, where that is a terminal."""
    if speaks() and sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


@contextmanager
def progress(label: str, epochs: int, series: Series | None = None, what: str = "epoch") -> Iterator[Report]:
    """A progress bar over epochs, on stderr; without a terminal a plain line now and then.

    Args:
        label: what runs, such as the model's name.
        epochs: how many epochs there are in all.
        series: which of several runs this is; how long the others take is judged by those so far.
        what: what is counted, if not epochs.

    Yields:
        report(record): to be called after each epoch with its line of metrics.jsonl; record['epoch'] counts from 1, or
        is within the one that runs, and every other number in it is shown, as far as there is room.
    """
    if not speaks():
        yield lambda record: None
        return
    show = _bar if sys.stderr.isatty() else partial(_lines, what=what)
    with show(label, epochs, series) as report:
        yield report


def _times(epochs: int, series: Series | None) -> Callable[[float], tuple[float, str, str]]:
    """Of each epoch that is over: the seconds of the run so far, what it has left, and what all runs have.

    An epoch takes what the later ones of this process took, or the first with all that came before it; another run
    takes what those so far do, this one to its end among them.
    """
    start = time.monotonic()
    first: tuple[float, float] | None = None  # when the first was over, and which it was

    def at(epoch: float) -> tuple[float, str, str]:
        nonlocal first
        now = time.monotonic()
        since, earlier = first or (start, math.ceil(epoch) - 1)
        first = first or (now, epoch)
        if epoch <= max(earlier, 0):
            return now - start, UNKNOWN, UNKNOWN
        left = (now - since) / (epoch - earlier) * (epochs - epoch)
        if series is None:
            return now - start, _clock(left), ""
        others = (now - series.started + left) / series.number * (series.total - series.number)
        return now - start, _clock(left), _clock(left + others)

    return at


def _clock(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))


def _numbers(record: Mapping[str, Any], room: int | None = None) -> str:
    """'loss 0.1234  ndcg@10 0.0567': the numbers of an epoch's record but for its count.

    As many as there is room for; the seconds go first, and the last of the others, by which epochs are picked, stays.
    """
    shown = {key: plain(value) for key, value in record.items() if key != "epoch"}
    parts = {key: f"{key} {value:.4g}" for key, value in shown.items() if isinstance(value, int | float)}
    while room is not None and parts and cell_len("  ".join(parts.values())) > room:
        del parts["seconds" if "seconds" in parts else [*parts][-2:][0]]
    return "  ".join(parts.values())


@contextmanager
def _bar(label: str, epochs: int, series: Series | None) -> Iterator[Report]:
    """The bars of a terminal: of the run, and of all runs in the series."""
    console = Console(stderr=True)
    width = 20 if console.width >= WIDE else 10
    columns = (
        TextColumn("{task.fields[label]}", markup=False),
        BarColumn(bar_width=width),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left {task.fields[left]}", markup=False),
        TextColumn("{task.fields[numbers]}", markup=False),
    )
    overall = f"run {series.number} of {series.total}" if series else ""
    counts = max(len(f"{n}/{n}") for n in (epochs, series.total if series else 0))
    room = console.width - (width + counts + len(f"{UNKNOWN} left {UNKNOWN}") + len(columns) - 1)
    if cell_len(label) > room:
        label = set_cell_size(label, room - 1) + "…"
    room -= max(map(cell_len, (label, overall)))
    times = _times(epochs, series)
    bar = Progress(*columns, console=console, get_time=time.monotonic)
    task = bar.add_task("", total=epochs, label=label, left=UNKNOWN, numbers="")
    if series:
        before = series.number - 1
        so_far = time.monotonic() - series.started
        left = _clock(so_far / before * (series.total - before)) if before else UNKNOWN
        every = bar.add_task("", total=series.total, completed=before, label=overall, left=left, numbers="")
        bar.tasks[every].start_time = series.started

    def report(record: Mapping[str, Any]) -> None:
        _, left, overall = times(record["epoch"])
        bar.update(task, completed=record["epoch"], left=left, numbers=_numbers(record, room))
        if series:
            bar.update(every, completed=before + record["epoch"] / epochs, left=overall)

    with bar:
        yield report
        if series:
            bar.remove_task(every)  # what stays on the screen is a line for each run


@contextmanager
def _lines(label: str, epochs: int, series: Series | None, what: str) -> Iterator[Report]:
    """Plain lines: the first epoch, one each LINE_EVERY seconds, and the last."""
    times = _times(epochs, series)
    printed = -math.inf
    pending = ""

    def report(record: Mapping[str, Any]) -> None:
        nonlocal printed, pending
        now, left, overall = times(record["epoch"])
        clock = f"elapsed {_clock(now)}  left {left}"
        if series:
            clock += f"  run {series.number} of {series.total}  left overall {overall}"
        pending = f"{label}  {what} {math.ceil(record['epoch'])}/{epochs}  {_numbers(record)}  {clock}"
        if now - printed >= LINE_EVERY:
            print(pending, file=sys.stderr, flush=True)
            printed, pending = now, ""

    try:
        yield report
    finally:
        if pending:
            print(pending, file=sys.stderr, flush=True)
