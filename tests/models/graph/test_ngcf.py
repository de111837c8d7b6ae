"""NGCF against its equations, node by node."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ancf_jax.models.graph.ngcf import Config, make
from ancf_jax.models.graph.propagation import Batch

CONFIG = Config(factors=3, layers=2, dropout=0.0, node_dropout=0.0, l2=0.0)


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    params = randomise(model)
    return model, params, jax.jit(model.prepare)(params, model.given)


def follow(net, own, neighbours, scale):
    """The next vector of a node, message by message: W_1 e_i + W_2 (e_i * e_u), and W_1 e_u to itself."""
    total = own @ net["sum_kernel"]
    for vector, weight in zip(neighbours, scale, strict=True):
        total = total + weight * (vector @ net["sum_kernel"] + (vector * own) @ net["product_kernel"])
    return np.where(total > 0, total, 0.2 * total)


@pytest.fixture(scope="module")
def layers(rows, made):
    """Layers 0..2 of users and items [U + 1, D], [I + 1, D] in float64, and the number of users of each item."""
    users, items = (made[1]["tables"][side].astype(np.float64) for side in ("user", "item"))
    holders = [[user for user, row in enumerate(rows) if item in row] for item in range(len(items) - 1)]
    found = [(users, items)]
    for k in range(2):
        net, (users, items) = made[1]["net"][f"layer_{k}"], found[-1]
        next_users, next_items = np.zeros_like(users), np.zeros_like(items)
        for user, row in enumerate(rows):
            scale = [1 / np.sqrt(len(row) * len(holders[item])) for item in row]
            next_users[user] = follow(net, users[user], items[row], scale)
        for item, own in enumerate(holders):
            scale = [1 / np.sqrt(len(own) * len(rows[user])) for user in own]
            next_items[item] = follow(net, items[item], users[own], scale)
        found.append((next_users, next_items))
    return found, [len(own) for own in holders]


def test_vectors_are_layers_side_by_side(made, layers):
    users, items = (np.concatenate(side, 1) for side in zip(*layers[0], strict=True))
    np.testing.assert_allclose(made[2]["tables"]["user"], users, atol=1e-5)
    np.testing.assert_allclose(made[2]["tables"]["item"], items[:-1], atol=1e-5)


def test_a_new_user_receives_the_messages_of_its_history(made, layers, data, ask):
    model, params, ready = made
    history = [6, 2]
    found, _ = jax.jit(model.embed)(ready, ask([data.num_users], [history], model.history))
    parts = [np.zeros(3)]
    for k in range(2):
        scale = [1 / np.sqrt(2 * layers[1][item]) for item in history]
        parts.append(follow(params["net"][f"layer_{k}"], parts[-1], layers[0][k][1][history], scale))
    np.testing.assert_allclose(found[0], np.concatenate(parts), atol=1e-5)


@pytest.mark.parametrize("name", ["dropout", "node_dropout"])
def test_dropout_is_of_training_alone_and_follows_the_key(data, made, name):
    model = make(replace(CONFIG, **{name: 0.5}), data)
    loss = jax.jit(model.learn.loss)
    batch = Batch(np.array([1, 3]), np.array([[0, 2], [4, 1]]))
    values = [float(loss(made[1], model.given, batch, jax.random.key(seed))[0]) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    np.testing.assert_allclose(
        jax.jit(model.prepare)(made[1], model.given)["tables"]["user"], made[2]["tables"]["user"], rtol=1e-6
    )
