"""Search for good settings: python -m experiments.tune --dataset=ml-100k --models=itemknn,ease --trials=30 --minutes=2

Each name in --models is one as for experiments.compare; its settings are the first trial. Every model gets the same
number of trials and the same cap on minutes a trial, and is judged on the validation part alone. What is tried of which
setting stands beside each model's Config. The rerun of an interrupted command goes on with the study in --workdir.

At its end stand a table for each model, DATASET-MODEL.flags, the recipe of the best trial, and the study itself as
DATASET-MODEL-trials.json, .md and .svg.
"""

import math
import textwrap
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import from_flags, given_flags
from experiments import console, options


def define() -> None:
    """The flags of the data and of training, and the search's own."""
    options.define_data_and_training()
    flags.DEFINE_list("models", ["all"], "recipes or models, or all: every model", allow_override=True)
    flags.DEFINE_integer("trials", 30, "trials of each model, in all", lower_bound=1, allow_override=True)
    minutes = "after which a trial is stopped at its next epoch, its best so far counted (0: never)"
    flags.DEFINE_float("minutes", 0.0, minutes, lower_bound=0, allow_override=True)
    together = "trials of a small model that are trained at once, alike in all but numbers, by one program"
    flags.DEFINE_integer("together", 1, together, lower_bound=1, allow_override=True)
    flags.DEFINE_string("workdir", "", "where the studies are kept", allow_override=True)
    flags.DEFINE_string("recipes", "", "where recipes are written (empty: --workdir)", allow_override=True)
    flags.DEFINE_string("results", "", "where tables of trials are written (empty: --workdir)", allow_override=True)


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.metrics import merit
from ancf_jax.models import MODELS
from ancf_jax.reports import study as report
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.results import fingerprint_of, provenance
from ancf_jax.runs.run import as_json, open_data, reads_features
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.training import checkpoint
from ancf_jax.tuning.search import Found, Search, go_on, look
from ancf_jax.tuning.study import FILE
from ancf_jax.types import InputError
from experiments import recipe
from experiments.console.text import plain
from experiments.jobs import describe

IDLE = ("tensorboard", "knows", "own_metric", "clip_predictions")  # what no search reads


def searches_of(names: Mapping[str, str], root: Path, optional: bool) -> dict[str, Search]:
    """The searches of recipes or models, label -> name, checked before the first one starts.

    If `optional`, a model that cannot run on these data is left out, and said. What a recipe starts from is trained
    last of all. Raises InputError for models that would go by other rows or another metric, or would not fit.
    """
    given = flags.FLAGS
    dataset = given.train_path or given.dataset or DataConfig().dataset
    shared, starts = recipe.given_of(DataConfig, TrainConfig), root / "starts"
    seed = from_flags(TrainConfig).seed
    wanted = {root / label: recipe.run_of(name, dataset, shared, seed, starts) for label, name in names.items()}
    datasets: dict[Any, Dataset] = {}
    found: dict[str, Search] = {}
    alike: dict[str, tuple[str, str]] = {}
    jobs = recipe.with_starts(wanted, dataset, shared, starts)
    for folder, run in wanted.items():
        if not run.train.validation and "validation" not in given_flags():
            run = run._replace(train=replace(run.train, validation=True))
        key, label = (run.data, reads_features(run)), folder.name
        try:
            if key not in datasets:
                console.say(f"reading {run.data.dataset} ...")
                datasets[key] = open_data(run)
                describe(datasets[key])
            judged = from_flags(EvalConfig)
            each = Search(run, datasets[key], given.minutes, root / FILE, label, given.together, judged)
            done = len(look(each).trials)
        except InputError as error:
            if not optional:
                raise
            console.say(f"left out: {label} ({error})")
            continue
        if done:
            console.say(f"{label}: {done} trials are done")
        found[label] = each
        alike[label] = (fingerprint_of(datasets[key], "train", "valid"), run.train.metric)
    check_alike(alike)
    for folder, run in jobs.items():
        if folder not in wanted:
            console.say(f"{folder.parent.name} is trained first, in {folder}: others start from it")
            progress = partial(console.progress, folder.parent.name)
            fit_run(run, open_data(run), folder, progress=progress, command=console.command("experiments.tune"))
    return found


def check_alike(found: Mapping[str, tuple[str, str]]) -> None:
    """Raises InputError unless all models go by the same rows and metric."""
    first = next(iter(found), "")
    for label, (rows, metric) in found.items():
        if rows != found[first][0]:
            raise InputError(f"--models: {first} and {label} read other rows; give all of them the same flags of data")
        if metric != found[first][1]:
            raise InputError(
                f"--models: {first} goes by {found[first][1]} and {label} by {metric}, so they cannot share a table; "
                "give --metric, or search them apart"
            )


