"""Real signals at random moments of real scripts: what is rerun comes to what it comes to uninterrupted, to the bit."""

import hashlib
import json
import math
import os
import random
import shutil
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.reliability import served
from tests.reliability.processes import ended, forked, script
from tests.reliability.snapshots import left_of

COLUMNS = ["--time_column=time"]
NET = ["--factors=4", "--batch_size=16", "--learning_rate=0.05"]
STREAM = ["--stream", "--stream_rows=60", "--fractions=0.6,0.2,0.2", "--tower_factors=4", "--tower=4", "--epochs=4"]
CASES: dict[str, list[str]] = {  # script and flags
    "gmf": ["train", "--model=gmf", *NET, "--epochs=12", "--patience=0"],
    "mf, lazy rows": ["train", "--model=mf", "--factors=4", "--lazy_rows", "--epochs=12", "--patience=0"],
    "ancf, every third evaluated": ["train", "--model=ancf", "--factors=4", "--epochs=9", "--eval_every=3"],
    "ials": ["train", "--model=ials", "--factors=4"],
    "neumf, streamed": ["train", "--model=neumf", *NET, *STREAM],
    "compare": ["compare", "--models=itemknn,gmf", "--epochs=4", "--seeds=1"],
    "tune": ["tune", "--models=itemknn", "--trials=4"],
    "gmf, two processes": ["train", "--model=gmf", *NET, "--epochs=6", "--patience=0"],
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
STATUS = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}
LONG = 300.0  # seconds after which a process hangs
ROUNDS = 3  # of kills of one run, before it may end
SERVED = "serve, with feedback"
SERVING = 2.0  # seconds of feedback before a kill, at most


def write_logs(folder: Path) -> None:
    """A small log as CSV, and as a folder of Parquet in the order of time."""
    rng = np.random.default_rng(0)
    pairs = [(user, item) for user in range(40) for item in rng.permutation(30)[:8]]
    log = pd.DataFrame(rng.permutation(pairs), columns=["user", "item"]).assign(time=range(len(pairs)))
    log.to_csv(folder / "log.csv", index=False)
    (folder / "log").mkdir()
    log.to_parquet(folder / "log" / "1.parquet", row_group_size=64)


def come_to(workdir: Path) -> dict[str, str]:
    """What a run has come to, file by file, as checksums."""
    written = workdir.with_suffix(".json")

    def work() -> None:
        found = {name: hashlib.sha256(repr(value).encode()).hexdigest() for name, value in left_of(workdir).items()}
        written.write_text(json.dumps(found))

    ended(forked(work, workdir.with_suffix(".txt")), LONG)
    return json.loads(written.read_text())


def launch(case: str, root: Path, workdir: Path) -> list[int]:
    """The processes of a case."""
    name, *flags = CASES[case]
    streamed, two = "--stream" in flags, "two" in case
    data = [f"--dataset={root}/{'log' if streamed else 'log.csv'}", *COLUMNS, f"--workdir={workdir}"]
    if not two:
        return [script(name, [*flags, *data], workdir.with_suffix(".txt"))]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        meet = [f"--coordinator=localhost:{free.getsockname()[1]}", "--num_processes=2"]
    return [
        script(name, [*flags, *data, *meet, f"--process_id={n}"], workdir.with_suffix(f".{n}.txt")) for n in range(2)
    ]


def finish(case: str, root: Path, workdir: Path) -> tuple[float, str]:
    """Run a case to its end: the seconds that took, and what went wrong."""
    started = time.monotonic()
    processes = launch(case, root, workdir)
    statuses = [ended(process, LONG) for process in processes]
    for process, status in zip(processes, statuses, strict=True):
        if status is None:
            os.kill(process, signal.SIGKILL)
    return time.monotonic() - started, "" if set(statuses) == {0} else f"ended with {statuses}"


