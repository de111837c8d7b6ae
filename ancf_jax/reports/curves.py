"""Learning curves: the training loss and the validation metric of a run by epoch, and what they say of its fit."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ancf_jax.evaluation.metrics import merit
from ancf_jax.reports.page import Section

NOTABLE = 0.05  # of a curve's range: what a fall or rise over the last third must exceed


class Curve(NamedTuple):
    """How a run learnt."""

    metric: str  # of validation
    losses: list[tuple[int, float]]  # epoch, training loss
    values: list[tuple[int, float]]  # epoch, validation metric
    best: int  # the epoch that was kept
    full: bool  # whether it trained all epochs that it was given


def curve(records: Sequence[Mapping[str, Any]], result: Mapping[str, Any]) -> Curve:
    """The curve of a run: `records` are the lines of its metrics.jsonl, `result` is its result.json.

    Its validation metric is rmse where the model predicts values, and else the one that picks its epoch.
    """
    train = result["config"]["train"]
    metric = "rmse" if any("rmse" in record for record in records) else train["metric"]
    losses, values = (
        [(record["epoch"], record[name]) for record in records if name in record] for name in ("loss", metric)
    )
    full = records[-1]["epoch"] >= train["epochs"] * result.get("epochs_per_pass", 1)
    return Curve(metric, losses, values, result["best_epoch"], full)


def drawn(curves: Mapping[str, Curve]) -> dict[str, Curve]:
    """Those that are more than a point."""
    return {name: each for name, each in curves.items() if max(len(each.losses), len(each.values)) > 1}


def trend(curve: Curve) -> str:
    """'falling' where the validation metric got worse over the last third of the epochs, which is overfitting,
    'rising' where it still got better when all epochs were over, and else ''.

    Least squares over the last third, of three evaluations at least, must move by more than NOTABLE of the curve's
    range; and the best value must come before it, or last.
    """
    if len(curve.values) < 3:
        return ""
    epochs, values = np.array(curve.values, np.float64).T
    merits = merit(curve.metric, 1.0) * values
    late = epochs > epochs[-1] * 2 / 3
    late[-3:] = True
    slope = np.polyfit(epochs[late], merits[late], 1)[0]
    change = slope * np.ptp(epochs[late]) / (np.ptp(merits) or 1.0)
    best = int(np.argmax(merits))
    if change < -NOTABLE and not late[best]:
        return "falling"
    return "rising" if change > NOTABLE and best == len(merits) - 1 and curve.full else ""


def section(curves: Mapping[str, Curve], seeds: int) -> list[Section]:
    """What the curves say, in words; nothing where none is more than a point."""
    shown = drawn(curves)
    if not shown:
        return []
    sentences = ["By epoch; the dotted line is the epoch that was kept." + (" Seed 0." if seeds > 1 else "")]
    trends = {name: trend(each) for name, each in shown.items()}
    falling, rising = ([name for name in shown if trends[name] == kind] for kind in ("falling", "rising"))
    if falling:
        sentences.append(
            f"Overfitting: the validation metric got worse over the last third of the epochs of {', '.join(falling)}. "
            "What is tested is the epoch that was kept."
        )
    if rising:
        sentences.append(
            f"Still learning: the validation metric was getting better to the last epoch of {', '.join(rising)}, so "
            "more epochs may help."
        )
    if not falling and not rising and any(each.values for each in shown.values()):
        sentences.append("No validation metric got worse over the last third of the epochs, or better to the last one.")
    if others := [name for name in curves if name not in shown]:
        sentences.append(f"Of a single epoch or sweep: {', '.join(others)}.")
    return [Section("Learning curves", [], [], "\n".join(sentences))]
