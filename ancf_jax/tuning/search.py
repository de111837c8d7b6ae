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

import time
from collections.abc import Iterator, Sequence
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
from ancf_jax.tuning.course import Course, close, follow
from ancf_jax.tuning.space import of_one_shape, space_of, values_of, with_settings
from ancf_jax.tuning.study import asked_of, counted, draw, opened, put_off, take_up
from ancf_jax.tuning.together import Program, learn_together, numbers_in, program_of
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
    together: int = 1  # trials that are trained at once where that can be, see together.py
    evaluation: EvalConfig = DEFAULT


class Found(NamedTuple):
    """What a search has come to."""

    start: Run
    space: Space
    metric: str  # of validation
    trials: list[Trial]
    importance: dict[str, float]  # of each setting, the greatest first; empty where too few trials tell
    best: Trial | None  # None if no trial came to its end
    run: (
        Run | None
    )  # the run with the best settings, which comes to the value of that trial (together: but for rounding)


def go_on(search: Search, trials: int, progress: Progress = silent) -> Found:
    """Try settings until `trials` trials count, those of earlier processes among them; one where nothing is searched.

    `progress` is given the number of trials, and yields what is told of each epoch: `epoch` is how many trials are
    done, a part of the running one among them; beside it stand the trial's value and the best.

    Raises InputError for a run that does not fit its data, for a study of something else, and for less trials than are
    done.
    """
    run, programs = search.run, dict[str, Program]()
    if trials < 1 or search.minutes < 0 or search.together < 1:
        raise InputError("flags --trials, --minutes, --together: legal are at least 1, 0 and 1")
    with _opened(search) as (model, space, study):
        start, total = values_of(run, model), trials if space else 1
        if (done := len(counted(study))) > total:
            raise InputError(f"flag --trials: {done} trials are done already; legal are at least as many")
        numbers = numbers_in(run, search.dataset, space) if search.together > 1 else ()
        shared = [name for name in space if name not in numbers]
        take_up(study, space, start)
        with progress(total) as told:
            while (done := len(counted(study))) < total:
                count = min(search.together if numbers else 1, total - done)
                tell = partial(_tell, told, study, run.train.metric)
                drawn = draw(study, space, run, start, count, shared)
                courses = [Course(trial, settings, run.train.metric, tell) for trial, settings in drawn]
                try:
                    if count == 1 or not _at_once(search, study, courses, numbers, programs):
                        for course in courses:
                            _alone(search, study, course)
                except BaseException:
                    put_off(study, space)
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
    asked = asked_of(run, space, dataset.fingerprint, search.minutes, search.together)
    with opened(search.path, search.name or run.model, asked, last_epoch(model.learn, run.train) // 4) as study:
        yield model, space, study


def _alone(search: Search, study: "optuna.Study", course: Course) -> None:
    """Train and validate the run with the settings of one trial."""
    started = time.monotonic()

    def stop() -> bool:
        course.capped = 0 < search.minutes * 60 < time.monotonic() - started
        return course.capped

    def watch(record: dict[str, Any]) -> None:
        if not follow(course, last, record):
            raise Behind

    try:
        run = with_settings(search.run, course.settings)
        _, model, on_valid = prepare(run, search.dataset, search.evaluation)
        last = last_epoch(model.learn, run.train)
        learn(run, search.dataset, model, on_valid, watch=watch, stop=stop)
    except Behind:
        pass
    except (InputError, FloatingPointError) as error:
        if isinstance(error, InputError) and course.is_start:
            raise
        course.reason = str(error)
    close(study, course, time.monotonic() - started)


class Behind(Exception):
    """The trial is behind the median of the others."""


def _at_once(
    search: Search,
    study: "optuna.Study",
    courses: Sequence[Course],
    numbers: Sequence[str],
    programs: dict[str, Program],
) -> bool:
    """Train and validate the run with the settings of several trials, if that can be: whether it could.

    `programs` keeps the program of the last batch, by what its trials shared.
    """
    started, limit = time.monotonic(), 60 * search.minutes * len(courses)
    shared = [{name: each for name, each in course.settings.items() if name not in numbers} for course in courses]
    if any(each != shared[0] for each in shared):
        return False
    late: list[bool] = []

    def stop() -> bool:
        late.append(0 < limit < time.monotonic() - started)
        return late[-1]

    try:
        run = with_settings(search.run, shared[0])
        if repr(shared[0]) not in programs:
            programs.clear()
            programs[repr(shared[0])] = program_of(run, search.dataset, search.evaluation)
        program = programs[repr(shared[0])]
        last = last_epoch(program.model.learn, run.train)
        batch = [{name: course.settings[name] for name in numbers} for course in courses]
        learn_together(program, run, batch, watch=lambda k, record: follow(courses[k], last, record), stop=stop)
    except (InputError, TypeError):  # illegal, or a program that hangs on a number after all
        for course in courses:
            course.reason = ""
        return False
    for course in courses:
        course.capped = any(late) and course.epochs == len(late)
        close(study, course, (time.monotonic() - started) / len(courses))
    return True


def _tell(told: Report, study: "optuna.Study", metric: str, record: dict[str, Any]) -> None:
    """Tells of a trial that runs, beside the best so far; `epoch` becomes how many trials are done."""
    running, ended = sum(each.state.name == "RUNNING" for each in study.get_trials(deepcopy=False)), counted(study)
    values = [each.value for each in ended if each.state.name == "COMPLETE"]
    values += [record[metric]] if metric in record else []
    best = {"best": max(values, key=partial(merit, metric))} if values else {}
    told(record | {"epoch": len(ended) + running * record["epoch"]} | best)


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
