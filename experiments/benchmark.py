"""Time the work that people wait for: python -m experiments.benchmark --quick

One benchmark is --what (training: an epoch, or --steps of it; updates: the same, counted in steps; ranking: a full
ranking of the test part; topn: the best --top_k items of --queries users) of --model on --dataset, or on a synthetic
log of --users, --items and --interactions. --quick and --suite=NAME,... run lists of them (experiments/suites.py).

Each has a process of its own: one run to compile and warm up, then --runs timed runs. What is shown is the median
rate with its range, compile time, peak memory, and FLOP/s and bytes/s by XLA's cost analysis (a lower bound) as
fractions of the matrix-product and copy rates that the same process measures. --against=torch|implicit|recbole with
--peer_python=PATH, a Python that has that library, runs the same work there too, in turns with ours, and shows how
many times as long it takes. Results gather in --workdir: results.json, report.md and plot.svg.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from experiments import console, options
from experiments.suites import METRIC, SUITES, define

if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import numpy as np

from ancf_jax import files
from ancf_jax.config import from_flags, given_flags, settings_of
from ancf_jax.models import MODELS
from ancf_jax.reports import growth
from ancf_jax.reports import speed as report_speed
from ancf_jax.runs.run import as_json
from ancf_jax.settings import EvalConfig
from ancf_jax.training import checkpoint
from ancf_jax.types import InputError
from experiments.peers.protocol import Stopped, connect

FOLDER = Path(__file__).parent / "peers"
WITH_FACTORS = tuple(name for name, entry in MODELS.items() if "factors" in settings_of(entry.config))
PEERS: dict[str, dict[str, tuple[str, ...]]] = {  # library -> what -> models
    "torch": {"training": ("neumf", "gmf", "mlp", "mf", "bpr"), "topn": WITH_FACTORS},
    "implicit": {"training": ("bpr", "ials"), "topn": WITH_FACTORS},
    "recbole": {"training": ("neumf", "bpr", "sasrec"), "ranking": ("neumf", "bpr", "sasrec")},
    "rusket": {"training": ("bpr",)},
    "buffalo": {"training": ("bpr",)},
}
IDLE = ("ks", "own_metric", "clip_predictions", "knows", "until", "tensorboard")  # what no benchmark reads
Ask = Callable[[str], dict[str, Any]]  # command -> what a process answers


class Benchmark(NamedTuple):
    """One piece of work, and who does it how often."""

    name: str
    work: dict[str, Any]  # its description as JSON, which every process that does it reads
    runs: int
    against: str
    python: str  # the peer's
    peer_runs: int
    quality: bool
    trace: str  # the folder that a trace goes to, or none


def benchmark_of(name: str, values: flags.FlagValues = flags.FLAGS) -> Benchmark:
    """The benchmark that the flags describe; without a name it gets one. Raises InputError for flags that conflict."""
    run = options.run_from_flags(Path(), values)
    sizes = [values.users, values.items, values.interactions]
    if any(sizes) and not all(sizes):
        raise InputError("--users, --items, --interactions: legal are all three or none; a synthetic log needs them")
    idle = [flag for flag in IDLE if flag in given_flags(values)]
    if idle:
        raise InputError(f"--{idle[0]}: no benchmark reads it; leave it out")
    if run.data.stream:
        raise InputError("--stream: benchmarks hold the whole log in memory; leave it out")
    if values.against:
        check_supported(values.against, values.what, run.model)
    if values.against == "recbole" and values.steps:
        raise InputError("--steps: RecBole trains whole epochs; leave it out with --against=recbole")
    peer_runs = values.peer_runs or values.runs
    if values.quality and (values.against != "implicit" or values.what != "training" or peer_runs != values.runs):
        raise InputError("--quality: legal with --against=implicit --what=training, and without --peer_runs")
    work = {
        **as_json(run),
        "memory_budget": from_flags(EvalConfig, values).memory_budget,
        "what": values.what,
        "sizes": sizes if any(sizes) else None,
        "steps": values.steps,
        "queries": values.queries,
        "top_k": values.top_k,
        "threads": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "options": dict(option_of(text) for text in values.peer_options),
    }
    data = "x".join(map(str, sizes[:2])) if any(sizes) else Path(run.data.dataset).name
    name = name or "-".join(filter(None, (run.model, values.what, data, values.against)))
    trace = str(Path(values.workdir, "traces", name).absolute()) if values.trace else ""
    against = (values.against, values.peer_python, peer_runs)
    return Benchmark(name, work, values.runs, *against, values.quality, trace)


def check_supported(library: str, what: str, model: str) -> None:
    """Raises InputError unless the library's script does this with this model."""
    if library not in PEERS:
        raise InputError(f"--against={library} is unknown; legal are {', '.join(PEERS)}")
    if model not in PEERS[library].get(what, ()):
        legal = "; ".join(f"{other} of {', '.join(models)}" for other, models in PEERS[library].items())
        raise InputError(f"--against={library} does not do {what} of {model}; legal are {legal}")


