"""Groups of users: who is in which, and the metrics among them against those of the group's own pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ancf_jax.data.interactions import build
from ancf_jax.evaluation import metrics, value_errors
from ancf_jax.reports.groups import Groups, grouped, sections, thirds, values_within

NUMBERS = st.lists(st.integers(0, 9), min_size=1, max_size=30).map(np.array)


@given(NUMBERS)
def test_thirds_ascend_and_keep_equal_numbers_together(numbers):
    group = thirds(numbers)
    assert set(group) <= {0, 1, 2}
    order = np.argsort(numbers, kind="stable")
    assert (np.diff(group[order]) >= 0).all()
    assert all(len(set(group[numbers == number])) == 1 for number in numbers)


def test_thirds_of_different_numbers_are_equal_in_size():
    group = thirds(np.random.default_rng(0).permutation(30))
    assert np.bincount(group).tolist() == [10, 10, 10]


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae"])
def test_errors_of_a_group_are_those_of_its_pairs(metric):
    rng = np.random.default_rng(0)
    users = np.sort(rng.integers(0, 12, 60))
    values, predicted = rng.normal(size=60), rng.normal(size=60)
    held_out = build(users, np.arange(60), values, np.arange(60), 12)
    places = np.arange(60)[:, None]
    per_user = value_errors.per_user(held_out, predicted[:, None], places)
    part = np.arange(12) % 3 == 1
    found = values_within(per_user, metric, part, np.bincount(users, minlength=12))
    chosen = part[users]
    expected = float(getattr(metrics, metric)(predicted[chosen], np.asarray(held_out.values)[chosen]))
    assert found.shape == (4,) and found.mean() == pytest.approx(expected, rel=1e-5)
    alone = build(
        np.unique(users[chosen], return_inverse=True)[1], np.arange(60)[chosen], values[chosen], places[chosen, 0], 4
    )
    own = value_errors.per_user(alone, predicted[chosen][:, None], np.arange(chosen.sum())[:, None])
    np.testing.assert_allclose(found, own[metric], rtol=1e-5)


def entries():
    users = {"known_rows": np.arange(9), "held_out_rows": np.ones(9, int), "held_out_popularity": np.full(9, 7.5)}
    users["hr@10"] = np.repeat([0.2, 0.4, 0.9], 3) + np.tile([-0.1, 0, 0.1], 3)
    old = {"hr@10": np.zeros(9)}
    without = {"ndcg@10": np.zeros(9)}
    twice = [{"users": users}, {"users": users | {"hr@10": users["hr@10"] + 0.2}}]
    return {"old": [{"users": old}] * 2, "new": twice, "without": [{"users": without}] * 2}


def test_groups_are_shared_and_their_metrics_are_means_over_seeds():
    (found,) = grouped(entries(), ["hr@10"])  # all held-out items are equally popular
    assert found.title == "Users by activity" and found.sizes == [3, 3, 3]
    assert found.names == ["0 to 2", "3 to 5", "6 to 8"] and list(found.values) == ["old", "new"]
    assert found.values["old"] == [(0, 0)] * 3
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    np.testing.assert_allclose(found.values["new"], [(0.3, half), (0.5, half), (1.0, half)])
    (section,) = sections([found], ["new", "without", "old"])
    assert section.headings == ["model", "0 to 2 (3 users)", "3 to 5 (3 users)", "6 to 8 (3 users)"]
    assert [line[0] for line in section.rows] == ["new", "old"] and section.rows[0][1] == f"0.3000 ± {half:.4f}"


def test_a_single_user_has_no_interval():
    one = Groups("t", "r", "hr@10", ["1 to 1"], [1], {"mf": [(0.5, float("nan"))]})
    assert sections([one], ["mf"])[0].rows == [["mf", "0.5000"]]


def test_runs_without_the_numbers_of_users_have_no_groups():
    assert grouped({"old": entries()["old"]}, ["hr@10"]) == []
