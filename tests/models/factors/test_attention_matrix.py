"""The attention matrix against its equations, and a new user against least squares."""

import doctest
import sys
from collections import Counter

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax

from ancf_jax.models.factors.attention_matrix import RIDGE, Batch, Config, attention_matrix, make


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(Config(factors=4, history=5, l2=0.02), data)
    return model, randomise(model)


def test_the_worked_example():
    results = doctest.testmod(sys.modules[attention_matrix.__module__])
    assert results.attempted >= 3 and not results.failed


compiled = jax.jit(attention_matrix)
features = arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


@settings(max_examples=25)
@given(users=features, items=features)
def test_rows_are_distributions_that_rank_items_by_their_products(users, items):
    found = np.asarray(compiled(users, items), np.float64)
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)
    products = users.astype(np.float64) @ items.T.astype(np.float64)
    above = products[:, :, None] > products[:, None] + 1e-3 * np.abs(products).max()
    assert not (above & (found[:, :, None] < found[:, None])).any()


def test_the_loss_is_the_log_likelihood_of_the_windows(made, data):
    """Windows of 3, 5 and 0 interactions, one item twice."""
    model, params = made
    user, item = (params["tables"][name].astype(np.float64) for name in ("user", "item"))
    batch = Batch(np.array([0, 4, 2]), np.array([[9, 9, 4, 0, 7], [1, 2, 2, 8, 3], [9] * 5]))
    logs, total, pairs = log_softmax(user[:6] @ item[:9].T / 2, axis=1), 0.0, 0
    for u, row in zip(*batch, strict=True):
        for i in row[row < 9]:
            total += -logs[u, i] + 0.02 * (user[u] @ user[u] + item[i] @ item[i])
            pairs += 1
    mean, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, pairs), rtol=1e-5)
    np.testing.assert_allclose(mean, total / pairs, rtol=1e-5)


def test_windows_hold_every_interaction_once(made, data, rows):
    model, _ = made
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(model.learn.rows))
    pairs = [(int(u), int(i)) for u, row in zip(*batch, strict=True) for i in row if i < data.num_items]
    assert Counter(pairs) == Counter((u, i) for u, row in enumerate(rows) for i in row)


def test_a_new_user_is_placed_by_least_squares(made, data, rows, ask):
    """Known users have their rows; the projection is the ridge regression of these on the means of the latest 5."""
    model, params = made
    user, item = (params["tables"][name].astype(np.float64) for name in ("user", "item"))
    means = np.array([item[row[-5:]].mean(0) for row in rows])
    ridge = np.sqrt(RIDGE * np.trace(means.T @ means) / 4) * np.eye(4)
    projection = np.linalg.lstsq(np.vstack([means, ridge]), np.vstack([user[:6], np.zeros((4, 4))]), rcond=None)[0]
    new = item[[3, 8]].mean(0) @ projection
    query = ask([2, 6, 6], [[3, 8], [3, 8], []], 5)
    found, items = jax.jit(lambda params: model.embed(model.prepare(params, model.given), query))(params)
    np.testing.assert_allclose(found * 2, [user[2], new, np.zeros(4)], rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(items, params["tables"]["item"][:9])
