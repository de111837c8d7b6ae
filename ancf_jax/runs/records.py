"""The records of a run's epochs: kept with its checkpoints, and shown as the lines of metrics.jsonl."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ancf_jax.training.checkpoint import Record, write_text
from ancf_jax.training.steps import steps_in
from ancf_jax.types import InputError

FILE = "metrics.jsonl"


def write_records(folder: Path, records: Sequence[Record]) -> None:
    """Write metrics.jsonl anew."""
    write_text(folder / FILE, "".join(json.dumps(record) + "\n" for record in records))


def read_records(folder: Path, epochs: int) -> list[Record]:
    """The records of a run up to this epoch. Raises InputError as `old_records` does."""
    kept = [step.about["records"] for step in steps_in(folder) if step.about.get("records")]
    return [record for record in (kept[-1] if kept else old_records(folder, epochs)) if record["epoch"] <= epochs]


def old_records(folder: Path, epochs: int) -> list[Record]:
    """The lines of metrics.jsonl up to this epoch, for checkpoints that hold no records: those of old.

    Raises InputError naming the line that is damaged, or if the last of them is missing.
    """
    path, records = folder / FILE, list[Record]()
    lines = path.read_bytes().splitlines() if path.exists() else []
    for number, line in enumerate(lines, start=1):
        record: Any = None
        try:
            record = json.loads(line)
            if record["epoch"] <= epochs:
                records.append(record)
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged in line {number}; train the run again, in another workdir") from None
    if epochs and (not records or records[-1]["epoch"] != epochs):
        raise InputError(f"{path} has no line of epoch {epochs}; train the run again, in another workdir")
    return records
