"""Errors of predicted values through the evaluator, against NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation import value_errors
from ancf_jax.evaluation.evaluate import make_evaluator
from ancf_jax.types import ClosedForm, Data, Given, Recommender, as_they_are

USERS, ITEMS = 7, 9
RNG = np.random.default_rng(0)
TABLE = RNG.normal(3, 1, (USERS + 1, ITEMS)).astype(np.float32)


def log(pairs):
    users, items, values = np.array(pairs, float).reshape(-1, 3).T
    return build(users.astype(int), items.astype(int), values, RNG.permutation(len(users)), USERS)


def score(table, query, items=None):
    """The table's value, plus what the latest value in the history is."""
    rows = table[query.users] + query.values
    return rows if items is None else jnp.take_along_axis(rows, items, axis=1)


TRAIN = log([(user, user, 0.25 * user) for user in range(USERS - 1)])  # the last user is unknown to training
MODEL = Recommender(ClosedForm(1, None, None), Given(TRAIN), 1, as_they_are, score, rates=True)
HELD = [(user, item, RNG.integers(1, 6)) for user in (0, 2, 3, 6) for item in RNG.permutation(ITEMS)[: 2 * user]]
HELD += [(2, 2, 4.5), HELD[0], (5, 0, 1.0)]  # an item seen before, a pair twice, a user with one


def expected(pairs):
    """The error of each pair, from loops."""
    return [
        TABLE[USERS if user == 6 else user, item] + 0.25 * user * (user != 6) - value for user, item, value in pairs
    ]


def evaluate(pairs, **options):
    model = options.pop("model", MODEL)
    return make_evaluator(model, Data(USERS, ITEMS, TRAIN), TRAIN, log(pairs), ks=(1,), **options)(jnp.asarray(TABLE))


@pytest.mark.parametrize("width", [1, 3, 64])
def test_errors_are_over_all_pairs(monkeypatch, width):
    monkeypatch.setattr(value_errors, "WIDTH", width)  # users come in several windows, the earliest not full
    found = evaluate(HELD, block=4)
    error = np.array(expected(HELD))
    assert found.metrics["mse"] == pytest.approx(np.mean(error**2), rel=1e-5)
    assert found.metrics["rmse"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
    assert found.metrics["mae"] == pytest.approx(np.mean(abs(error)), rel=1e-5)
    np.testing.assert_array_equal(found.users, [2, 3, 5, 6])
    for name in ("mse", "rmse", "mae"):
        assert found.per_user[name].shape == (4,)
        assert found.per_user[name].mean() == pytest.approx(found.metrics[name])


def test_values_of_users_are_the_pull_of_each_on_the_error():
    """Against the derivative of the error by the weight of a user's pairs, times the number of users."""
    found, users = evaluate(HELD), np.array([user for user, _, _ in HELD])
    error = np.array(expected(HELD), np.float64)
    for place, user in enumerate(found.users):
        weight = np.where(users == user, 1 + 1e-6, 1.0)
        mse, mae = np.average(error**2, weights=weight), np.average(abs(error), weights=weight)
        for name, moved in (("mse", mse), ("rmse", np.sqrt(mse)), ("mae", mae)):
            whole = np.mean(abs(error)) if name == "mae" else np.mean(error**2) ** (0.5 if name == "rmse" else 1)
            pull = (moved - whole) / 1e-6 * len(found.users)
            assert found.per_user[name][place] - found.metrics[name] == pytest.approx(pull, abs=1e-4)


def test_with_one_pair_a_user_the_values_are_its_own_errors():
    pairs = [(user, user, 2.0) for user in range(USERS)]
    found, error = evaluate(pairs), np.array(expected(pairs))
    np.testing.assert_allclose(found.per_user["mse"], error**2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.per_user["mae"], abs(error), rtol=1e-4, atol=1e-5)


def test_only_models_that_predict_values_have_errors_and_only_by_full_ranking():
    pairs = [(user, 0, 2.0) for user in range(USERS)]
    candidates = np.tile([1, 2, 0], (USERS, 1))
    for options in ({"model": MODEL._replace(rates=False)}, {"candidates": candidates}):
        assert not {"mse", "rmse", "mae"} & evaluate(pairs, **options).metrics.keys()
