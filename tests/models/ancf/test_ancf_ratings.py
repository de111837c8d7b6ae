"""ANCF's predictions of values: against one pair after another in NumPy, and what a prediction may have seen."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.data.interactions import build
from ancf_jax.models.ancf.ancf_ratings import Batch, Config, inverse_of, make
from ancf_jax.types import Data, InputError, Query

USERS, ITEMS, LENGTH, HEADS = 4, 7, 5, 2
CONFIG = Config(factors=4, heads=HEADS, history=LENGTH, dropout=0.0, l2=0.0, choice_l2=0.0)
HISTORIES: list[tuple[list[int], list[float]]] = [
    ([3, 0, 6], [5.0, 1.0, 3.0]),
    ([], []),
    ([1, 2, 4, 5, 0], [4.0, 2.0, 2.0, 5.0, 1.0]),
    ([2], [4.0]),
]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(1)
    rows = [rng.permutation(ITEMS)[:count] for count in (5, 3, 1, 4)]
    users = np.repeat(np.arange(USERS), [len(row) for row in rows])
    values = rng.integers(1, 6, len(users)).astype(float)
    return Data(USERS, ITEMS, build(users, np.concatenate(rows), values, np.arange(len(users)), USERS))


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    return model, randomise(model)


def padded(histories) -> tuple[np.ndarray, np.ndarray]:
    items, values = np.full((len(histories), LENGTH), ITEMS, np.int32), np.zeros((len(histories), LENGTH), np.float32)
    for row, (past, observed) in enumerate(histories):
        items[row, LENGTH - len(past) :], values[row, LENGTH - len(past) :] = past, observed
    return items, values


def head(params, n) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, y and x = (k, constant) of head n, a row for each item, in float64."""
    tables = params["tables"]
    k, y = (tables[name].astype(np.float64).reshape(ITEMS + 1, HEADS, -1)[:, n] for name in ("item", "item_choice"))
    return k, y, np.concatenate([k, np.full((ITEMS + 1, 1), params["net"]["constant"][n])], 1)


def reference(params, data, history, values, item) -> float:
    """The prediction of one pair by the equations of the module, in float64."""
    tables, net = params["tables"], params["net"]
    mean, scale = data.train.values.mean(), data.train.values.std()
    scores = []
    for n in range(HEADS):
        k, y, x = head(params, n)
        root = np.sqrt(len(history) + 1)

        def prior(j, chosen, k=k, y=y, root=root):
            return tables["item_bias"][j, 0] + sum((y[h] @ k[j] for h in chosen), 0.0) / root

        ridge = np.exp(net["log_ridge"][n]) + np.exp(net["log_ridge_each"][n]) * len(history)
        gram = sum((np.outer(x[h], x[h]) for h in history), ridge * np.eye(x.shape[1]))
        score = prior(item, history)
        for h, value in zip(history, values, strict=True):
            others = [j for j in history if j != h]
            score += x[item] @ np.linalg.inv(gram) @ x[h] * ((value - mean) / scale - prior(h, others))
        scores.append(score)
    return mean + scale * np.mean(scores)


def test_predictions_are_those_of_the_equations(data, made):
    model, params = made
    query = Query(np.array([1, 3, USERS, 2], np.int32), *padded(HISTORIES))  # one is nobody in training
    found = jax.jit(model.score)(params, query)
    expected = [[reference(params, data, *history, item) for item in range(ITEMS)] for history in HISTORIES]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    user, item = map(np.asarray, jax.jit(model.embed)(params, query))
    np.testing.assert_allclose(user @ item.T, expected, rtol=1e-4, atol=1e-4)


def test_training_predicts_each_interaction_after_all_others(data, made):
    """The closed form against regression without that row, at the same ridge and the same (n + 1)^-1/2."""
    model, params = made
    params = {**params, "net": {**params["net"], "log_ridge_each": np.full(HEADS, -30.0)}}
    items, values = padded(HISTORIES)
    mean, sums = jax.jit(model.learn.loss)(params, model.given, Batch(items, values), jax.random.key(0))
    assert float(sums["count"]) == sum(len(past) for past, _ in HISTORIES)
    errors = []
    for past, observed in HISTORIES:
        for n in range(HEADS):
            k, y, x = head(params, n)
            z = (np.array(observed) - data.train.values.mean()) / data.train.values.std()
            prior = np.array(
                [
                    params["tables"]["item_bias"][j, 0]
                    + sum(y[h] @ k[j] for h in past if h != j) / np.sqrt(len(past) + 1)
                    for j in past
                ]
            )
            for target, j in enumerate(past):
                left = np.array([h for h in range(len(past)) if h != target], int)
                rows = x[np.array(past)[left]]
                gram = rows.T @ rows + np.exp(params["net"]["log_ridge"][n]) * np.eye(x.shape[1])
                weights = np.linalg.solve(gram, rows.T @ (z[left] - prior[left]))
                errors.append((prior[target] + x[j] @ weights - z[target]) ** 2)
    np.testing.assert_allclose(mean, np.mean(errors), rtol=1e-4)


