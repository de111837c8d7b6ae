"""GMF, MLP and NeuMF against a forward pass in NumPy, and the paper's pretraining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.factors import ncf
from ancf_jax.nn.losses import SAMPLED_LOSSES
from ancf_jax.nn.value_heads import make_head
from ancf_jax.training.checkpoint import save, warm_start
from ancf_jax.training.loop import TrainState

SIZES = {"factors": 4, "tower_factors": 3, "tower": (6, 5), "negatives": 2, "l2": 0.02}


def make(name, data, **changes):
    config, factory = {"gmf": (ncf.GMF, ncf.make_gmf), "mlp": (ncf.MLP, ncf.make_mlp), "neumf": (ncf.NeuMF, ncf.make)}[
        name
    ]
    sizes = {key: value for key, value in (SIZES | changes).items() if key in config.__dataclass_fields__}
    return factory(config(**sizes), data)


def gmf(params, user, item):
    return params["net"]["product"] @ (params["tables"]["user"][user] * params["tables"]["item"][item])


def mlp(params, user, item):
    net, tables = params["net"], params["tables"]
    hidden = np.concatenate([tables["user_tower"][user], tables["item_tower"][item]])
    first = np.concatenate([net["tower"]["input_0"]["kernel"], net["tower"]["input_1"]["kernel"]])
    hidden = np.maximum(hidden @ first + net["tower"]["input_0"]["bias"], 0)
    hidden = np.maximum(hidden @ net["tower"]["layer_1"]["kernel"] + net["tower"]["layer_1"]["bias"], 0)
    return hidden @ net["hidden"]


def forward(name, params, user, item, alpha=0.3):
    parts = {
        "gmf": lambda: gmf(params, user, item),
        "mlp": lambda: mlp(params, user, item),
        "neumf": lambda: alpha * gmf(params, user, item) + (1 - alpha) * mlp(params, user, item),
    }
    return parts[name]() + params["net"]["bias"]


@pytest.mark.parametrize("name", ["gmf", "mlp", "neumf"])
def test_scores(data, randomise, ask, monkeypatch, name):
    monkeypatch.setattr(ncf, "items_at_once", lambda floats: 4)  # three blocks, the last one not full
    model = make(name, data, alpha=0.3)
    params = randomise(model)
    users = [0, 5, data.num_users]
    expected = [[forward(name, params, user, item) for item in range(data.num_items)] for user in users]
    np.testing.assert_allclose(jax.jit(model.score)(params, ask(users)), expected, rtol=1e-4, atol=1e-5)
    items = np.array([[3, 3], [0, 8], [1, 2]])
    given = np.take_along_axis(np.array(expected), items, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(params, ask(users), items), given, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["gmf", "mlp", "neumf"])
def test_prepared_scores_are_those_of_the_parameters(data, randomise, ask, name):
    model = make(name, data, alpha=0.3)
    params, query, items = randomise(model), ask([0, 5, data.num_users]), np.array([[3, 3], [0, 8], [1, 2]])
    ready = jax.jit(model.prepare)(params, model.given)
    score = jax.jit(model.score)
    for given in ((), (items,)):
        np.testing.assert_allclose(score(ready, query, *given), score(params, query, *given), rtol=1e-6, atol=1e-6)
    if name != "gmf":
        product = params["tables"]["item_tower"] @ params["net"]["tower"]["input_1"]["kernel"]
        np.testing.assert_allclose(ready["tables"]["item_tower"].values, product, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", SAMPLED_LOSSES)
def test_losses(data, randomise, loss):
    """Each positive, in column 0, against its own N negatives, and the penalty of every scored pair's embeddings."""
    model = make("neumf", data, alpha=0.3, loss=loss)
    params = randomise(model)
    users, items = np.array([1, 4]), np.array([[2, 3, 3], [5, 7, 1]])
    total = 0.0
    for user, row in zip(users, items, strict=True):
        p, *n = (forward("neumf", params, user, item) for item in row)
        n = np.array(n)
        total += {
            "bce": np.logaddexp(0, -p) + np.logaddexp(0, n).sum(),
            "bpr": np.logaddexp(0, n - p).mean(),
            "sampled_softmax": np.log(np.exp(p) + (data.num_items - 1) / 2 * np.exp(n).sum()) - p,
        }[loss]
        for name, table in params["tables"].items():
            ids = [user] if name.startswith("user") else row
            total += 0.02 * sum((table[id] ** 2).sum() for id in ids)
    batch = ncf.Batch(users, items, np.ones(2))
    found, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose(found, total / 2, rtol=1e-4)
    assert sums["count"] == 2


