"""BPR-MF against its equations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.factors.bpr import Batch, Config, make

CONFIG = Config(factors=4, l2=0.02)


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    return model, randomise(model)


def reference(params, users, items):
    """Mean of -log sigma(s_ui - s_uj) + l2 of the squares of the triple, over all triples, in float64."""
    tables = {name: np.asarray(rows, np.float64) for name, rows in params["tables"].items()}
    losses = []
    for user, (mine, *others) in zip(users, items, strict=True):
        p, q = tables["user"][user], tables["item"]
        for other in others:
            margin = p @ (q[mine] - q[other]) + tables["item_bias"][mine, 0] - tables["item_bias"][other, 0]
            losses.append(np.logaddexp(0, -margin) + 0.02 * sum((row**2).sum() for row in (p, q[mine], q[other])))
    return np.mean(losses)


def test_the_score_is_the_inner_product_plus_the_items_bias(made, data, ask):
    model, params = made
    tables = params["tables"]
    users = [0, 5, data.num_users]
    expected = (tables["user"][users] @ tables["item"].T + tables["item_bias"][:, 0])[:, : data.num_items]
    ready = model.prepare(params, model.given)
    np.testing.assert_allclose(jax.jit(model.score)(ready, ask(users)), expected, rtol=1e-5, atol=1e-6)
    items = np.array([[3, 3], [0, 8], [1, 2]])
    given = np.take_along_axis(expected, items, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(ready, ask(users), items), given, rtol=1e-5, atol=1e-6)
    user, item = model.embed(ready, ask(users))
    np.testing.assert_allclose(user @ item.T, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("items", [[[2, 5], [0, 2], [3, 2], [8, 0]], [[2, 5, 0], [0, 2, 2], [3, 2, 5], [8, 0, 1]]])
def test_loss_and_gradient(made, items):
    """The gradient against central differences of the reference."""
    model, params = made
    users, items = np.array([0, 1, 1, 4]), np.array(items)
    grad = jax.jit(jax.value_and_grad(model.learn.loss, has_aux=True))
    (loss, sums), gradient = grad(params, model.given, Batch(users, items), None)
    np.testing.assert_allclose(loss, reference(params, users, items), rtol=1e-5)
    np.testing.assert_allclose(sums["loss"] / sums["count"], loss, rtol=1e-6)
    for name, row, column in [("user", 1, 2), ("item", 2, 0), ("item", 5, 3), ("item_bias", 2, 0), ("item", 7, 1)]:
        values = []
        for step in (1e-4, -1e-4):
            moved = jax.tree.map(lambda x: np.array(x, np.float64), params)
            moved["tables"][name][row, column] += step
            values.append(reference(moved, users, items))
        slope = (values[0] - values[1]) / 2e-4
        np.testing.assert_allclose(gradient["tables"][name][row, column], slope, rtol=1e-3, atol=1e-6)


def test_a_batch_holds_each_interaction_and_an_item_mostly_unknown(made, data, rows):
    model, _ = made
    assert model.learn.rows == len(data.train.users)
    sample = jax.jit(lambda key: model.learn.sample(key, model.given, jnp.arange(model.learn.rows)))
    draws = [sample(jax.random.key(seed)) for seed in range(30)]
    for batch in draws:
        assert (batch.users == data.train.users).all() and (batch.items[:, 0] == data.train.items).all()
    known = [int(j) in rows[u] for batch in draws for u, j in zip(batch.users, batch.items[:, 1], strict=True)]
    blind = np.mean([len(rows[u]) / data.num_items for u in data.train.users])  # without a second draw
    assert np.mean(known) < 0.75 * blind
    assert {int(j) for batch in draws for j in batch.items[:, 1]} == set(range(data.num_items))
