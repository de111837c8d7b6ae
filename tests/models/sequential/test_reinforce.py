"""REINFORCE: the gradient against the published estimator in NumPy, returns, and what the policy says of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ancf_jax.models.sequential.reinforce import Batch, Config, discounted, make
from ancf_jax.types import Query

SMALL = {"factors": 4, "history": 3, "dropout": 0.0}
HISTORY, ACTIONS = np.array([[4, 0, 7], [9, 2, 8]]), np.array([[0, 7, 9], [9, 8, 1]])  # 9 is padding
RETURNS = np.array([[5.0, 1.0, 0.0], [0.0, 2.0, 3.5]], np.float32)


@pytest.fixture(scope="module")
def made(data, randomise):
    """A model, and parameters whose policy and behaviour differ much."""
    model = make(Config(**SMALL), data)
    params = randomise(model)
    params["tables"]["behaviour"] *= 3
    return model, params


@pytest.fixture(scope="module")
def pull(made):
    """A compiled function from a cotangent of the states to the states [B, H, D] and the gradients by net and items."""
    model, params = made

    def states(net, item):
        changed, columns = {"net": net, "tables": params["tables"] | {"item": item}}, []
        for column in range(3):
            history = np.full_like(HISTORY, 9)
            history[:, 2 - column :] = HISTORY[:, : column + 1]
            ready = model.prepare(changed, model.given)
            columns.append(model.embed(ready, Query(np.zeros(2, int), history, history))[0])
        return jnp.stack(columns, axis=1)

    @jax.jit
    def pull(cotangent):
        found, back = jax.vjp(states, params["net"], jnp.asarray(params["tables"]["item"]))
        return found, *back(cotangent)

    return pull


@pytest.mark.parametrize(("slate", "cap"), [(1, 1e6), (3, 1.2)])
def test_the_gradient_is_the_published_estimator(data, made, pull, slate, cap):
    """- w lambda R grad log pi for the net and the items, - grad log beta for the behaviour's items and no more."""
    model, params = make(Config(**SMALL, slate=slate, cap=cap), data), made[1]
    batch = Batch(HISTORY, ACTIONS, RETURNS)
    gradient = jax.jit(jax.grad(model.learn.loss, has_aux=True))
    found, sums = gradient(params, model.given, batch, jax.random.key(0))
    item, behaviour = (params["tables"][name][:9].astype(float) for name in ("item", "behaviour"))
    states = np.asarray(pull(np.zeros((2, 3, 4), np.float32))[0], float)
    by_states, by_item, by_behaviour = np.zeros((2, 3, 4), np.float32), np.zeros((10, 4)), np.zeros((10, 4))
    total, capped = 0.0, 0
    for b, p in zip(*np.nonzero(ACTIONS < 9), strict=True):
        s, a = states[b, p], ACTIONS[b, p]
        pi, beta = softmax(item @ s), softmax(behaviour @ s)
        scale = min(pi[a] / beta[a], cap) * slate * (1 - pi[a]) ** (slate - 1) * RETURNS[b, p]
        capped += pi[a] / beta[a] > cap
        by_states[b, p] = -scale * (item[a] - pi @ item) / 4
        by_item[:9] -= scale * np.outer(np.eye(9)[a] - pi, s) / 4
        by_behaviour[:9] -= np.outer(np.eye(9)[a] - beta, s) / 4
        total -= scale * log_softmax(item @ s)[a] + log_softmax(behaviour @ s)[a]
    assert capped < 4 and (capped > 0) == (cap == 1.2)
    _, net, through = pull(by_states)
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 4), rtol=1e-5)
    expected = {"net": net, "tables": {"item": by_item + through, "behaviour": by_behaviour}}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected)


def test_returns_are_discounted_sums_of_what_the_user_does_later(data):
    train = data.train._replace(values=np.random.default_rng(0).integers(1, 6, len(data.train.items)))
    np.testing.assert_array_equal(discounted(train, 0.0), train.values)
    for discount in (0.5, 1.0):
        expected = [
            sum(discount ** (n - row) * train.values[n] for n in range(row, train.offsets[user + 1]))
            for row, user in enumerate(train.users)
        ]
        np.testing.assert_allclose(discounted(train, discount), expected, rtol=1e-6)


def test_a_batch_holds_each_item_with_the_return_that_it_brought(data):
    values = np.arange(1.0, len(data.train.items) + 1, dtype=np.float32)  # a row's value names the row
    train = data.train._replace(values=values)
    model = make(Config(**SMALL), data._replace(train=train))
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, np.arange(model.learn.rows))
    batch = jax.tree.map(np.asarray, batch)
    places = np.nonzero(batch.actions < 9)
    rows = batch.returns[places].astype(int) - 1
    assert len(rows) > 8
    np.testing.assert_array_equal(batch.actions[places], train.items[rows])
    np.testing.assert_array_equal(batch.history[places], train.items[rows - 1])


def test_propensities_are_the_two_softmaxes_of_the_state(made, ask):
    model, params = made
    query, items = ask([0, 1], [[4, 0, 7], [2]], 3), np.tile(np.arange(9), (2, 1))

    @jax.jit
    def ask_all(params):
        ready = model.prepare(params, model.given)
        return model.propensities(ready, query, items), model.score(ready, query), model.embed(ready, query)[0]

    (log_pi, log_beta), scores, state = ask_all(params)
    np.testing.assert_allclose(log_pi, log_softmax(scores, axis=1), rtol=1e-5, atol=1e-6)
    of_behaviour = state @ params["tables"]["behaviour"][:9].T
    np.testing.assert_allclose(log_beta, log_softmax(of_behaviour, axis=1), rtol=1e-5, atol=1e-6)
