"""Biased matrix factorisation against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.factors.biased_mf import Batch, Config, make
from ancf_jax.nn.value_heads import make_head

CONFIG = Config(factors=4, l2=0.02)


@pytest.fixture(scope="module")
def made(data, randomise):
    values = np.random.default_rng(1).integers(1, 6, len(data.train.values)).astype(np.float32)
    rated = data._replace(train=data.train._replace(values=values))
    model = make(CONFIG, rated)
    return model, randomise(model), rated


def predicted(params, mean):
    """r_ui [U + 1, I + 1] in float64."""
    tables = {name: np.asarray(rows, np.float64) for name, rows in params["tables"].items()}
    return mean + tables["user_bias"] + tables["item_bias"].T + tables["user"] @ tables["item"].T


def reference(params, mean, users, items, values):
    """Mean of the squared error + l2 of the squares of the two rows and biases, in float64."""
    tables = params["tables"]
    parts = [tables["user"][users], tables["item"][items], tables["user_bias"][users], tables["item_bias"][items]]
    squares = sum((np.asarray(part, np.float64) ** 2).sum(1) for part in parts)
    return np.mean((values - predicted(params, mean)[users, items]) ** 2 + 0.02 * squares)


def test_the_score_is_the_predicted_value(made, ask):
    model, params, data = made
    users = [0, 5, data.num_users]
    expected = predicted(params, data.train.values.mean())[users, :-1]
    ready = model.prepare(params, model.given)
    assert model.rates
    np.testing.assert_allclose(jax.jit(model.score)(ready, ask(users)), expected, rtol=1e-5, atol=1e-6)
    items = np.array([[3, 3], [0, 8], [1, 2]])
    given = np.take_along_axis(expected, items, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(ready, ask(users), items), given, rtol=1e-5, atol=1e-6)


def test_loss_and_gradient(made):
    """The gradient against central differences of the reference."""
    model, params, data = made
    batch = Batch(np.array([0, 1, 1, 4]), np.array([2, 0, 3, 8]), np.array([5.0, 1, 3, 4], np.float32))
    mean = data.train.values.mean(dtype=np.float64)
    grad = jax.jit(jax.value_and_grad(model.learn.loss, has_aux=True))
    (loss, sums), gradient = grad(params, model.given, batch, None)
    np.testing.assert_allclose(loss, reference(params, mean, *batch), rtol=1e-5)
    np.testing.assert_allclose(sums["loss"] / sums["count"], loss, rtol=1e-6)
    for name, row, column in [("user", 1, 2), ("item", 3, 0), ("user_bias", 4, 0), ("item_bias", 2, 0), ("item", 7, 1)]:
        values = []
        for step in (1e-4, -1e-4):
            moved = jax.tree.map(lambda x: np.array(x, np.float64), params)
            moved["tables"][name][row, column] += step
            values.append(reference(moved, mean, *batch))
        slope = (values[0] - values[1]) / 2e-4
        np.testing.assert_allclose(gradient["tables"][name][row, column], slope, rtol=1e-3, atol=1e-6)


def test_ordinal_makes_loss_and_prediction_of_the_score_without_the_mean(made, randomise, ask):
    data = made[2]
    model, head = make(Config(factors=4, l2=0.02, loss="ordinal"), data), make_head("ordinal", data.train.values)
    params, users, items = randomise(model), np.array([0, 1, 1, 4]), np.array([2, 0, 3, 8])
    scores, values = predicted(params, 0), np.array([5, 1, 3, 4], np.float32)
    penalty = reference(params, 0, users, items, scores[users, items])
    expected = jax.jit(head.loss)(params["net"], scores[users, items], values).mean() + penalty
    found, _ = jax.jit(model.learn.loss)(params, model.given, Batch(users, items, values), None)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert model.rates and model.embed is None
    for given in ((), (np.array([[3, 3], [0, 8]]),)):
        wanted = scores[[0, 5], :-1] if not given else np.take_along_axis(scores[[0, 5]], given[0], axis=1)
        found = jax.jit(model.score)(jax.jit(model.prepare)(params, model.given), ask([0, 5]), *given)
        np.testing.assert_allclose(found, jax.jit(head.predict)(params["net"], wanted), rtol=1e-5)


def test_a_batch_holds_ratings_and_a_new_item_starts_at_the_biases(made):
    model, _, data = made
    rows = np.array([3, 0, 7])
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, rows)
    for found, column in zip(batch, data.train[:3], strict=True):
        np.testing.assert_array_equal(found, column[rows])
    tables = model.learn.init(jax.random.key(0), model.given)["tables"]
    assert not tables["item"].any() and jnp.abs(tables["user"][:-1]).min() > 0
