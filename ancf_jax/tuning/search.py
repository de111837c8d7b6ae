"""Search for good settings of a model: trials on the validation part alone, by Optuna's TPE with median pruning.

The first trial has the run's own settings, so no search ends below what it started from. A trial is trained as any run
is, but never tested: the test part is not read. It reports the validation metric of every evaluated epoch, counts with
its best, and is pruned where that is behind the median of the others at the same epoch, after the first trials and the
first quarter of the epochs. (Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011; Golovin et al., Google
Vizier, 2017.)

What is repeatable: a trial draws by the seed and by how many trials count before it, and training is what it is in a
run of its own. So on one kind of device the same search comes to the same trials, and one that is interrupted and
resumed to those of one that is not; another version of Optuna may draw others. What the clock decides is not
repeatable: with `minutes`, where a trial is cut off, and hence what follows it.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ancf_jax.config import Space
from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.metrics import merit
from ancf_jax.runs.fit import Progress, Report, learn, prepare, silent
from ancf_jax.runs.results import DEFAULT
from ancf_jax.runs.run import Run
from ancf_jax.settings import EvalConfig
from ancf_jax.training.loop import last_epoch
from ancf_jax.tuning.space import of_one_shape, space_of, values_of, with_settings
from ancf_jax.tuning.study import START, ask, asked_of, counted, opened, put_off, suggested, take_up
from ancf_jax.tuning.trials import Trial, best_of, importance_of, trials_of
from ancf_jax.types import InputError, Recommender

if TYPE_CHECKING:
    import optuna


class Search(NamedTuple):
    """What is searched, and where the study is kept."""

    run: Run  # what is trained, and the settings of the first trial
    dataset: Dataset
    minutes: float = 0.0  # when a trial is stopped at its next epoch, with its best so far; 0: never
    path: Path | None = None  # an SQLite file, whose study is gone on with; None: in memory alone
    name: str = ""  # of the study in the file
    evaluation: EvalConfig = DEFAULT


class Found(NamedTuple):
    """What a search has come to."""

    start: Run
    space: Space
    metric: str  # of validation
    trials: list[Trial]
    importance: dict[str, float]  # of each setting, the greatest first; empty where too few trials tell
    best: Trial | None  # None if no trial came to its end
    run: Run | None  # the run with the best settings, which comes to the value of that trial


def go_on(search: Search, trials: int, progress: Progress = silent) -> Found:
    """Try settings until `trials` trials count, those of earlier processes among them; one where nothing is searched.

    `progress` is given the number of trials, and yields what is told of each epoch: `epoch` is how many trials are
    done, a part of the running one among them; beside it stand the trial's value and the best.

    Raises InputError for a run that does not fit its data, for a study of something else, and for less trials than are
    done.
    """
    run = search.run
    if trials < 1 or search.minutes < 0:
        raise InputError("flags --trials, --minutes: legal are at least 1 and at least 0")
    with _opened(search) as (model, space, study):
        start, done = values_of(run, model), len(counted(study))
        total = trials if space else 1
        if done > total:
            raise InputError(f"flag --trials: {done} trials are done already; legal are at least as many")
        take_up(study, space, start)
        with progress(total) as told:
            for number in range(done, total):
                trial = ask(study, run.train.seed)
                settings = suggested(trial, space, run)
                if START in trial.user_attrs:
                    settings = {name: start[name] for name in space}
                try:
                    _try(search, study, trial, settings, partial(_tell, told, study, run.train.metric, number))
                except BaseException:
                    put_off(study, space, trial)
                    raise
        return _found(run, space, study)


def look(search: Search) -> Found:
    """What a search has come to so far. Raises InputError as `go_on` does."""
    with _opened(search) as (_, space, study):
        return _found(search.run, space, study)


@contextmanager
def _opened(search: Search) -> Iterator[tuple[Recommender, Space, "optuna.Study"]]:
    """The model of the start, the space, and the study."""
    run, dataset = search.run, search.dataset
    if not run.train.validation:
        raise InputError("flag --validation: a search goes by the validation part, so it cannot be trained on")
    if run.data.stream:
        raise InputError("flag --stream: a search needs the whole log in memory")
    _, model, _ = prepare(run, dataset, search.evaluation)
    space = space_of(run, model)
    space = of_one_shape(run, dataset, space) if run.warm_start else space
    asked = asked_of(run, space, dataset.fingerprint, search.minutes)
    with opened(search.path, search.name or run.model, asked, last_epoch(model.learn, run.train) // 4) as study:
        yield model, space, study


def _try(
    search: Search, study: "optuna.Study", trial: "optuna.Trial", settings: Mapping[str, Any], tell: Report
) -> None:
    """Train and validate the run with these settings, and say in the study what came of it."""
    from optuna.trial import TrialState

    started, metric, epochs = time.monotonic(), search.run.train.metric, 0
    trial.set_user_attr("settings", dict(settings))
    best, reason, state = -math.inf, "", TrialState.COMPLETE

    def late() -> bool:
        over = 0 < search.minutes * 60 < time.monotonic() - started
        if over:
            trial.set_user_attr("capped", True)
        return over

    def watch(record: dict[str, Any]) -> None:
        nonlocal best, epochs
        epochs = record["epoch"]
        if metric in record and math.isfinite(record[metric]):
            best = max(best, merit(metric, record[metric]))
            trial.report(record[metric], epochs)
            tell({"epoch": epochs / last, metric: record[metric]})
            if epochs < last and trial.should_prune():
                raise Behind

    try:
        run = with_settings(search.run, settings)
        _, model, on_valid = prepare(run, search.dataset, search.evaluation)
        last = last_epoch(model.learn, run.train)
        learn(run, search.dataset, model, on_valid, watch=watch, stop=late)
        reason = "" if math.isfinite(best) else f"the validation {metric} is not finite"
    except Behind:
        state = TrialState.PRUNED
    except (InputError, FloatingPointError) as error:
        if isinstance(error, InputError) and START in trial.user_attrs:
            raise
        reason = str(error)
    trial.set_user_attr("epochs", epochs)
    if reason:
        trial.set_user_attr("reason", reason)
        state = TrialState.FAIL
    value = merit(metric, best) if state == TrialState.COMPLETE else None
    study.tell(trial, value, state=state)
    tell({"epoch": 1})


class Behind(Exception):
    """The trial is behind the median of the others."""


def _tell(told: Report, study: "optuna.Study", metric: str, number: int, record: dict[str, Any]) -> None:
    """Tells of the trial after `number` others, beside the best so far."""
    values = [each.value for each in counted(study) if each.state.name == "COMPLETE"]
    values += [record[metric]] if metric in record else []
    best = {"best": max(values, key=partial(merit, metric))} if values else {}
    told(record | {"epoch": number + record["epoch"]} | best)


def _found(run: Run, space: Space, study: "optuna.Study") -> Found:
    metric = run.train.metric
    trials = trials_of(study, metric)
    best, importance = best_of(trials, metric), importance_of(study, metric)
    if best is None:
        return Found(run, space, metric, trials, importance, None, None)
    chosen = with_settings(run, best.settings)
    if best.state == "capped":
        chosen = chosen._replace(train=replace(chosen.train, until=best.epochs))
    return Found(run, space, metric, trials, importance, best, chosen)
