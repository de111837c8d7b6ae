"""Readers beside running trainings: whenever they look, there is a whole checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.reliability.kills import COLUMNS, NET, write_logs
from tests.reliability.processes import ended, forked, script

LONG = 300.0  # seconds after which a process hangs


def run(root: Path, count: int, seed: int, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Read runs while they are trained, until they were read so often: how often, and what was raised."""
    write_logs(root)
    reads, wrong, trainings = 0, list[str](), 0
    while reads < count:
        workdir = root / f"{trainings:03}"
        flags = ["--model=gmf", *NET, "--epochs=60", "--patience=0", f"--seed={seed + trainings}"]
        flags += [f"--dataset={root}/log.csv", *COLUMNS, f"--workdir={workdir}", "--knows=train", "--beside="]
        training = script("train", flags, root / "said.txt")
        reader = forked(lambda: _read(workdir, training), root / "read.txt")  # noqa: B023
        statuses = ended(training, LONG), ended(reader, LONG)
        if statuses != (0, 0):
            wrong.append(f"ended with {statuses}: {(root / 'said.txt').read_text()[-900:]}")
            break
        found = json.loads(workdir.with_suffix(".json").read_text())
        reads, wrong, trainings = reads + found["reads"], wrong + found["wrong"], trainings + 1
        told(f"{reads:,} reads beside {trainings} trainings: {wrong}")
    return {"reads": reads, "trainings": trainings, "seed": seed, "wrong": wrong}


def _read(workdir: Path, training: int) -> None:
    """Open what a training has made so far, again and again until it is done."""
    from ancf_jax.runs.run import open_trained
    from ancf_jax.training.steps import steps_in

    reads, wrong = 0, []
    while not (workdir / "result.json").exists() and Path(f"/proc/{training}").exists():
        if not steps_in(workdir):
            continue
        try:
            open_trained(workdir)
            reads += 1
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}"[:500])
    workdir.with_suffix(".json").write_text(json.dumps({"reads": reads, "wrong": wrong}))
