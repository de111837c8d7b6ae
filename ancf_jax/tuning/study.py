"""The study of one search, which Optuna keeps: in memory, or in an SQLite file that the next process goes on with.

A trial counts once it came to a value, was pruned, or failed for a reason of its own. One that was running as its
process died does not: it is marked as failed without a reason, and the next trial has its settings.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ancf_jax.config import Range, Space
from ancf_jax.evaluation.metrics import merit
from ancf_jax.files import locked
from ancf_jax.runs.run import FREE, Run, as_json
from ancf_jax.tuning.space import DIGITS, is_whole, shown
from ancf_jax.types import InputError

if TYPE_CHECKING:
    import optuna  # takes a second or two
    from optuna.trial import FrozenTrial, Trial

FILE = "studies.db"  # in a workdir
STARTUP = 5  # trials that are done before any is pruned
START = "start"  # the mark of the trial that has the run's own settings


def asked_of(run: Run, space: Space, fingerprint: str, minutes: float, together: int) -> dict[str, Any]:
    """All that a study hangs on, by the names that people know it by."""
    parts = as_json(run)
    data = {name: value for name, value in parts["data"].items() if name not in FREE["data"]}
    searched = {f"the space of {name}": each for name, each in space.items()}
    asked = {"model": run.model, "data set": fingerprint, "warm_start": parts["warm_start"]}
    asked |= {"minutes": minutes, "together": together}
    return json.loads(json.dumps({**asked, **data, **parts["train"], **parts["config"], **searched}))


@contextmanager
def opened(path: Path | None, name: str, asked: Mapping[str, Any], warmup: int) -> Iterator["optuna.Study"]:
    """The study called `name` in an SQLite file, or one in memory; no trial before epoch `warmup` is pruned.

    A new study's first trial is the start. Raises InputError without optuna ([tune]), if the file holds a study of that
    name which asks for something else, or while another process goes through it.
    """
    try:
        import optuna
    except ImportError:
        raise InputError("a search needs optuna; install the package with its [tune] extra") from None
    greater = merit(asked["metric"], 1.0) > 0
    options: dict[str, Any] = {
        "pruner": optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=warmup),
        "direction": "maximize" if greater else "minimize",
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with nullcontext() if path is None else locked(path.parent), _stored(path) as storage:
            study = optuna.create_study(storage=storage, study_name=name, load_if_exists=True, **options)
            there = study.user_attrs.get("asked", asked)
            for what in asked:
                if asked[what] != there.get(what):
                    raise InputError(
                        f"--workdir: {path} holds another study of {name}: {what} is {there.get(what)!r} there and "
                        f"{asked[what]!r} here; choose another workdir"
                    )
            study.set_user_attr("asked", dict(asked))
            yield study
    finally:
        optuna.logging.set_verbosity(verbosity)


@contextmanager
def _stored(path: Path | None) -> Iterator[Any]:
    """What Optuna keeps studies in: an SQLite file, or None for the memory."""
    import optuna
    from sqlalchemy.exc import DatabaseError

    if path is None:
        yield None
        return
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()
    except DatabaseError as error:
        raise InputError(f"--workdir: {path} is damaged or cannot be written: {error.orig}") from error


def counted(study: "optuna.Study") -> list["FrozenTrial"]:
    """The trials that count, in their order."""
    kept = ("COMPLETE", "PRUNED")
    trials = study.get_trials(deepcopy=False)
    return [each for each in trials if each.state.name in kept or "reason" in each.user_attrs]


def take_up(study: "optuna.Study", space: Space, start: Mapping[str, Any]) -> None:
    """What an interrupted process left: its trials are put off, and a start that is not done comes first."""
    from optuna.trial import TrialState

    put_off(study, space)
    waiting = study.get_trials(deepcopy=False, states=[TrialState.WAITING])
    if not any(START in trial.user_attrs for trial in (*counted(study), *waiting)):
        study.enqueue_trial({name: _as_kept(each, start[name]) for name, each in space.items()}, {START: True})


def put_off(study: "optuna.Study", space: Space) -> None:
    """Fail the trials that run, and have their settings tried again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params.keys() == space.keys() and START not in trial.user_attrs:
            study.enqueue_trial(trial.params)


def draw(
    study: "optuna.Study", space: Space, run: Run, start: Mapping[str, Any], count: int, shared: Collection[str] = ()
) -> list[tuple["Trial", dict[str, Any]]]:
    """The next trials with their settings, those in `shared` the same for all.

    What a trial tries hangs on the run's seed and on those before it alone.
    """
    import optuna

    done, drawn = len(counted(study)), list[tuple["Trial", dict[str, Any]]]()
    for number in range(done, done + count):
        if drawn and not study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.WAITING]):
            study.enqueue_trial({name: drawn[0][0].params[name] for name in shared})
        state = np.random.SeedSequence((run.train.seed, number)).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(state[0]))
        trial = study.ask()
        settings = {name: _suggest(trial, name, each, whole=is_whole(run, name)) for name, each in space.items()}
        drawn.append((trial, {name: start[name] for name in space} if START in trial.user_attrs else settings))
    return drawn


def _suggest(trial: "Trial", name: str, search: Range | tuple[Any, ...], *, whole: bool) -> Any:
    if not isinstance(search, Range):
        choices = {shown(value): value for value in search}
        return choices[trial.suggest_categorical(name, list(choices))]
    if whole:
        return trial.suggest_int(name, int(search.low), int(search.high), log=search.log)
    return float(f"{trial.suggest_float(name, search.low, search.high, log=search.log):.{DIGITS}g}")


def _as_kept(search: Range | tuple[Any, ...], value: Any) -> Any:
    """The value as Optuna keeps it: a choice by its name, a number within the range."""
    return min(max(value, search.low), search.high) if isinstance(search, Range) else shown(value)