def test_a_value_does_not_enter_its_own_prediction(data, made):
    """Adding to one value moves its own squared error as if its prediction stood still."""
    model, params = made
    loss = jax.jit(
        lambda values: model.learn.loss(params, model.given, Batch(items, values), jax.random.key(0))[1]["loss"]
    )
    items, values = padded([([4], [2.0])])
    scale = data.train.values.std()
    found = [float(loss(values + step * (items < ITEMS))) for step in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(found[2] - 2 * found[1] + found[0], 2 / scale**2, rtol=1e-3)  # of (v - constant)^2


def test_l2_weighs_every_interaction_and_head(data, made):
    model, params = made
    other = make(dataclasses.replace(CONFIG, l2=0.5, choice_l2=0.25), data)
    batch = Batch(*padded(HISTORIES))
    plain, heavy = (
        float(jax.jit(each.learn.loss)(params, each.given, batch, jax.random.key(0))[0]) for each in (model, other)
    )
    past = np.array([item for items, _ in HISTORIES for item in items])
    tables = params["tables"]
    squares = 0.5 * (tables["item"][past] ** 2).sum() + 0.25 * (tables["item_choice"][past] ** 2).sum()
    assert heavy - plain == pytest.approx(squares / HEADS / len(past), rel=1e-4)


def test_the_gradient_of_inverses():
    roots = np.random.default_rng(2).normal(size=(2, 3, 5)).astype(np.float32)
    weights = np.random.default_rng(3).normal(size=(2, 3, 3)).astype(np.float32)  # not symmetric

    def of(invert, roots):
        return (weights * invert(roots @ roots.swapaxes(1, 2) + jnp.eye(3))).sum()

    for expected, found in zip(
        *(jax.value_and_grad(of, 1)(way, roots) for way in (jnp.linalg.inv, inverse_of)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_heads_read_different_parts_of_a_window(data, made, dropout):
    """Heads that are equal have equal gradients, unless they read different values."""
    model = make(dataclasses.replace(CONFIG, dropout=dropout), data)
    tables = {
        name: table if name == "item_bias" else np.tile(table[:, :2], 2) for name, table in made[1]["tables"].items()
    }
    net = {name: np.full_like(each, each[0]) for name, each in made[1]["net"].items() if name != "head"}
    params = {"tables": tables, "net": {**net, "head": made[1]["net"]["head"]}}
    slope = jax.jit(
        jax.grad(lambda params, key: model.learn.loss(params, model.given, Batch(*padded(HISTORIES)), key)[0])
    )
    first, second = np.split(slope(params, jax.random.key(0))["tables"]["item"], HEADS, axis=1)
    assert np.isfinite(first).all()
    assert np.allclose(first, second, atol=1e-6) == (dropout == 0.0)


def test_an_item_that_training_lacks_starts_without_a_key(data):
    """So that two of them differ in nothing, whatever the history."""
    more = make(CONFIG, data._replace(num_items=ITEMS + 2))
    params = jax.jit(more.learn.init)(jax.random.key(0), more.given)
    items, values = padded(HISTORIES)
    query = Query(np.arange(4, dtype=np.int32), np.where(items == ITEMS, ITEMS + 2, items), values)
    found = np.asarray(more.score(params, query))
    np.testing.assert_array_equal(found[:, ITEMS], found[:, ITEMS + 1])
    keys = params["tables"]["item"]
    assert not keys[ITEMS:].any() and keys[:ITEMS].any(axis=1).all()


@pytest.mark.parametrize("loss", ["squared", "ordinal"])
def test_an_untrained_model_predicts_items_means(data, loss):
    model = make(dataclasses.replace(CONFIG, loss=loss), data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    found = np.asarray(jax.jit(model.score)(params, Query(np.array([USERS], np.int32), *padded([([], [])]))))[0]
    train = data.train
    mean = train.values.mean()
    expected = [mean + (train.values[train.items == j] - mean).sum() / (5 + (train.items == j).sum()) for j in range(7)]
    if loss == "squared":
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    else:
        np.testing.assert_array_equal(np.argsort(found), np.argsort(expected))


def test_every_interaction_is_in_one_window(data):
    model = make(dataclasses.replace(CONFIG, history=2), data)
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, jnp.arange(model.learn.rows))
    items, values = np.asarray(batch.items), np.asarray(batch.values)
    kept = items < ITEMS
    found = sorted(zip(items[kept], values[kept], strict=True))
    assert found == sorted(zip(data.train.items, data.train.values, strict=True))


def test_heads_share_the_factors():
    with pytest.raises(InputError, match="--heads: 3 does not divide --factors=4"):
        from_json(Config, {"factors": 4, "heads": 3})