@pytest.mark.parametrize(("name", "loss"), [("gmf", "squared"), ("neumf", "ordinal")])
def test_values_are_learnt_without_negatives(data, randomise, ask, name, loss):
    values = (np.arange(len(data.train.values)) % 5 + 1).astype(np.float32)
    rated = data._replace(train=data.train._replace(values=values))
    model, head = make(name, rated, alpha=0.3, loss=loss), make_head(loss, values)
    params, index = randomise(model), np.array([3, 0, 7])
    assert model.rates and model.embed is None
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, index)
    for found, column in zip(batch, data.train[:2], strict=False):
        np.testing.assert_array_equal(np.ravel(found), column[index])
    np.testing.assert_array_equal(batch.values, values[index])
    scores = [
        forward(name, params, int(user), int(item[0])) for user, item in zip(batch.users, batch.items, strict=True)
    ]
    expected = np.array(jax.jit(head.loss)(params["net"]["head"], jnp.array(scores), batch.values))
    for table, rows in params["tables"].items():
        ids = batch.users if table.startswith("user") else batch.items[:, 0]
        expected += 0.02 * (rows[ids] ** 2).sum(axis=1)
    found, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose(found, expected.mean(), rtol=1e-4)
    assert sums["count"] == 3
    items = np.array([[3, 3], [0, 8]])
    scores = [[forward(name, params, user, item) for item in row] for user, row in zip((0, 5), items, strict=True)]
    found = jax.jit(model.score)(jax.jit(model.prepare)(params, model.given), ask([0, 5]), items)
    np.testing.assert_allclose(found, jax.jit(head.predict)(params["net"]["head"], jnp.array(scores)), rtol=1e-4)


def test_batches_hold_each_interaction_and_mostly_unknown_negatives(data, rows):
    model = make("gmf", data, negatives=400)
    assert model.learn.rows == len(data.train.users)
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(model.learn.rows))
    np.testing.assert_array_equal(batch.users, data.train.users)
    np.testing.assert_array_equal(batch.items[:, 0], data.train.items)
    for user, drawn in zip(batch.users.tolist(), np.asarray(batch.items[:, 1:]), strict=True):
        q = len(rows[user]) / data.num_items  # known items are drawn again once
        np.testing.assert_allclose(np.isin(drawn, rows[user]).mean(), q**2, atol=4 * 0.5 / 20)


def test_dropout_draws_from_the_key(data, randomise):
    model = make("mlp", data, dropout=0.5)
    params, batch = randomise(model), ncf.Batch(np.array([1, 4]), np.array([[2, 3, 3], [5, 7, 1]]), np.ones(2))
    first, again, other = (
        float(jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(seed))[0]) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_pretrained_parts_are_fused_by_alpha(data, randomise, ask, tmp_path):
    """NeuMF warm-started from GMF and MLP scores alpha GMF + (1 - alpha) MLP, with the mean of their biases."""
    alpha, parts = 0.3, {name: make(name, data) for name in ("gmf", "mlp")}
    params = {name: randomise(model, seed=n) for n, (name, model) in enumerate(parts.items())}
    for name in parts:
        save(tmp_path / name, TrainState(jnp.int32(1), jax.tree.map(jnp.asarray, params[name]), ()), 0.5)
    whole = make("neumf", data, alpha=alpha)
    fresh = randomise(whole, seed=9)
    started = warm_start(fresh, [tmp_path / "gmf", tmp_path / "mlp"])
    for leaf, before in zip(jax.tree.leaves(started), jax.tree.leaves(fresh), strict=True):
        assert leaf.shape == before.shape and not np.array_equal(leaf, before)
    query = ask(range(data.num_users))
    score = {name: jax.jit(model.score) for name, model in parts.items()}
    path = {name: np.asarray(score[name](params[name], query)) - params[name]["net"]["bias"] for name in parts}
    bias = (params["gmf"]["net"]["bias"] + params["mlp"]["net"]["bias"]) / 2
    expected = alpha * path["gmf"] + (1 - alpha) * path["mlp"] + bias
    np.testing.assert_allclose(jax.jit(whole.score)(started, query), expected, rtol=1e-4, atol=1e-5)
