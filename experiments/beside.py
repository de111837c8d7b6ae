"""The least that a trained model has to beat: popularity and item neighbours, on the same rows by the same metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ancf_jax.evaluation.metrics import merit
from ancf_jax.evaluation.stats import paired_tests
from ancf_jax.models import MODELS, entry_of
from ancf_jax.reports.summary import SIGNIFICANT
from ancf_jax.runs.fit import Trained, fit_run
from ancf_jax.runs.run import Run
from ancf_jax.settings import EvalConfig, TrainConfig
from ancf_jax.types import InputError
from experiments import console
from experiments.jobs import Job


def check(names: Sequence[str]) -> None:
    """Raises InputError if one of them is no registered model."""
    for name in names:
        if name not in MODELS:
            raise InputError(f"flag --beside: {name!r} is unknown; legal are registered models, or nothing")


def trained(names: Sequence[str], job: Job, evaluation: EvalConfig) -> dict[str, Trained]:
    """These models by their defaults, trained in memory on the data of the job, but for the job's own.

    One that cannot run on these data is left out, and said. A log that is streamed is passed over.
    """
    found: dict[str, Trained] = {}
    kept = ("seed", "validation", "knows", "metric", "validate_users")
    train = TrainConfig(**{name: getattr(job.run.train, name) for name in kept})
    for name in names:
        if name == job.run.model or job.dataset.stream is not None:
            continue
        try:
            run = Run(name, job.run.data, entry_of(name).config(), train)
            found[name] = fit_run(run, job.dataset, evaluation=evaluation)
        except InputError as error:
            console.say(f"left out beside it: {name} ({error})")
    return found


def compared(model: str, metric: str, done: Trained, others: Mapping[str, Trained]) -> tuple[list[str], dict[str, Any]]:
    """How the model stands in the test against each of the others, in words and as the result has it.

    By `metric`, or by ndcg@10 where that is an error of predictions, which these do not make.
    """
    said, kept = [], {}
    for name, other in others.items():
        shared = [each for each in (metric, "ndcg@10") if each in done.per_user and each in other.per_user]
        if shared:
            metric = shared[0]
            ours, theirs = done.result[metric], other.result[metric]
            p = float(paired_tests([np.atleast_2d(each.per_user[metric]) for each in (done, other)])[0, 1])
            kept[name] = {metric: theirs, "p": p}
            where = "ahead of" if merit(metric, ours) > merit(metric, theirs) else "behind"
            sure = "" if p < SIGNIFICANT else "not significantly, "
            said.append(f"{model} is {where} {name} by {metric}: {ours:.4f} against {theirs:.4f} ({sure}p = {p:.2g})")
    return said, kept
