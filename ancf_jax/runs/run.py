"""A run: which model is trained how on which data; its config.json, and the model and data rebuilt from it."""

import dataclasses
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ancf_jax.config import from_json, to_json
from ancf_jax.data.dataset import Dataset, fold_validation, load, ranked
from ancf_jax.data.interactions import build as from_columns
from ancf_jax.data.interactions import merge
from ancf_jax.data.read.passes import window_rows
from ancf_jax.devices.sharding import abstract, is_first, shard
from ancf_jax.evaluation.evaluate import Evaluation, make_evaluator
from ancf_jax.models import MODELS
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.training.checkpoint import load_best, read_json, write_json
from ancf_jax.training.precision import in_bfloat16
from ancf_jax.types import Data, Gradient, InputError, Interactions, Params, Recommender

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

    Raises InputError naming the first setting that differs: a workdir is never overwritten by another run. A setting
    that did not exist when config.json was written counts as its default.
    """
    path = workdir / "config.json"
    mine = as_json(run) | {"fingerprint": fingerprint}
    if path.exists():
        stored, their_data = from_workdir(workdir)
        theirs = as_json(stored) | {"fingerprint": their_data}
        for part, value in mine.items():
            here, there = (x if isinstance(x, dict) else {part: x} for x in (value, theirs[part]))
            for name in here:
                if here[name] != there.get(name) and name not in FREE.get(part, ()):
                    what = "data set" if name == "fingerprint" else name
                    raise InputError(
                        f"--workdir: {workdir} holds another run: {what} is {there.get(name)!r} there and "
                        f"{here[name]!r} here; choose another workdir"
                    )
    write_json(path, mine)


def check_streams(run: Run) -> None:
    """Raises InputError for --stream with a model that cannot learn from a log in parts."""

    def streams(name: str, config: Any) -> bool:
        two = from_columns([0, 0], [0, 0], [1.0, 2.0], [0, 1], 1)  # ordinal losses need two values
        smallest = Data(1, 1, two, np.ones((1, 1), np.float32))
        learn = MODELS[name].make(config, smallest).learn
        return isinstance(learn, Gradient) and learn.streams

    if run.data.stream and not streams(run.model, run.config):
        able = ", ".join(name for name, entry in MODELS.items() if streams(name, entry.config()))
        raise InputError(f"flag --stream: {run.model} learns from whole histories; models that stream are {able}")


def reads_features(run: Run) -> bool:
    """Whether the run's model reads item features."""
    return MODELS[run.model].features(run.config)


def open_data(run: Run, users: Sequence[str] = ()) -> Dataset:
    """The run's data; without validation, its validation part is training data. `users` as in `load`."""
    dataset = load(run.data, users, reads_features(run))
    return dataset if run.train.validation else fold_validation(dataset)


def build(run: Run, dataset: Dataset) -> tuple[Data, Recommender]:
    """The sizes, training part and features, and the model over them, in the arithmetic that the run asks for.

    Raises InputError for settings of gradient steps with a model that takes none.
    """
    features = [side and side.vectors for side in (dataset.features, dataset.user_features)]
    data = Data(len(dataset.user_ids), len(dataset.item_ids), dataset.train, *features)
    model = MODELS[run.model].make(run.config, data)
    if isinstance(model.learn, Gradient):
        if dataset.stream is not None:
            rows = window_rows(dataset.stream, jax.process_count())
            model = model._replace(learn=model.learn._replace(rows=rows))
        return data, in_bfloat16(model) if run.train.precision == "bfloat16" else model
    if run.train.lazy_rows:
        raise InputError(f"flag --lazy_rows: needs a model that learns by gradient; {run.model} learns in sweeps")
    if run.train.precision != "float32":
        raise InputError(f"flag --precision: {run.model} learns in sweeps, for which only float32 is legal")
    return data, model


def open_trained(
    workdir: Path, data_dir: str = "", mesh: Mesh | None = None, users: Sequence[str] = ()
) -> tuple[Run, Dataset, Data, Recommender, Params]:
    """All that is needed to use the best model of a workdir, for `users` among others, given by their ids.

    Raises InputError if its data set has changed.
    """
    run, fingerprint = from_workdir(workdir, data_dir)
    dataset = open_data(run, users)
    if dataset.fingerprint != fingerprint:
        raise InputError(
            f"--workdir: {workdir} was trained on other data than --dataset={run.data.dataset} holds now "
            f"(fingerprint {fingerprint} then, {dataset.fingerprint} now)"
        )
    data, model = build(run, dataset)
    model = shard(model, mesh)
    _, params = load_best(workdir, abstract(jax.eval_shape(model.learn.init, jax.random.key(0)), mesh))
    return run, dataset, data, model, params


def known_interactions(dataset: Dataset) -> Interactions:
    """What is known of each user when the test part is predicted: train and validation."""
    return merge(dataset.train, dataset.valid, len(dataset.user_ids))


def evaluator_on_test(model: Recommender, data: Data, dataset: Dataset, *, full: bool, **options: Any):
    """The evaluator of the test part: by full ranking, or by the data set's published candidates.

    Further `options` are those of make_evaluator.
    """
    candidates = None if full else dataset.test_candidates
    seen = known_interactions(dataset)
    among = ranked(dataset, dataset.test)
    # How popular an item is cannot be told from the training rows of the users evaluated alone, nor of a new item.
    beyond = candidates is None and among is None and dataset.stream is None
    options |= {"candidates": candidates, "among": among, "beyond": beyond, "repeats": dataset.repeats}
    return make_evaluator(model, data, seen, dataset.test, **options)


def save_users(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """What tests between models and groups of users need, as arrays by name. Atomic.

    The users' own ids, int64 or the bytes of a JSON list of texts, and their metrics; known_rows, their rows before the
    test part, and held_out_rows in it; and held_out_popularity, the mean number of rows before the test part of the
    items in it, which a log in parts does not tell. Of several processes the first writes.
    """
    if not is_first():
        return
    users, (train, valid, test) = evaluation.users, (dataset.train, dataset.valid, dataset.test)
    held_out = np.diff(test.offsets)[users]
    ids = np.asarray(dataset.user_ids)[users]
    about: dict[str, Any] = {
        "ids": np.frombuffer(json.dumps(ids.tolist()).encode(), np.uint8) if ids.dtype == object else ids,
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