def run(
    root: Path, kills: int, seed: int, told: Callable[[str], None] = print, only: str = "", minutes: float = math.inf
) -> dict[str, Any]:
    """Kill runs of every case in turn until there were so many kills, or as many minutes: what came of it."""
    until = time.monotonic() + 60 * minutes
    write_logs(root)
    (root / "whole").mkdir()
    random.seed(seed)
    cases = [case for case in (*CASES, SERVED) if not only or case in only.split(";")]
    wholes: dict[str, Any] = {}
    counts: dict[str, dict[str, int]] = {case: {} for case in cases}
    wrong: list[str] = []
    acknowledged = number = 0
    while (done := sum(sum(count.values()) for count in counts.values())) < kills and time.monotonic() < until:
        case, workdir = cases[number % len(cases)], root / f"{number:03}"
        number += 1
        if case == SERVED:
            acknowledged += _serve(root, workdir, counts[case], wholes, wrong)
        else:
            _train(case, root, workdir, counts[case], wholes, wrong)
        told(f"{done} kills before, {case}: {wrong}")
    return {"kills": done, "cases": counts, "acknowledged": acknowledged, "wrong": wrong, "seed": seed}


def _train(
    case: str, root: Path, workdir: Path, count: dict[str, int], wholes: dict[str, Any], wrong: list[str]
) -> None:
    """Kill a run a few times, finish it, and hold it against the same run uninterrupted."""
    if case not in wholes:
        seconds, failed = finish(case, root, root / "whole" / case)
        if failed:
            raise RuntimeError(f"{case}: {failed} {[each.read_text()[-900:] for each in root.glob('whole/*.txt')]}")
        wholes[case] = seconds, come_to(root / "whole" / case)
    seconds, expected = wholes[case]
    for _ in range(ROUNDS):
        which, processes = random.choice(SIGNALS), launch(case, root, workdir)
        time.sleep(random.uniform(0.1, seconds))
        for process in processes:
            os.kill(process, which)
        statuses = [ended(process, LONG) for process in processes]
        if set(statuses) == {0}:
            shutil.rmtree(workdir)  # it had ended before
            seconds *= 0.8
            continue
        count[which.name] = count.get(which.name, 0) + 1
        if "two" not in case and set(statuses) != {STATUS[which]}:
            wrong.append(f"{case}, {workdir.name}: {which.name} ended with {statuses}")
    again, failed = finish(case, root, workdir)
    wholes[case] = min(seconds, again), expected  # a run that ends before it is killed tells nothing
    found = {} if failed else come_to(workdir)
    different = [name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)]
    said = "".join(path.read_text() for path in root.glob(f"{workdir.name}*.txt"))
    if failed or different or ("Traceback" in said and "two" not in case):
        wrong.append(
            f"{case}, {workdir.name}: {failed or different[:5]} {said[-900:] if failed or 'Traceback' in said else ''}"
        )
    else:
        shutil.rmtree(workdir)


def _serve(root: Path, name: Path, count: dict[str, int], wholes: dict[str, Any], wrong: list[str]) -> int:
    """Kill a service a few times: how many rows of feedback it had acknowledged, all of which are there."""
    workdir, kept = root / "whole" / "gmf", name.with_suffix(".db")
    if not workdir.exists():
        finish("gmf", root, workdir)
    if SERVED not in wholes:
        wholes[SERVED] = served.answer(workdir, root / "whole.db")[1]
    acknowledged: list[str] = []
    for _ in range(ROUNDS):
        which = random.choice(SIGNALS)
        status = served.killed(workdir, kept, which, acknowledged, SERVING)
        count[which.name] = count.get(which.name, 0) + 1
        if status not in (STATUS[which], 0 if which == signal.SIGTERM else None):  # SIGTERM is how a service ends
            wrong.append(f"{SERVED}, {name.name}: {which.name} ended with {status}")
    if gone := served.lost(kept, acknowledged):
        wrong.append(f"{SERVED}, {name.name}: {len(gone)} of {len(acknowledged)} acknowledged rows are lost")
    if served.answer(workdir, kept)[1] != wholes[SERVED]:
        wrong.append(f"{SERVED}, {name.name}: answers are not the same")
    return len(acknowledged)
