"""What a run leaves behind beside its checkpoints: the evaluation of the test part, and where it was measured."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from ancf_jax import files
from ancf_jax.config import to_json
from ancf_jax.data import targets
from ancf_jax.data.dataset import Dataset, in_log_units, known_interactions, ranked
from ancf_jax.data.store import packed
from ancf_jax.devices.sharding import is_first
from ancf_jax.evaluation.evaluate import Evaluation, make_evaluator, metric_names
from ancf_jax.runs.own_metrics import own_metrics
from ancf_jax.settings import EvalConfig
from ancf_jax.types import Data, InputError, Params, Recommender

DEFAULT = EvalConfig()


def evaluator_of(
    part: str,
    model: Recommender,
    data: Data,
    dataset: Dataset,
    config: EvalConfig = DEFAULT,
    *,
    knows: str,
    metric: str = "",
    full: bool = False,
    mesh: Mesh | None = None,
) -> Callable[[Params], Evaluation]:
    """The evaluator of the part "test" or "valid": by the data set's published candidates, or by full ranking.

    When the test part is predicted, a history holds the validation part too, unless `knows` is "train"; its items are
    not ranked either way. Held-out values are in the log's own units, and so are predictions of them. With `metric`,
    what picks the epoch is among the metrics. Raises InputError if it, or one of one's own in `config`, is none, or for
    --clip_predictions of a log that is not in memory, and as make_evaluator does.
    """
    test = part == "test"
    held_out = in_log_units(dataset, getattr(dataset, part))
    candidates = None if full else getattr(dataset, f"{part}_candidates")
    seen, among = known_interactions(dataset) if test else dataset.train, ranked(dataset, held_out)
    # How popular an item is cannot be told from the training rows of the users evaluated alone, nor of a new item.
    beyond = test and candidates is None and among is None and dataset.stream is None
    own = own_metrics(dict.fromkeys([*config.own_metric, *([metric] if ":" in metric else [])]))
    legal = metric_names(model, held_out, candidates=candidates, ks=config.ks, own=own)
    if metric and metric not in legal:
        raise InputError(
            f"flag --metric: {metric!r} is unknown here; legal are {', '.join(legal)}, others at --ks, and "
            "package.module:function"
        )
    return make_evaluator(
        model,
        data,
        seen,
        held_out,
        candidates=candidates,
        among=among,
        ks=config.ks,
        own=own,
        in_units=in_units(dataset, clip=config.clip_predictions),
        beyond=beyond,
        repeats=dataset.repeats,
        history=dataset.train if knows == "train" else None,
        memory_budget=config.memory_budget,
        mesh=mesh,
    )


def reported(config: EvalConfig) -> dict[str, Any]:
    """What of the settings of an evaluation its figures depend on, for result.json."""
    return {name: value for name, value in to_json(config).items() if name != "memory_budget"}


def in_units(dataset: Dataset, *, clip: bool) -> Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """The function (users, items, predicted) that gives predictions in the log's own units, `clip` as in restore.

    Raises InputError if the values of the training part are not in memory.
    """
    if clip and dataset.stream is not None:
        raise InputError("flag --clip_predictions: needs the training part in memory, so not with --stream")
    return partial(targets.restore, dataset.target, clip=clip)


def fingerprint_of(dataset: Dataset, *parts: str) -> str:
    """The same for the same rows of the same users and items by their own ids, whatever else a data set holds.

    Of `parts` such as "train" and "valid" together; the candidates of a part belong to it.
    """
    users, items = (pd.util.hash_array(np.asarray(ids)) for ids in (dataset.user_ids, dataset.item_ids))
    digest = hashlib.sha256()
    found = [getattr(dataset, name) for name in parts]
    rows = np.concatenate([np.column_stack([users[part.users], items[part.items]]) for part in found])
    digest.update(np.ascontiguousarray(rows[np.lexsort(rows.T)]).tobytes())
    for name in parts:
        candidates = getattr(dataset, f"{name}_candidates", None)
        if candidates is not None:
            digest.update(np.ascontiguousarray(items[candidates]).tobytes())
    return digest.hexdigest()[:16]


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
    files.replace(path, lambda file: np.savez_compressed(file, **{**about, **evaluation.per_user}))


def provenance() -> dict[str, Any]:
    """Where and with what a figure was measured: commit, versions, hardware."""
    asked: dict[str, Any] = {"capture_output": True, "text": True, "cwd": Path(__file__).parent, "check": False}
    commit = ""
    with suppress(OSError):  # without git
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], **asked).stdout.strip()
    device = jax.devices()[0]
    return {
        "commit": commit or None,
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