def main() -> dict[str, Any]:
    """Go on with every search, and write what they came to."""
    given = flags.FLAGS
    idle = [flag for flag in IDLE if flag in given_flags()]
    if idle:
        raise InputError(f"--{idle[0]}: no search reads it; leave it out")
    every = given.models == ["all"]
    names = list(MODELS) if every else given.models
    labels = {recipe.label_of(name): name for name in names}
    if len(labels) < len(names):
        raise InputError(f"--models: two of {', '.join(names)} would have one name in the table")
    dataset = given.train_path or given.dataset or DataConfig().dataset
    root = Path(given.workdir or f"checkpoints/tune-{Path(dataset).name}")
    searches = searches_of(labels, root, every)
    if not searches:
        raise InputError("--models: none of them can be searched on these data")
    started, found, written = time.monotonic(), {}, {}
    for number, (label, each) in enumerate(searches.items(), start=1):
        series = console.Series(number, len(searches), started) if len(searches) > 1 else None
        try:
            found[label] = go_on(each, given.trials, partial(console.progress, label, series=series, what="trial"))
        except KeyboardInterrupt:
            show(label, look(each))
            raise
        show(label, found[label])
        written[label] = write(label, found[label], each.dataset, root)
    return summary(found, written, root)


def show(label: str, found: Found) -> None:
    """Print the settings of the best trials, and how much each of them matters."""
    section = report.settings(found)
    console.table(section.headings[:-1], [row[:-1] for row in section.rows], f"{label}, on validation alone")
    console.say(f"{label}: {report.counts(found)}")
    for each in found.trials:
        if each.state == "failed":
            console.say(f"trial {each.number} failed: {each.reason}")


def write(label: str, found: Found, dataset: Dataset, root: Path) -> str:
    """The trials as JSON, Markdown and a picture, and the recipe of the best: its path, or '' if there is none."""
    given, run = flags.FLAGS, found.start
    results, recipes = Path(given.results or root), Path(given.recipes or root)
    head = {
        "dataset": dataset.name,
        "split": dataset.split,
        "model": run.model,
        "metric": found.metric,
        "seed": run.train.seed,
        "minutes": given.minutes,
        "command": console.command("experiments.tune"),
        **provenance(),
    }
    head["versions"] |= {"optuna": version("optuna")}
    name = f"{Path(dataset.name).stem}-{label}"
    content = head | {
        "start": as_json(run),
        "space": {setting: report.searched(each) for setting, each in found.space.items()},
        "importance": found.importance,
        "best": found.best and found.best.number,
        "trials": [each._asdict() for each in found.trials],
    }
    checkpoint.write_json(results / f"{name}-trials.json", plain(content))
    picture = f"{name}-trials.svg"
    try:
        checkpoint.write_text(results / picture, report.plot(found).decode())
    except ImportError:
        console.say("no picture: install the package with its [report] extra (matplotlib)")
        picture = ""
    title = f"{label} on {dataset.name}: {len(found.trials)} trials"
    checkpoint.write_text(results / f"{name}-trials.md", report.page(title, found, head, picture))
    console.say(f"wrote {results}/{name}-trials.json, .md and .svg")
    if found.best is None or found.run is None:
        return ""
    path = recipes / f"{name}.flags"
    now, first = (report.figure(each.value) for each in (found.best, found.trials[0]))
    said = (
        f"{label} on {dataset.name}, {dataset.split}: the best of {report.counts(found)}. Validation {found.metric} "
        f"{now}, {first} at the start; seed {run.train.seed}: "
    )
    lines = textwrap.wrap(said + head["command"], 118, break_long_words=False, break_on_hyphens=False)
    flagged = recipe.flags_of(found.run, root / "starts", found.space)
    checkpoint.write_text(path, "\n".join([*(f"# {line}" for line in lines), *flagged]) + "\n")
    console.say(f"wrote {path}")
    return str(path)


def summary(found: Mapping[str, Found], written: Mapping[str, str], root: Path) -> dict[str, Any]:
    """Print a line for each model, the best first, and return them."""
    metric = next(iter(found.values())).metric
    rows, models = [], dict[str, dict[str, Any]]()
    for label, each in found.items():
        states = [trial.state for trial in each.trials]
        value, start = each.best and each.best.value, each.trials[0].value
        number = each.best and each.best.number
        seconds = sum(trial.seconds for trial in each.trials)
        fates = (len(states), states.count("pruned"), states.count("failed"))
        rows.append((label, value, start, number, *fates, f"{seconds / 60:.1f}"))
        settings = each.best.settings if each.best else None
        models[label] = {
            metric: value,
            "start": start,
            "trials": len(states),
            "settings": settings,
            "recipe": written[label],
        }
    rows.sort(key=lambda row: -math.inf if row[1] is None else merit(metric, row[1]), reverse=True)
    if len(rows) > 1:
        columns = ("model", metric, "start", "best trial", "trials", "pruned", "failed", "minutes")
        console.table(columns, rows, f"best of each model on validation, by {metric}")
    best = rows[0][0]
    return {"best": best, metric: models[best][metric], "models": models, "workdir": str(root)}


if __name__ == "__main__":
    console.run(define, main)
