"""A run: which model is trained how on which data; its config.json, and the model and data rebuilt from it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import logging
from jax.sharding import Mesh

from ancf_jax.config import AUTO, from_before, from_json, settings_of, to_json
from ancf_jax.data.dataset import Dataset, fold_validation, load
from ancf_jax.data.interactions import with_bits
from ancf_jax.data.read.passes import window_rows
from ancf_jax.data.store import load_dataset
from ancf_jax.devices.sharding import abstract, shard
from ancf_jax.files import read_json, sealed
from ancf_jax.models import MODELS, entry_of
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.training.checkpoint import load_best, write_json
from ancf_jax.training.precision import in_bfloat16
from ancf_jax.training.steps import steps_in
from ancf_jax.types import Data, Gradient, InputError, Params, Recommender, shapes_of

VERSION = 3  # of config.json and the checkpoints beside it
KEYS: dict[str, type] = {  # of config.json, beside its version
    "model": str,
    "data": dict,
    "config": dict,
    "train": dict,
    "warm_start": list,
    "fingerprint": str,
}
STORED = "dataset.npz"  # the data, so that a run is used without its log
LAST = ("leave-one-out", "leave-last-basket-out", "time", "ncf")  # splits that hold out what came last
FREE = {"data": {"data_dir"}, "train": {"epochs", "patience"}}  # may differ when a run is resumed
WHOLE = "whole"  # the folder in a run's of the same run trained on the validation part too


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
    """The run in a workdir and the fingerprint of its data; `data_dir` replaces where the data was read from.

    Where config.json is lost or damaged, what was kept with the checkpoints. Raises InputError if that is not there
    either, and for settings that this version does not have.
    """
    path = workdir / "config.json"
    try:
        stored = read_json(path, **KEYS)
    except InputError as error:
        kept = [step.about["run"] for step in steps_in(workdir) if "run" in step.about]
        if not kept:
            raise
        logging.warning("%s; what is kept with the checkpoints is used", error)
        stored = kept[-1]
    version = stored.get("version", 1)
    if not isinstance(version, int) or version > VERSION:
        raise InputError(f"{path} is of format {version}, and this version reads up to {VERSION}; use a newer ancf_jax")
    if unknown := [name for name in stored if name not in (*KEYS, "version")]:
        raise InputError(f"{path}: {unknown[0]!r} is unknown to this version; use a newer ancf_jax")
    try:
        data = from_json(DataConfig, stored["data"] if "version" in stored else _without_version(stored["data"]))
        run = Run(
            stored["model"],
            dataclasses.replace(data, data_dir=data_dir) if data_dir else data,
            from_before(entry_of(stored["model"]).config, stored["config"]),
            from_json(TrainConfig, stored["train"]),
            tuple(map(str, stored["warm_start"])),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return run, stored["fingerprint"]


def _without_version(stored: dict[str, Any]) -> dict[str, Any]:
    """The data's settings as config.json held them before it had a version: what was empty or 0 was the data's own."""
    own = {name for name, setting in settings_of(DataConfig).items() if setting.default == AUTO}
    return {name: value or AUTO if name in own else value for name, value in stored.items()}


def claim(workdir: Path, run: Run, fingerprint: str) -> None:
    """Write config.json, after `check_claim`."""
    check_claim(workdir, run, fingerprint)
    write_json(workdir / "config.json", sealed(as_kept(run, fingerprint)))


def as_kept(run: Run, fingerprint: str) -> dict[str, Any]:
    """A run and its data as config.json holds them, but for the seal."""
    return {"version": VERSION} | as_json(run) | {"fingerprint": fingerprint}


def check_claim(workdir: Path, run: Run, fingerprint: str) -> None:
    """Raises InputError if a workdir holds another run, or the same on other data: it is never overwritten.

    The message names the first setting that differs. One that did not exist when config.json was written counts as its
    default. A run that has saved nothing holds no workdir.
    """
    mine = as_kept(run, fingerprint)
    if steps_in(workdir):
        stored, their_data = from_workdir(workdir)
        theirs = as_kept(stored, their_data)
        for part, value in mine.items():
            here, there = (x if isinstance(x, dict) else {part: x} for x in (value, theirs[part]))
            for name in here:
                if here[name] == there.get(name):
                    continue
                if name == "epochs" and run.train.schedule != "constant":
                    raise InputError(
                        f"flag --epochs: {workdir} was trained for {there[name]} epochs by --schedule="
                        f"{run.train.schedule}, which ends with them; {here[name]} are another run, in another workdir"
                    )
                if name not in FREE.get(part, ()):
                    what = "data set" if name == "fingerprint" else name
                    raise InputError(
                        f"--workdir: {workdir} holds another run: {what} is {there.get(name)!r} there and "
                        f"{here[name]!r} here; choose another workdir"
                    )


def check_streams(run: Run) -> None:
    """Raises InputError for --stream with a model that cannot learn from a log in parts."""
    if run.data.stream and not entry_of(run.model).streams:
        able = ", ".join(name for name, entry in MODELS.items() if entry.streams)
        raise InputError(f"flag --stream: {run.model} learns from whole histories; models that stream are {able}")


def reads_features(run: Run) -> bool:
    """Whether the run's model reads item features."""
    return entry_of(run.model).features


