"""Passes over a log that stays in its files, in windows that are trained on as an epoch is.

A pass visits every training row once: the row groups are permuted, their rows, one after another, are cut into equal
windows, and the engine trains on a window as on an epoch, shuffled. So what a window holds depends on its number and
the seed alone. Of several processes, each reads its own run of the permuted row groups.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from ancf_jax.data.interactions import encode
from ancf_jax.data.read.stream import Stream, read_group
from ancf_jax.types import InputError, Interactions


def count_windows(stream: Stream) -> int:
    """How many windows make a pass."""
    return math.ceil(int(stream.rows.sum()) / stream.config.stream_rows)


def window_rows(stream: Stream, processes: int = 1) -> int:
    """How many rows a window has, those of all processes together: at most --stream_rows, but for rounding."""
    return processes * math.ceil(int(stream.rows.sum()) / (processes * count_windows(stream)))


def spans(
    rows: np.ndarray, windows: int, seed: int, number: int, process: int = 0, processes: int = 1
) -> list[tuple[int, slice]]:
    """Which rows of which row groups a process reads for window `number`, counted from 1 through all passes.

    The row groups have `rows` [groups] rows, and a pass has `windows` windows. In a pass, all windows of all processes
    are disjoint, hold every row and differ by at most one row; where there are fewer rows than that, each has one.
    """
    done, window = divmod(number - 1, windows)
    order = np.random.default_rng((seed, done)).permutation(len(rows))
    ends = np.cumsum(rows[order])
    starts = ends - rows[order]
    total, piece, pieces = int(ends[-1]), process * windows + window, processes * windows
    low = total * piece // pieces
    high = max(total * (piece + 1) // pieces, low + 1)
    inside = np.flatnonzero((starts < high) & (ends > np.maximum(starts, low)))
    return [(int(order[n]), slice(max(low - int(starts[n]), 0), int(min(high, ends[n]) - starts[n]))) for n in inside]


@contextmanager
def windows(
    stream: Stream, seed: int, last: int, process: int = 0, processes: int = 1
) -> Iterator[Callable[[int], Interactions]]:
    """A function from the number of a window, 1 to `last`, to a process's rows of it, all windows of one shape.

    A thread reads the next window while the caller works on this one. A window is not sorted, and its offsets are zero:
    all that a user has is not known, so negatives are drawn from all items. One that is a row short repeats its first.
    Raises InputError for a file that is gone, damaged or changed.
    """
    length = window_rows(stream, processes) // processes
    user_index, item_index = pd.Index(stream.user_ids), pd.Index(stream.item_ids)
    config = replace(stream.config, time_column="", time_format="")

    @lru_cache(1)  # a row group is often the end of one window and the beginning of the next
    def read(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The training rows of a row group: users, items, values."""
        group, rows = stream.groups[n], int(stream.rows[n])
        log = read_group(group, config)[0].frame[:rows]
        try:
            users, items = encode(log["user"], user_index), encode(log["item"], item_index)
        except ValueError as error:
            raise InputError(f"{group.file.path}: it has changed since it was first read: {error}") from error
        if len(log) < rows:
            raise InputError(f"{group.file.path}: it has changed since it was first read: rows are missing")
        return users, items, log["value"].to_numpy(np.float32)

    def take(number: int) -> Interactions:
        parts = spans(stream.rows, count_windows(stream), seed, number, process, processes)
        columns = zip(*([column[rows] for column in read(n)] for n, rows in parts), strict=True)
        users, items, values = (np.resize(np.concatenate(column), length) for column in columns)
        order, offsets = np.arange(length, dtype=np.int32), np.zeros(len(stream.user_ids) + 1, np.int32)
        return Interactions(users, items, values, order, offsets, known=np.zeros(1, np.int32))

    ahead: dict[int, Future[Interactions]] = {}
    with ThreadPoolExecutor(1) as thread:

        def window(number: int) -> Interactions:
            now = ahead.pop(number, None) or thread.submit(take, number)
            if number < last:
                ahead[number + 1] = thread.submit(take, number + 1)
            return now.result()

        yield window