def check_importable(library: str, python: str) -> None:
    """Raises InputError unless `python` is there and has the library."""
    if not python:
        raise InputError(f"--against={library} needs --peer_python=PATH, a Python that has {library}")
    find = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({library!r}) is None)"
    try:
        found = subprocess.run([python, "-c", find], capture_output=True, env=peer_environment(), check=False)
    except OSError as error:
        raise InputError(f"--peer_python={python}: {error.strerror}; legal is the path of a Python") from error
    if found.returncode:
        requirements = f"experiments/peers/requirements-{library}.txt"
        raise InputError(f"--peer_python={python} cannot import {library}; install {requirements} there")


def option_of(text: str) -> tuple[str, Any]:
    """NAME=VALUE, the value read as JSON where it is JSON. Raises InputError without a name."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--peer_options: {text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def suite_of(names: list[str]) -> list[Benchmark]:
    """The benchmarks of suites or of single names; flags on the command line replace theirs.

    Without --peer_python, what they are measured against is left out.
    """
    lines = {name: line for suite in SUITES.values() for name, line in suite.items()}
    given = {name: flags.FLAGS[name].serialize() for name in given_flags() - {"suite", "quick"}}
    benchmarks = []
    for name in [name for entry in names for name in SUITES.get(entry, [entry])]:
        if name not in lines:
            raise InputError(f"--suite: {name!r} is unknown; legal are {', '.join([*SUITES, *lines])}")
        values = flags.FlagValues()
        argv = ["suite", *shlex.split(lines[name])]
        define(values, [*argv, *given.values()])
        values([*argv, *(flag for other, flag in given.items() if other in values)])
        benchmark = benchmark_of(name, values)
        benchmarks.append(benchmark if benchmark.python else benchmark._replace(against="", quality=False))
    return benchmarks


def measure(benchmark: Benchmark) -> dict[str, Any]:
    """Run our side, and the peer in turns with it; returns what results.json holds of it.

    Raises InputError with what our side refused, or the last line that a peer wrote to stderr before it stopped.
    """
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        log = str(Path(folder) / "log.npz") if benchmark.against else ""
        try:
            command = [sys.executable, "-m", "experiments.peers.own"]
            ready, ours = stack.enter_context(connect("own", command, benchmark.work | {"log": log}, environment))
            peer = None
            if benchmark.against:
                # Libraries leave files where they are started; the path of a virtual environment's Python is a link.
                python = shutil.which(benchmark.python) or benchmark.python
                command = [os.path.abspath(python), str(FOLDER / f"{benchmark.against}_peer.py")]
                work = benchmark.work | ready | {"log": log}
                peer = stack.enter_context(connect(benchmark.against, command, work, peer_environment(), folder))
            return take_turns(benchmark, ready, ours, peer, folder)
        except Stopped as stopped:
            name, status, errors = stopped.args
            last = (errors.strip().splitlines() or [f"exit status {status}"])[-1]
            if name != "own":
                raise InputError(f"--against={name}: {name}_peer.py stopped: {last}") from stopped
            if status == 2:
                raise InputError(last) from stopped
            raise RuntimeError(f"the measured process ended with exit status {status}:\n{errors}") from stopped


def peer_environment() -> dict[str, str]:
    """The environment without what leads a Python to our packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}