def open_data(run: Run, users: Sequence[str] = ()) -> Dataset:
    """The run's data; without validation, its validation part is training data. `users` as in `load`."""
    dataset = load(run.data, users, reads_features(run))
    return _folded(run, dataset)


def _folded(run: Run, dataset: Dataset) -> Dataset:
    return dataset if run.train.validation else fold_validation(dataset)


def build(run: Run, dataset: Dataset) -> tuple[Data, Recommender]:
    """The sizes, training part and features, and the model over them, in the arithmetic that the run asks for.

    Raises InputError for settings of gradient steps with a model that takes none.
    """
    items, users = (side and side.vectors for side in (dataset.features, dataset.user_features))
    ordered = dataset.times is not None and dataset.split in LAST
    train = dataset.train if dataset.stream is not None else with_bits(dataset.train, len(dataset.item_ids))
    data = Data(len(dataset.user_ids), len(dataset.item_ids), train, items, users, ordered)
    model = entry_of(run.model).make(run.config, data)
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
    workdir: Path, data_dir: str = "", mesh: Mesh | None = None, users: Sequence[str] = (), *, whole: bool = True
) -> tuple[Run, Dataset, Data, Recommender, Params]:
    """All that is needed to use the best model of a workdir, for `users` among others, given by their ids.

    Where it was trained again on the validation part too, that is the model, unless `whole` is false. The data are
    those that the run was trained on and kept; where it kept none, its log's. Raises InputError if that has changed.
    """
    folder = folder_of(workdir) if whole else workdir
    run, fingerprint = from_workdir(folder, data_dir)
    if whole and run.train.validation and not (folder / "result.json").exists():
        logging.warning("%s has no result.json: the run is not done, and its best epoch so far is used", workdir)
    kept = next((path for path in (workdir / STORED, folder / STORED) if path.exists()), None)
    dataset = _folded(run, load_dataset(kept)) if kept else open_data(run, users)
    if dataset.fingerprint != fingerprint:
        raise InputError(
            f"--workdir: {workdir} was trained on other data than --dataset={run.data.dataset} holds now "
            f"(fingerprint {fingerprint} then, {dataset.fingerprint} now); train it again, in another workdir"
        )
    data, model = build(run, dataset)
    model = shard(model, mesh)
    _, params = load_best(folder, abstract(shapes_of(model), mesh))
    return run, dataset, data, model, params


def folder_of(workdir: Path) -> Path:
    """Where a workdir's model is: in the folder inside it, if it was trained again on the validation part too."""
    run, _ = from_workdir(workdir)
    done, again = workdir / "result.json", workdir / WHOLE
    whole = (again / "result.json").exists() or (done.exists() and read_json(done).get("trained_again"))
    return again if run.train.validation and whole else workdir
