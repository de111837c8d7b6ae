"""Where the time of a run goes: the operations that XLA ran, from the profiler's trace of it."""

import gzip
import json
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

# What XLA calls its operations: a fusion is named after its parts, so the first kind that fits counts.
KINDS = {
    "matrix products": ("dot", "ynn", "gemm", "matmul", "convolution", "triton"),
    "scatters": ("scatter",),
    "gathers": ("gather",),
    "sorts": ("sort", "top"),
    "random numbers": ("xor", "shift", "rng", "threefry"),
    "copies": ("copy", "transpose", "concatenate", "slice", "broadcast"),
}
LOOPS = ("while", "call", "conditional")  # they contain other operations, which are counted by themselves


def operations(run: Callable[[], Any], folder: Path) -> dict[str, float]:
    """Call `run` once and return its seconds by kind of operation, the dearest first, and in all as "total".

    What is neither of KINDS is "elementwise and others"; what is missing to the total is spent between operations, but
    operations that run at the same time count each. The trace stays in `folder`, for ui.perfetto.dev; the profiler
    itself takes time too, so the shares say more than the seconds.
    """
    with jax.profiler.trace(folder, create_perfetto_trace=True):
        started = time.perf_counter()
        run()
        total = time.perf_counter() - started
    newest = max(folder.rglob("perfetto_trace.json.gz"), key=lambda path: path.stat().st_mtime)
    with gzip.open(newest) as file:
        events = json.load(file)["traceEvents"]
    seconds: dict[str, float] = defaultdict(float)
    for event in events:
        name = event.get("args", {}).get("hlo_op", "")
        if event.get("ph") == "X" and name and not name.startswith(LOOPS):
            seconds[kind_of(name)] += event["dur"] / 1e6
    return {"total": total, **dict(sorted(seconds.items(), key=lambda pair: -pair[1]))}


def kind_of(operation: str) -> str:
    """The kind of an operation by its name.

    >>> kind_of("gather_bitcast_fusion.2"), kind_of("multiply_add_fusion")
    ('gathers', 'elementwise and others')
    """
    names = (kind for kind, words in KINDS.items() if any(word in operation for word in words))
    return next(names, "elementwise and others")
