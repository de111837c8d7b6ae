"""What came of the trials of a study, and how much each setting matters."""

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from ancf_jax.evaluation.metrics import merit
from ancf_jax.tuning.study import counted

if TYPE_CHECKING:
    import optuna

FEW = 8  # trials with a value, below which nothing is said about settings
TOP = 0.25  # the share of the trials that settings are to lead to


class Trial(NamedTuple):
    """A trial that counts."""

    number: int  # from 1
    state: str  # done; capped: out of time, with its best so far; pruned: behind the median; failed
    value: float | None  # the validation metric of its best epoch
    epoch: int | None  # that epoch
    epochs: int  # the epochs that it trained
    seconds: float  # of those that were trained together, its share
    settings: dict[str, Any]
    reason: str = ""  # why it failed


def trials_of(study: "optuna.Study", metric: str) -> list[Trial]:
    """The trials that count, in their order."""
    found = []
    for number, each in enumerate(counted(study), start=1):
        marks = each.user_attrs
        state = {"COMPLETE": "capped" if marks.get("capped") else "done", "PRUNED": "pruned"}.get(each.state.name)
        values = sorted(each.intermediate_values.items()) if state else []
        epoch, value = max(values, key=lambda step: merit(metric, step[1]), default=(None, None))
        settings = {name: tuple(x) if isinstance(x, list) else x for name, x in marks.get("settings", {}).items()}
        went = (marks.get("epochs", 0), marks["seconds"], settings, marks.get("reason", ""))
        found.append(Trial(number, state or "failed", value, epoch, *went))
    return found


def best_of(trials: Sequence[Trial], metric: str) -> Trial | None:
    """The best trial that came to its end, the first of equals; None if none did."""
    ended = [each for each in trials if each.state in ("done", "capped")]
    return max(ended, key=lambda each: merit(metric, each.value), default=None)  # type: ignore[arg-type]


def table_of(trials: Sequence[Trial], metric: str) -> pd.DataFrame:
    """A row a trial, in their order."""
    rows = []
    for each in trials:
        fate = {"trial": each.number, "state": each.state, metric: each.value, "epoch": each.epoch}
        rows.append(fate | {"seconds": each.seconds} | each.settings | {"reason": each.reason})
    return pd.DataFrame(rows)


def importance_of(study: "optuna.Study", metric: str) -> dict[str, float]:
    """The share of each setting, the greatest first, in what leads to the top quarter of the trials; they sum to 1.

    PED-ANOVA: how far the density of a setting in the top quarter is from that in all trials (S. Watanabe, A. Bansal
    and F. Hutter, 2023, "PED-ANOVA: Efficiently quantifying hyperparameter importance in arbitrary subspaces"). It asks
    for the order of trials alone, so that pruned ones count too, as what they had. Empty for less than FEW trials with
    a value.
    """
    import optuna

    valued = [each for each in counted(study) if each.intermediate_values and "reason" not in each.user_attrs]
    values = [max(merit(metric, value) for value in each.intermediate_values.values()) for each in valued]
    if len(valued) < FEW or not all(map(math.isfinite, values)):
        return {}
    whole = optuna.create_study(direction="maximize")
    for each, value in zip(valued, values, strict=True):
        whole.add_trial(optuna.trial.create_trial(params=each.params, distributions=each.distributions, value=value))
    judge = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all trials are equal
        return optuna.importance.get_param_importances(whole, evaluator=judge)
