"""What a run leaves behind beside its checkpoints: the evaluation of the test part, and where it was measured."""

import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ancf_jax.data.dataset import Dataset, known_interactions, ranked
from ancf_jax.data.store import packed
from ancf_jax.devices.sharding import is_first
from ancf_jax.evaluation.evaluate import Evaluation, make_evaluator
from ancf_jax.types import Data, Params, Recommender


def evaluator_of(
    part: str, model: Recommender, data: Data, dataset: Dataset, *, full: bool = False, **options: Any
) -> Callable[[Params], Evaluation]:
    """The evaluator of the part "test" or "valid": by the data set's published candidates, or by full ranking.

    Further `options` are those of make_evaluator.
    """
    test = part == "test"
    held_out, candidates = getattr(dataset, part), None if full else getattr(dataset, f"{part}_candidates")
    seen, among = known_interactions(dataset) if test else dataset.train, ranked(dataset, held_out)
    # How popular an item is cannot be told from the training rows of the users evaluated alone, nor of a new item.
    beyond = test and candidates is None and among is None and dataset.stream is None
    options |= {"candidates": candidates, "among": among, "beyond": beyond, "repeats": dataset.repeats}
    return make_evaluator(model, data, seen, held_out, **options)


def save_users(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """What tests between models and groups of users need, as arrays by name. Atomic.

    The users' own ids, int64 or packed texts (data/store.py), and their metrics; known_rows, their rows before the test
    part, and held_out_rows in it; and held_out_popularity, the mean number of rows before the test part of the items in
    it, which a log in parts does not tell. Of several processes the first writes.
    """
    if not is_first():
        return
    users, (train, valid, test) = evaluation.users, (dataset.train, dataset.valid, dataset.test)
    held_out = np.diff(test.offsets)[users]
    about: dict[str, Any] = {
        "ids": packed(np.asarray(dataset.user_ids)[users]),
        "known_rows": (np.diff(train.offsets) + np.diff(valid.offsets))[users],
        "held_out_rows": held_out,
    }
    if dataset.stream is None:
        counts = np.bincount(np.concatenate([train.items, valid.items]), minlength=len(dataset.item_ids))
        sums = np.bincount(np.asarray(test.users), counts[test.items], len(dataset.user_ids))
        about["held_out_popularity"] = sums[users] / held_out
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as file:
        np.savez_compressed(file, **{**about, **evaluation.per_user})
    os.replace(partial, path)


def provenance() -> dict[str, Any]:
    """Where and with what a figure was measured: commit, versions, hardware."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    device = jax.devices()[0]
    return {
        "commit": commit.stdout.strip() or None,
        "versions": {name: version(name) for name in ("jax", "flax", "optax", "orbax-checkpoint", "numpy")},
        "python": platform.python_version(),
        "hardware": f"{device.device_kind} x {jax.device_count()}; {_processor()}, {os.cpu_count()} cores",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
