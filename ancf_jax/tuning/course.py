"""A trial on its way: what is reported of its epochs, when it is over, and what becomes of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ancf_jax.evaluation.metrics import merit
from ancf_jax.tuning.study import START

if TYPE_CHECKING:
    import optuna


@dataclass
class Course:
    """A trial that runs, and how it went so far."""

    trial: "optuna.Trial"
    settings: Mapping[str, Any]
    metric: str
    tell: Callable[[dict[str, Any]], None]  # is given what its validation says, and which share of its epochs is done
    best: float = -math.inf  # as `merit` has it
    epochs: int = 0
    pruned: bool = False
    capped: bool = False  # it was stopped as its time was over
    reason: str = ""  # why it failed

    @property
    def is_start(self) -> bool:
        """Whether it has the settings that the search started from."""
        return START in self.trial.user_attrs


def follow(course: Course, last: int, record: Mapping[str, Any]) -> bool:
    """Report an epoch of `last` in all; whether the trial goes on, or fails or is pruned here."""
    course.epochs = record["epoch"]
    if "wrong" in record:
        course.reason = record["wrong"]
        return False
    value = record.get(course.metric, math.nan)
    if math.isfinite(value):
        course.best = max(course.best, merit(course.metric, value))
        course.trial.report(value, course.epochs)
        course.tell({"epoch": course.epochs / last, course.metric: value})
        course.pruned = course.epochs < last and course.trial.should_prune()
    return not course.pruned


def close(study: "optuna.Study", course: Course, seconds: float) -> None:
    """Write what became of a trial; from then on it counts."""
    from optuna.trial import TrialState

    if not course.reason and not course.pruned and not math.isfinite(course.best):
        course.reason = f"the validation {course.metric} is not finite"
    marks = {"settings": dict(course.settings), "epochs": course.epochs, "seconds": seconds}
    for name, mark in (marks | {"capped": course.capped, "reason": course.reason}).items():
        if mark:
            course.trial.set_user_attr(name, mark)
    if course.reason or course.pruned:
        study.tell(course.trial, state=TrialState.FAIL if course.reason else TrialState.PRUNED)
    else:
        study.tell(course.trial, merit(course.metric, course.best))
    course.tell({"epoch": 0})  # of what is left
