"""LightGCN against its equations, with dense matrices."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from ancf_jax.models.graph.lightgcn import Config, make
from ancf_jax.models.graph.propagation import Batch

CONFIG = Config(factors=4, layers=2, l2=0.02)


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    params = randomise(model)
    return model, params, jax.jit(model.prepare)(params, model.given)


@pytest.fixture(scope="module")
def layers(data, rows, made):
    """E^(0), E^(1), E^(2) of users and of items, in float64, and the degrees of the items."""
    a = np.zeros((data.num_users + 1, data.num_items + 1))
    for user, row in enumerate(rows):
        a[user, row] = 1
    degree = [np.maximum(a.sum(axis), 1) for axis in (1, 0)]
    a = a / np.sqrt(degree[0])[:, None] / np.sqrt(degree[1])
    user, item = (made[1]["tables"][side].astype(np.float64) for side in ("user", "item"))
    pairs = [(user, item), (a @ item, a.T @ user), (a @ a.T @ user, a.T @ a @ item)]
    users, items = zip(*pairs, strict=True)
    return users, items, degree[1]


def test_vectors_are_the_means_of_their_layers(made, layers):
    users, items, _ = layers
    np.testing.assert_allclose(made[2]["tables"]["user"], np.mean(users, 0), atol=1e-5)
    np.testing.assert_allclose(made[2]["tables"]["item"], np.mean(items, 0)[:-1], atol=1e-5)


def test_loss_is_bpr_of_the_vectors_and_l2_of_the_first_layer(made, layers):
    batch = Batch(np.array([1, 3, 1]), np.array([[0, 2], [4, 1], [7, 0]]))
    loss, sums = jax.jit(made[0].learn.loss)(made[1], made[0].given, batch, jax.random.key(0))
    users, items, _ = layers
    user, item = np.mean(users, 0)[batch.users], np.mean(items, 0)[batch.items]
    margin = (user * (item[:, 0] - item[:, 1])).sum(1)
    squares = (users[0][batch.users] ** 2).sum(1) + (items[0][batch.items] ** 2).sum((1, 2))
    np.testing.assert_allclose(loss, np.mean(np.logaddexp(0, -margin) + 0.02 * squares), rtol=1e-5)
    assert sums["count"] == 3


def test_sampled_softmax_against_several_negatives(made, layers, data):
    model = make(replace(CONFIG, loss="sampled_softmax", negatives=2), data)
    batch = Batch(np.array([1, 3, 1]), np.array([[0, 2, 5], [4, 1, 3], [7, 0, 0]]))
    loss, _ = jax.jit(model.learn.loss)(made[1], model.given, batch, jax.random.key(0))
    users, items, _ = layers
    scores = np.einsum("bd,bkd->bk", np.mean(users, 0)[batch.users], np.mean(items, 0)[batch.items])
    scores[:, 1:] += np.log((data.num_items - 1) / 2)
    squares = (items[0][batch.items] ** 2).sum(2)
    squares = (users[0][batch.users] ** 2).sum(1) + squares[:, 0] + squares[:, 1:].mean(1)
    expected = np.log(np.exp(scores).sum(1)) - scores[:, 0] + 0.02 * squares
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    sampled = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(4))
    assert sampled.items.shape == (4, 3)


def test_a_new_user_is_a_node_with_edges_to_its_history(made, layers, data, ask):
    model, _, ready = made
    histories = [[3, 0, 5], [], [1], [2, 4]]
    query = ask([data.num_users] * 3 + [1], histories, model.history)
    found, item = jax.jit(model.embed)(ready, query)
    _, items, degree = layers
    for vector, history in zip(found[:3], histories, strict=False):
        sent = [(layer[history] / np.sqrt(len(history) * degree[history])[:, None]).sum(0) for layer in items[:2]]
        np.testing.assert_allclose(vector, sum(sent) / 3, atol=1e-5)
    np.testing.assert_allclose(found[3], ready["tables"]["user"][1])  # a known user stays what was learned
    assert len(item) == data.num_items
