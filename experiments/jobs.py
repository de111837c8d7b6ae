"""Runs to be trained one after another: all of them are checked before the first is."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from ancf_jax.config import from_flags
from ancf_jax.data.dataset import Dataset, cleaning
from ancf_jax.data.read.passes import count_windows
from ancf_jax.runs.fit import set_up, users_validated
from ancf_jax.runs.run import Run, check_claim, open_data, reads_features
from ancf_jax.settings import EvalConfig
from ancf_jax.training.checkpoint import check_trained
from ancf_jax.training.loop import settled
from ancf_jax.types import InputError
from experiments import console


class Job(NamedTuple):
    """A run, and the data that it is trained and tested on."""

    run: Run
    dataset: Dataset


def checked(runs: Mapping[Path, Run], mesh: Mesh | None = None, *, optional: bool = False) -> dict[Path, Job]:
    """The jobs of these runs by their folders, after the data are read, every model is made once with what judges it,
    no folder holds another run, and what a run starts from is among them or trained.

    If `optional`, a model that cannot run on these data is left out, and said. Raises InputError, for it otherwise too.
    """
    judged = from_flags(EvalConfig)
    datasets: dict[Any, Dataset] = {}
    jobs: dict[Path, Job] = {}
    refused: dict[Run, InputError | None] = {}
    learns: dict[Run, Any] = {}
    for folder, run in runs.items():
        key = (run.data, run.train.validation, reads_features(run))
        but_for_seeds = run._replace(train=replace(run.train, seed=0), warm_start=())
        if but_for_seeds not in refused:
            try:
                if key not in datasets:
                    console.say(f"reading {run.data.dataset} ...")
                    datasets[key] = open_data(run)
                    describe(datasets[key])
                    say_validated(run, datasets[key])
                _, model, *_ = set_up(run, datasets[key], judged, mesh)
                refused[but_for_seeds], learns[but_for_seeds] = None, model.learn
            except InputError as error:
                if not optional:
                    raise
                console.say(f"left out: {folder.parent.name} ({error})")
                refused[but_for_seeds] = error
        if refused[but_for_seeds] is None:
            run = run._replace(train=settled(run.train, learns[but_for_seeds]))
            check_claim(folder, run, datasets[key].fingerprint)
            for start in map(Path, run.warm_start):
                if start not in runs and not (folder / "checkpoints").is_dir():  # there it has started
                    check_trained(start, "warm_start")
            jobs[folder] = Job(run, datasets[key])
    if not jobs:
        raise next(error for error in refused.values() if error is not None)
    return jobs


def say_validated(run: Run, dataset: Dataset) -> None:
    """Say so where validation ranks for a sample of the users, and how much longer the test of all of them takes."""
    sample, everyone = users_validated(run, dataset), len(np.unique(dataset.valid.users))
    if 0 < sample < everyone:
        console.say(f"validation ranks for {sample:,} of {everyone:,} users, drawn by --split_seed (--validate_users)")
        tested = len(np.unique(dataset.test.users))
        console.say(f"the test ranks for all of its {tested:,} users: {tested / sample:,.1f} times as long, once")


def describe(dataset: Dataset) -> None:
    """Say what was read, dropped, changed and split."""
    done = cleaning(dataset)
    console.say(*dataset.inferred)
    for what, counts in (("dropped", done["removed"]), ("changed", done["changed"])):
        for rule, rows in counts.items():
            console.say(f"{what} {rows:,} rows: {rule}")
    if done["removed"]:
        console.say(f"kept {done['kept']:,} of {done['read']:,} rows")
    rows = {name: len(getattr(dataset, name).users) for name in ("train", "valid", "test")}
    if dataset.stream is not None:
        windows = f"a pass is {count_windows(dataset.stream):,} windows"
        console.say(f"{rows['train']:,} training rows stay in memory; {windows}")
        rows["train"] = int(dataset.stream.rows.sum())
    sizes = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    for side, features in (("item", dataset.features), ("user", dataset.user_features)):
        if features is not None:
            kinds = ", ".join(f"{count:,} of {kind}" for kind, count in features.kinds.items())
            again = f"; {features.repeated:,} rows of the table repeat an id, and the first counts"
            kinds = f"{kinds}; {features.missing:,} {side}s have none{again * (features.repeated > 0)}"
            console.say(f"{side} features: columns {kinds}")
    people = f"{len(dataset.user_ids):,} users, {len(dataset.item_ids):,} items"
    console.say(f"{dataset.name}: {people}; {dataset.split}: {sizes}")
