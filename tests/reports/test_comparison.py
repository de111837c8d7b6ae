"""The plots of a comparison: which there are, that their labels stay apart, and which points they mark."""

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax.reports.comparison import overview, plots, spread, undominated
from ancf_jax.reports.curves import Curve
from ancf_jax.reports.groups import Groups

PLACES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)


@given(PLACES)
def test_labels_keep_their_order_and_distance(places):
    labels = spread(places, 0.02)
    assert (labels > -1e-9).all() and (labels < 1 + 1e-9).all()
    order = np.argsort(places, kind="stable")
    assert (np.diff(labels[order]) > 0.02 - 1e-9).all()
    if len(places) == 1 or np.diff(places[order]).min() > 0.02:
        np.testing.assert_allclose(labels, places, atol=1e-9)


def test_labels_that_do_not_fit_share_the_height():
    np.testing.assert_allclose(spread(np.full(5, 0.3), 0.5), [0, 0.25, 0.5, 0.75, 1])


def test_labels_move_as_little_as_they_can():
    np.testing.assert_allclose(spread(np.array([0.5, 0.5, 0.9]), 0.2), [0.4, 0.6, 0.9])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=12))
def test_undominated_points(points):
    def beats(p, q):
        return p[0] >= q[0] and p[1] >= q[1] and p != q

    expected = [not any(beats(p, q) for p in points) for q in points]
    assert undominated(*np.array(points).T).tolist() == expected


def rows(metrics, n=3):
    return [
        {"model": f"m{k}", "training seconds": 10.0**k, "popularity@10": None if k else 5.0, "coverage@10": None}
        | {key: 0.5 + 0.1 * k for metric in metrics for key in (metric, f"{metric} ±")}
        for k in range(n)
    ]


def test_which_plots_there_are():
    metrics = ("rmse", "mae", "ndcg@10")
    table = rows(metrics)
    table[2]["ndcg@10"] = table[2]["ndcg@10 ±"] = None
    groups = [Groups("By activity", "x", "rmse", ["1", "2"], [4, 4], {"m0": [(1.0, 0.1), (2.0, float("nan"))]})]
    curves = {"m0": Curve("rmse", [(1, 2.0), (2, 1.0)], [], 2, True), "m1": Curve("rmse", [], [(1, 2.0)], 1, True)}
    found = plots(table, metrics, groups, curves)
    captions = {title: [caption for caption, _ in each] for title, each in found.items()}
    assert list(captions) == ["Test metrics", "Beyond accuracy", "By activity", "Learning curves"]
    assert [caption.split(",")[0].split(" against")[0] for caption in captions["Test metrics"]] == [
        *("Test rmse", "Test ndcg@10", "Test rmse")
    ]
    assert "lower and faster" in captions["Test metrics"][2]
    assert len(captions["Beyond accuracy"]) == 1 and captions["Learning curves"] == ["m0: epoch 2 kept"]
    assert all(b"<svg" in svg for each in found.values() for _, svg in each)


def test_one_model_that_knows_nothing_but_its_metrics():
    found = plots(rows(("ndcg@10", "hr@10"), 1)[:1], ("ndcg@10", "hr@10"), [], {})
    assert list(found) == ["Test metrics", "Beyond accuracy"]
    assert b"<svg" in overview(rows(("ndcg@10", "hr@10")), ("ndcg@10", "hr@10"))


def test_plots_need_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError):
        plots(rows(("hr@10",)), ("hr@10",), [], {})
