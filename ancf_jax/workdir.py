"""A run: which model is trained how on which data; its config.json, and the model and data rebuilt from it."""

import dataclasses
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ancf_jax.checkpoint import load_best, read_json, write_json
from ancf_jax.config import DataConfig, TrainConfig, from_json, to_json
from ancf_jax.data.dataset import Dataset, fold_validation, load
from ancf_jax.data.interactions import merge
from ancf_jax.evaluate import Evaluation, make_evaluator
from ancf_jax.models import MODELS
from ancf_jax.types import Data, InputError, Interactions, Params, Recommender

FREE = {"data": {"data_dir"}, "train": {"epochs", "patience"}}  # may differ when a run is resumed


class Run(NamedTuple):
    """Everything that decides a run's result."""

    model: str
    data: DataConfig
    config: Any  # the model's own dataclass
    train: TrainConfig
    warm_start: tuple[str, ...] = ()


def as_json(run: Run) -> dict[str, Any]:
    """The run as config.json holds it."""
    parts = {"data": to_json(run.data), "config": to_json(run.config), "train": to_json(run.train)}
    return {"model": run.model, **parts, "warm_start": list(run.warm_start)}


def from_workdir(workdir: Path, data_dir: str = "") -> tuple[Run, str]:
    """The run in a workdir and the fingerprint of its data; `data_dir` replaces where the data was read from."""
    stored = read_json(workdir / "config.json")
    if stored["model"] not in MODELS:
        raise InputError(f"--workdir: {workdir} holds a model {stored['model']!r}; known are {', '.join(MODELS)}")
    data = from_json(DataConfig, stored["data"])
    run = Run(
        stored["model"],
        dataclasses.replace(data, data_dir=data_dir) if data_dir else data,
        from_json(MODELS[stored["model"]].config, stored["config"]),
        from_json(TrainConfig, stored["train"]),
        tuple(stored["warm_start"]),
    )
    return run, stored["fingerprint"]


def claim(workdir: Path, run: Run, fingerprint: str) -> None:
    """Write config.json, or check that the one there is of the same run on the same data.

    Raises InputError naming the first setting that differs: a workdir is never overwritten by another run.
    """
    path = workdir / "config.json"
    mine = as_json(run) | {"fingerprint": fingerprint}
    if path.exists():
        theirs = read_json(path)
        for part, value in mine.items():
            here, there = (x if isinstance(x, dict) else {part: x} for x in (value, theirs.get(part)))
            for name in here:
                if here[name] != there.get(name) and name not in FREE.get(part, ()):
                    what = "data set" if name == "fingerprint" else name
                    raise InputError(
                        f"--workdir: {workdir} holds another run: {what} is {there.get(name)!r} there and "
                        f"{here[name]!r} here; choose another workdir"
                    )
    write_json(path, mine)


def open_data(run: Run) -> Dataset:
    """The run's data; without validation, its validation part is training data."""
    dataset = load(run.data)
    return dataset if run.train.validation else fold_validation(dataset)


def build(run: Run, dataset: Dataset) -> tuple[Data, Recommender]:
    """The sizes and training part, and the model over them."""
    data = Data(len(dataset.user_ids), len(dataset.item_ids), dataset.train)
    return data, MODELS[run.model].make(run.config, data)


def open_trained(workdir: Path, data_dir: str = "") -> tuple[Run, Dataset, Data, Recommender, Params]:
    """All that is needed to use the best model of a workdir. Raises InputError if its data set has changed."""
    run, fingerprint = from_workdir(workdir, data_dir)
    dataset = open_data(run)
    if dataset.fingerprint != fingerprint:
        raise InputError(
            f"--workdir: {workdir} was trained on other data than --dataset={run.data.dataset} holds now "
            f"(fingerprint {fingerprint} then, {dataset.fingerprint} now)"
        )
    data, model = build(run, dataset)
    _, params = load_best(workdir, jax.eval_shape(model.learn.init, jax.random.key(0)))
    return run, dataset, data, model, params


def known_interactions(dataset: Dataset) -> Interactions:
    """What is known of each user when the test part is predicted: train and validation."""
    return merge(dataset.train, dataset.valid, len(dataset.user_ids))


def evaluator_on_test(model: Recommender, data: Data, dataset: Dataset, *, full: bool):
    """The evaluator of the test part: by full ranking, or by the data set's published candidates."""
    candidates = None if full else dataset.test_candidates
    seen = known_interactions(dataset)
    return make_evaluator(model, data, seen, dataset.test, candidates=candidates, beyond=candidates is None)


def save_users(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """The metrics of each user, for tests between models: arrays by name, beside the users' own ids. Atomic."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    ids = np.asarray(dataset.user_ids)[evaluation.users]
    with partial.open("wb") as file:
        np.savez_compressed(file, **{"ids": ids, **evaluation.per_user})
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
