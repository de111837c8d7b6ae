"""Learning curves: what is read from a run's records, and what is said of curves of known shape."""

import numpy as np
import pytest

from ancf_jax.reports.curves import Curve, curve, drawn, section, trend

EPOCHS = np.arange(1, 31)
RISING = 0.01 * EPOCHS
SATURATED = 0.3 * (1 - np.exp(-EPOCHS / 4))
OVERFIT = SATURATED - 0.005 * np.maximum(EPOCHS - 12, 0)


def shaped(values, metric="ndcg@10", full=True):
    points = list(zip(EPOCHS.tolist(), np.asarray(values).tolist(), strict=True))
    return Curve(metric, [(1, 3.0), (2, 2.0)], points, 1, full)


def test_a_curve_is_read_from_records():
    records = [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0, "ndcg@10": 0.1, "hr@10": 0.5}]
    result = {"config": {"train": {"metric": "hr@10", "epochs": 2}}, "best_epoch": 2}
    found = curve(records, result)
    assert found == Curve("hr@10", [(1, 3.0), (2, 2.0)], [(2, 0.5)], 2, True)
    assert not curve(records, result | {"epochs_per_pass": 5}).full
    records[1]["rmse"] = 0.9
    assert curve(records, result).values == [(2, 0.9)]
    assert curve(records, result).metric == "rmse"


@pytest.mark.parametrize(
    ("values", "metric", "full", "expected"),
    [
        (RISING, "ndcg@10", True, "rising"),
        (RISING, "ndcg@10", False, ""),  # it stopped early, so more epochs would not be used
        (1 - RISING, "rmse", True, "rising"),
        (RISING, "rmse", True, "falling"),
        (SATURATED, "ndcg@10", True, ""),
        (OVERFIT, "ndcg@10", True, "falling"),
        (1 - OVERFIT, "rmse", True, "falling"),
        (np.full(30, 0.2), "ndcg@10", True, ""),
        (SATURATED + 0.004 * (-1) ** EPOCHS, "ndcg@10", True, ""),  # noise
    ],
)
def test_trends_of_known_shapes(values, metric, full, expected):
    assert trend(shaped(values, metric, full)) == expected


def test_a_fall_that_early_stopping_ends_at_once_is_no_overfitting():
    assert trend(Curve("ndcg@10", [], [(1, 0.1), (2, 0.3), (3, 0.2)], 2, False)) == ""


def test_sentences_name_the_models():
    point = Curve("ndcg@10", [], [(1, 0.1)], 1, True)
    curves = {"mf": shaped(OVERFIT), "bpr": shaped(RISING), "gmf": shaped(OVERFIT), "ease": point}
    (found,) = section(curves, seeds=2)
    first, falling, rising, single = found.note.splitlines()
    assert "Seed 0" in first and falling.startswith("Overfitting") and "mf, gmf" in falling
    assert "bpr" in rising and "more epochs" in rising and single.endswith("ease.")
    assert list(drawn(curves)) == ["mf", "bpr", "gmf"]
    assert "No validation metric got worse" in section({"a": shaped(SATURATED)}, 1)[0].note
    assert section({"ease": point}, 1) == []
