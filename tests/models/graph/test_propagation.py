"""Propagation against dense matrices, on a graph with a repeated pair, a user and an item without edges."""

import jax
import numpy as np

from ancf_jax.data.interactions import build
from ancf_jax.models.graph.propagation import Nodes, drop, edges, graph_of, propagation
from ancf_jax.types import Data

USERS, ITEMS = 4, 5
PAIRS = [(0, 0), (0, 2), (0, 2), (1, 2), (3, 0), (3, 1), (3, 2), (3, 4)]  # not user 2, not item 3


def graph() -> tuple[Data, np.ndarray]:
    """The data, and D^-1/2 A D^-1/2 over all users and then all items, the unknown user and the padding among them."""
    users, items = np.array(PAIRS).T
    a = np.zeros((USERS + 1 + ITEMS + 1,) * 2)
    a[users, USERS + 1 + items] = a[USERS + 1 + items, users] = 1
    root = np.sqrt(np.maximum(a.sum(0), 1))
    train = build(users, items, np.ones(len(users)), np.arange(len(users)), USERS)
    return Data(USERS, ITEMS, train), a / root / root[:, None]


def normal(seed: int) -> Nodes:
    users, items = np.split(np.random.default_rng(seed).normal(size=(USERS + ITEMS + 2, 3)), [USERS + 1])
    return Nodes(users.astype(np.float32), items.astype(np.float32))


def test_propagation_and_its_gradient_are_the_symmetric_product():
    data, dense = graph()
    found, gradient = jax.vjp(jax.jit(propagation(graph_of(edges(data)))), normal(0))
    np.testing.assert_allclose(np.concatenate(found), dense @ np.concatenate(normal(0)), atol=1e-6)
    (back,) = gradient(normal(1))
    np.testing.assert_allclose(np.concatenate(back), dense.T @ np.concatenate(normal(1)), atol=1e-6)
    assert not found.users[2:3].any() and not found.items[3:4].any()


def test_edges_are_distinct_pairs():
    data, _ = graph()
    assert {(u, i): v for u, i, v in zip(*edges(data).nonzero(), edges(data).data, strict=True)} == dict.fromkeys(
        PAIRS, 1
    )


def test_dropout_needs_a_key():
    x = np.ones((40, 50), np.float32)
    np.testing.assert_array_equal(drop(x, 0.4, None), x)
    dropped = np.asarray(drop(x, 0.4, jax.random.key(0)))
    assert abs((dropped == 0).mean() - 0.4) < 0.06 and np.allclose(dropped[dropped > 0], 1 / 0.6)