def take_turns(
    benchmark: Benchmark, ready: dict[str, Any], ours: Ask, peer: tuple[dict[str, Any], Ask] | None, folder: str
) -> dict[str, Any]:
    """Warm up, then one run of each after the other; what they took, and what it means."""
    ours("go")
    peer_ready, theirs = peer or ({}, None)
    if theirs and benchmark.peer_runs > 1:
        theirs("go")
    runs, peer_runs = [], []
    for n in range(max(benchmark.runs, benchmark.peer_runs)):
        if n < benchmark.runs:
            runs.append(ours("go"))
        if theirs and n < benchmark.peer_runs:
            peer_runs.append(theirs("go"))
    seconds = np.array([run["seconds"] for run in runs])
    result = {
        **{key: benchmark.work[key] for key in ("what", "model")},
        **{key: ready[key] for key in ("data", "unit", "amount")},
        "seconds": seconds.tolist(),
        **spread("rate", ready["amount"] / seconds),
        **{key: runs[-1][key] for key in ("compile_seconds", "peak_memory", "device_memory")},
        "quality": {},
        "peer": None,
    }
    if theirs:
        peer_seconds = np.array([run["seconds"] for run in peer_runs])
        paired = peer_seconds if len(peer_seconds) == len(seconds) else np.median(peer_seconds)
        result |= spread("ratio", paired / seconds)
        peer_rate = spread("rate", ready["amount"] / peer_seconds)
        memory = peer_runs[-1]["peak_memory"]
        result["peer"] = peer_ready | {"name": benchmark.against, "seconds": peer_seconds.tolist(), **peer_rate}
        result["peer"] |= {"peak_memory": memory, "warmed_up": benchmark.peer_runs > 1}
        if benchmark.quality:
            path = str(Path(folder) / "factors.npz")
            theirs(f"save {path}")
            result["quality"] = {"ours": ours("metrics")[METRIC], "peer": ours(f"metrics {path}")[METRIC]}
    result["operations"] = ours(f"trace {benchmark.trace}")["operations"] if benchmark.trace else {}
    analysed = ours("profile")
    for kind in ("flops", "bytes"):
        result[f"{kind}_per_second"] = analysed[kind] / float(np.median(seconds))
        result[f"machine_{kind}_per_second"] = analysed[f"machine_{kind}_per_second"]
    command = console.command("experiments.benchmark")
    return result | {"command": command, "work": benchmark.work, **ready["provenance"]}


def spread(name: str, values: np.ndarray) -> dict[str, float]:
    """The median of some runs, the lowest and the highest."""
    return {name: float(np.median(values)), f"{name}_low": float(values.min()), f"{name}_high": float(values.max())}


def main() -> dict[str, Any]:
    """Run the benchmarks, show them, and keep them beside those that are there."""
    given = flags.FLAGS
    names = [*given.suite, *(["quick"] if given.quick else [])]
    benchmarks = suite_of(names) if names else [benchmark_of("")]
    for library, python in dict.fromkeys((each.against, each.python) for each in benchmarks if each.against):
        check_importable(library, python)
    root = Path(given.workdir)
    path = root / "results.json"
    results = files.read_json(path) if path.exists() else {}
    for n, benchmark in enumerate(benchmarks, start=1):
        print(f"{n}/{len(benchmarks)} {benchmark.name}", file=sys.stderr, flush=True)
        results[benchmark.name] = measure(benchmark)
        written = write(root, results)
    shown = {benchmark.name: results[benchmark.name] for benchmark in benchmarks}
    for title, headings, rows in report_speed.tables(shown):
        console.table(headings, rows, title)
    console.say(" ".join(report_speed.READING), f"wrote {', '.join(written)}")
    kept = ["unit", "rate", "rate_low", "rate_high", "compile_seconds", "peak_memory"]
    kept += ["ratio", "ratio_low", "ratio_high", "quality"]
    return {
        "benchmarks": {name: {key: each[key] for key in kept if each.get(key)} for name, each in shown.items()},
        "workdir": str(root),
    }


def write(root: Path, results: dict[str, dict[str, Any]]) -> list[str]:
    """results.json, report.md and, with matplotlib, the pictures of what was measured; returns their names."""
    texts = {"results.json": json.dumps(results, indent=1) + "\n", "report.md": report_speed.markdown(results)}
    with suppress(ImportError):
        if any(each["peer"] for each in results.values()):
            texts["plot.svg"] = report_speed.plot(results).decode()
        if grown := growth.lines(results):
            texts["growth.svg"] = growth.plot(grown).decode()
    for name, text in texts.items():
        checkpoint.write_text(root / name, text)
    return [str(root / name) for name in texts]


if __name__ == "__main__":
    console.run(define, main)
