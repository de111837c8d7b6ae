"""The Python face: what the scripts do, from a notebook. Nothing here needs a command line, and numbers are the same.

>>> import pandas as pd, ancf_jax
>>> log = pd.DataFrame({"who": list("aaabbbcccddd"), "what": list("xyzxywxzwyzw")})
>>> dataset = ancf_jax.load(log, user="who", item="what")
>>> dataset.item_ids.tolist(), len(dataset.train.users)
(['w', 'x', 'y', 'z'], 4)
>>> fitted = ancf_jax.fit("itemknn", dataset, neighbours=2)
>>> sorted(fitted.evaluate())[:3]
['auc', 'coverage@10', 'gini@10']
>>> fitted.recommend(["a"], top_k=1)[["user", "item", "rank"]].values.tolist()
[['a', 'w', 1]]
>>> fitted.recommend(history=["x", "z"], top_k=2)["item"].tolist()
['w', 'y']
>>> ancf_jax.fit("itemknn", dataset, neighbors=2)
Traceback (most recent call last):
    ...
ancf_jax.types.InputError: argument neighbors: not a setting of itemknn or of training; did you mean neighbours?
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pandas as pd

from ancf_jax.config import from_json, settings_of
from ancf_jax.data.dataset import Dataset, fold_validation, from_source
from ancf_jax.data.dataset import load as load_dataset
from ancf_jax.data.read.sources import source_of
from ancf_jax.files import read_json
from ancf_jax.fitted import Fitted, in_arguments
from ancf_jax.models import MODELS, entry_of
from ancf_jax.reports.summary import summarise
from ancf_jax.runs.fit import Progress, Trained, fit_run, silent
from ancf_jax.runs.knowledge import check_alike, rows_of
from ancf_jax.runs.run import Run, check_streams, open_trained
from ancf_jax.settings import IN_MEMORY, DataConfig, EvalConfig, TrainConfig
from ancf_jax.tuning.search import Search, go_on
from ancf_jax.tuning.study import FILE
from ancf_jax.tuning.trials import table_of
from ancf_jax.types import InputError

__all__ = ["Dataset", "Fitted", "InputError", "Tuned", "compare", "fit", "load", "open_run", "tune"]
COLUMNS = {"user": "user_column", "item": "item_column", "value": "value_column", "time": "time_column"}


@in_arguments()
def load(
    data: str | Path | pd.DataFrame,
    *,
    user: str = "",
    item: str = "",
    value: str = "",
    time: str = "",
    features: bool = False,
    **settings: Any,
) -> Dataset:
    """Read, clean, encode and split a log.

    Args:
        data: a file or a folder of files, the name of a data set such as "ml-100k", or a DataFrame.
        user: the column of the user ids; "user" if not given.
        item: the column of the item ids; "item" if not given.
        value: the column of ratings or quantities; every row counts 1 without it.
        time: the column of times; the rows' order counts without it.
        features: whether to read what is known of items and users, for models that need it (content, hybrid).
        settings: further fields of settings.DataConfig, such as split="time" or items_path="products.csv".

    Raises InputError, one line that names the file, argument, column or row.
    """
    columns = {COLUMNS[side]: name for side, name in zip(COLUMNS, (user, item, value, time), strict=True) if name}
    _known("load", settings, DataConfig)
    if isinstance(data, pd.DataFrame):
        config = from_json(DataConfig, {"dataset": IN_MEMORY, **columns, **settings})
        return from_source(source_of(data, config), config, features)
    return load_dataset(from_json(DataConfig, {"dataset": str(data), **columns, **settings}), features=features)


@in_arguments()
def fit(
    model: str | ModuleType | Callable[..., Any],
    dataset: Dataset,
    *,
    epochs: int | None = None,
    seed: int = 0,
    workdir: str | Path | None = None,
    progress: Progress = silent,
    **hyperparameters: Any,
) -> Fitted:
    """Train a model, pick its best epoch on the validation part, and test it.

    Args:
        model: the name of a registered model, a module that has Config and make, or such a `make`.
        dataset: what `load` returned.
        epochs: passes over the training rows; the model's usual number if not given.
        seed: of initialisation, order and sampling.
        workdir: where the run is kept, and resumed from if it is there already; without it nothing is written.
        progress: a function of the number of epochs that gives a context of report(record), called after each epoch.
        hyperparameters: fields of the model's Config, of settings.TrainConfig and of settings.EvalConfig, such as
            learning_rate=0.01 or ks=(5, 12).

    Raises InputError for what is no setting or no legal value, FloatingPointError where the loss is not finite.
    """
    run, judged = _asked(model, dataset, epochs, seed, **hyperparameters)
    trained = fit_run(
        run,
        dataset if run.train.validation else fold_validation(dataset),
        None if workdir is None else Path(workdir),
        evaluation=judged,
        command=f"ancf_jax.fit({run.model!r}, ...)",
        progress=progress,
    )
    return Fitted(trained)


@in_arguments()
def open_run(workdir: str | Path, data_dir: str = "") -> Fitted:
    """The best model of a run that `fit` or a script trained in a folder. Raises InputError if there is none."""
    folder = Path(workdir)
    opened, done = open_trained(folder, data_dir), folder / "result.json"
    return Fitted(Trained(*opened, {}, read_json(done) if done.exists() else {}))


@in_arguments()
def compare(
    models: Sequence[str] | Mapping[str, Mapping[str, Any]],
    dataset: Dataset,
    *,
    seeds: int = 1,
    metrics: Sequence[str] = ("ndcg@10", "hr@10"),
    workdir: str | Path | None = None,
    **hyperparameters: Any,
) -> pd.DataFrame:
    """Train several models with several seeds and table their test metrics, best first.

    Args:
        models: names, or label -> settings of `fit`, among them model="ancf" where the label is not the model's name.
        dataset: what `load` returned.
        seeds: runs of each model, with seeds 0, 1, ...
        metrics: the columns; the first orders the rows and is tested.
        workdir: where the runs are kept, as LABEL/SEED.
        hyperparameters: settings of `fit` that all models get.

    Nothing is trained but `models`, in their order: what one starts from by warm_start=FOLDER is trained before, or is
    one before it.

    Returns a row a model: the mean of each metric with the half width of its 95% interval beside it, and the models
    that it is ahead of with p < .05, see reports.summary.summarise; and the trained models that it starts from. Raises
    InputError, before any is trained, if the models would not know or be tested on the same rows, and as `fit` does.
    """
    named = models if isinstance(models, Mapping) else {name: {} for name in models}
    wanted = {label: {"model": label, **hyperparameters, **own} for label, own in named.items()}
    known = {}
    for label, settings in wanted.items():
        asked = {name: value for name, value in settings.items() if name != "progress"}
        known[label] = rows_of(_asked(dataset=dataset, **asked)[0], dataset)
    check_alike(known)
    entries: dict[str, list[dict[str, Any]]] = {}
    for label, settings in wanted.items():
        folders = [None if workdir is None else Path(workdir, label, str(seed)) for seed in range(seeds)]
        fits = [fit(dataset=dataset, seed=seed, workdir=folder, **settings) for seed, folder in enumerate(folders)]
        entries[label] = [{**one.result, "users": one.trained.per_user} for one in fits]
    rows = summarise(entries, metrics)
    shown = ["model", *(name for metric in metrics for name in (metric, f"{metric} ±")), "epochs", "training seconds"]
    more = {"ahead of": "ahead_of", "starts from": "starts_from"}
    table = [{name: row[name] for name in shown} | {name: row[key] for name, key in more.items()} for row in rows]
    return pd.DataFrame(table)


class Tuned(NamedTuple):
    """What `tune` found."""

    settings: dict[str, Any]  # for `fit`, which comes to `value` with them
    value: float  # the validation metric of the best trial
    trials: pd.DataFrame  # a row a trial: state, value, epoch, seconds, settings, and why it failed
    importance: dict[str, float]  # the share of each setting in what is good; empty where too few trials tell


@in_arguments()
def tune(
    model: str | ModuleType | Callable[..., Any],
    dataset: Dataset,
    *,
    trials: int = 30,
    minutes: float = 0.0,
    together: int = 1,
    epochs: int | None = None,
    seed: int = 0,
    workdir: str | Path | None = None,
    progress: Progress = silent,
    **hyperparameters: Any,
) -> Tuned:
    """Search for good settings of a model on the validation part alone, see tuning/search.py.

    Args:
        model: as for `fit`.
        dataset: what `load` returned.
        trials: how many settings are tried, those that are kept in `workdir` already among them.
        minutes: when a trial is stopped at its next epoch, with its best so far; 0 never.
        together: how many trials of a small model are trained at once, alike in all but numbers: tuning/together.py.
        epochs: of each trial at most; the model's usual number if not given.
        seed: of the draws, and of each trial's training.
        workdir: where the study is kept, and gone on with if it is there already; without it nothing is written.
        progress: as for `fit`, of trials.
        hyperparameters: settings of `fit`: those of the first trial, and of all where nothing else is tried of them.

    Raises InputError as `fit` does, and FloatingPointError if no trial came to its end.
    """
    run, judged = _asked(model, dataset, epochs, seed, **hyperparameters)
    path = None if workdir is None else Path(workdir, FILE)
    search = Search(run, dataset, minutes, path, together=together, evaluation=judged)
    found = go_on(search, trials, progress)
    if found.best is None or found.run is None or found.best.value is None:
        raise FloatingPointError(f"no trial of {run.model} came to its end: {found.trials[-1].reason}")
    given = hyperparameters | ({} if epochs is None else {"epochs": epochs})
    capped = {"until": found.run.train.until} if found.run.train.until else {}
    settings = given | found.best.settings | capped
    return Tuned(settings, found.best.value, table_of(found.trials, found.metric), found.importance)


def _asked(
    model: str | ModuleType | Callable[..., Any],
    dataset: Dataset,
    epochs: int | None = None,
    seed: int = 0,
    **hyperparameters: Any,
) -> tuple[Run, EvalConfig]:
    """The run that `fit` is asked for, and how it is evaluated."""
    name = model if isinstance(model, str) else _name_of(model)
    config, given = entry_of(name).config, dict(hyperparameters)
    start = given.pop("warm_start", ())
    _known(name, given, config, TrainConfig, EvalConfig)
    training, judged = (
        {key: given.pop(key) for key in list(given) if key in settings_of(cls)} for cls in (TrainConfig, EvalConfig)
    )
    training |= {"seed": seed} | ({} if epochs is None else {"epochs": epochs})
    paths = tuple(map(str, [start] if isinstance(start, str | Path) else start))
    run = Run(name, dataset.config, from_json(config, given), from_json(TrainConfig, training), paths)
    check_streams(run)
    return run, from_json(EvalConfig, judged)


def _name_of(model: ModuleType | Callable[..., Any]) -> str:
    """The name of a registered model's module or `make`, or the module of one from outside."""
    module = model.__name__ if isinstance(model, ModuleType) else model.__module__
    make = "make" if isinstance(model, ModuleType) else model.__name__
    found = (name for name, entry in MODELS.items() if (entry.module, entry.make_name) == (module, make))
    return next(found, module)


def _known(whose: str, given: Mapping[str, Any], *classes: type) -> None:
    """Raises InputError for a name that is no setting of these dataclasses."""
    names = [name for cls in classes for name in settings_of(cls)]
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; legal are {', '.join(names)}"
            raise InputError(f"argument {name}: not a setting of {whose}{' or of training' * (len(classes) > 1)}{hint}")
