"""EASE against its closed form in float64, and SLIM against scikit-learn's elastic net, a column at a time."""

import jax
import numpy as np
import pytest
from ancf_jax.models.linear.ease_slim import EASE, SLIM, make_ease, make_slim
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet

from ancf_jax.data.interactions import build
from ancf_jax.devices import memory
from ancf_jax.models.linear import ease_slim as linear
from ancf_jax.types import Data, InputError

USERS, ITEMS = 40, 11


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of which there are several here, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("PIVOT", 4), ("SLAB", 5), ("COORDINATES", 4)):
            patch.setattr(linear, name, size)
        yield


@pytest.fixture(scope="module")
def log():
    """The 0/1 matrix [U, I] in which some items go together, and its data; user 3 has nothing, user 7 items twice."""
    rng = np.random.default_rng(0)
    taste = rng.random((USERS, 3)) ** 2 @ rng.random((3, ITEMS)) ** 2
    x = (taste > np.median(taste)) ^ (rng.random(taste.shape) < 0.1)
    x[3] = False
    users, items = np.nonzero(np.concatenate([x, x[7:8]]))
    users = np.where(users == USERS, 7, users)
    data = Data(USERS, ITEMS, build(users, items, np.ones(len(users)), np.arange(len(users)), USERS))
    return x.astype(np.float64), data


def learned(model, data):
    """The parameters after the one sweep."""
    assert model.learn.sweeps == 1
    return jax.jit(model.learn.sweep)(model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0))


def test_ease_is_its_closed_form(log):
    x, data = log
    weight = learned(make_ease(EASE(l2=3.0), data), data)["tables"]["weight"]
    p = np.linalg.inv(x.T @ x + 3.0 * np.eye(ITEMS))
    np.testing.assert_allclose(weight, np.eye(ITEMS) - p / np.diag(p), rtol=1e-4, atol=1e-5)
    assert not np.diag(weight).any()


@pytest.fixture(scope="module")
def invert():
    """The inverse of matrices [9, 9], compiled."""
    return jax.jit(linear.invert)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(0, 1000), st.floats(-3, 3))
def test_the_inverse_is_as_exact_as_the_condition_allows(invert, size, seed, spread):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    a = np.eye(9)
    a[:size, :size] = (basis * 10 ** np.linspace(0, spread, size)) @ basis.T
    a = a.astype(np.float32)
    expected = np.linalg.inv(a.astype(np.float64))
    error = np.linalg.norm(invert(a) - expected, 2) / np.linalg.norm(expected, 2)
    assert error < 4 * np.finfo(np.float32).eps * np.linalg.cond(a)


@pytest.fixture(scope="module")
def slim(log):
    """SLIM after enough sweeps, and its parameters."""
    model = make_slim(SLIM(l1=2.0, l2=1.5, sweeps=100), log[1])
    return model, learned(model, log[1])


def test_each_column_of_slim_is_an_elastic_net(log, slim):
    x, weight = log[0], np.asarray(slim[1]["tables"]["weight"])
    for item in range(ITEMS):
        others = x.copy()
        others[:, item] = 0  # so the item itself gets no weight
        net = ElasticNet(3.5 / USERS, l1_ratio=2.0 / 3.5, fit_intercept=False, positive=True, tol=1e-9, max_iter=10000)
        np.testing.assert_allclose(weight[:, item], net.fit(others, x[:, item]).coef_, atol=1e-5)
    assert not np.diag(weight).any() and 0.1 < (weight > 0).mean() < 0.7


def test_scores_are_sums_of_the_weights_of_the_history(slim, ask):
    model, params = slim
    histories = [[2, 5], [], [0], [10, 3, 1, 3]]
    query = ask([USERS, USERS, 0, 1], histories, 4, ITEMS)
    weight = params["tables"]["weight"]
    expected = [sum((weight[item] for item in set(history)), np.zeros(ITEMS)) for history in histories]
    np.testing.assert_allclose(model.score(params, query), expected, rtol=1e-6)


@pytest.mark.parametrize("make", [lambda data: make_ease(EASE(), data), lambda data: make_slim(SLIM(), data)])
def test_too_many_items_are_refused_before_anything_is_allocated(log, make, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 8 * ITEMS**2 - 1)
    with pytest.raises(InputError, match="--item_core"):
        make(log[1])
    monkeypatch.setattr(memory, "available", lambda: 8 * ITEMS**2)
    make(log[1])
