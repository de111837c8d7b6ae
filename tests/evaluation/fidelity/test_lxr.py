"""LXR: its gradient against all histories that can be drawn, and what it learns of a sum whose terms are known."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation.fidelity import lxr
from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, ClosedForm, Given, Query, Recommender
from ancf_jax.types import as_they_are as same

ITEMS, USERS, LENGTH = 24, 120, 8
LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
RNG = np.random.default_rng(0)
ROWS = np.array([RNG.permutation(ITEMS - 4)[:LENGTH] for _ in range(USERS)])  # the last four are recommended
LOG = build(np.repeat(np.arange(USERS), LENGTH), ROWS.ravel(), np.ones(ROWS.size), np.arange(ROWS.size), USERS)
HAS = np.zeros((USERS, ITEMS), np.float32)
HAS[np.arange(USERS)[:, None], ROWS] = 1
COMMON = jnp.asarray(HAS.T @ HAS)
EXPLAINED = lxr.Explained(np.arange(USERS), RNG.integers(ITEMS - 4, ITEMS, USERS))


def score(table, query, items=None):
    """The sum over the history of table[j, item]."""
    scores = table[query.history].sum(axis=1)
    return scores if items is None else jnp.take_along_axis(scores, items, axis=1)


def model_of(unit):
    return Recommender(LEARN, Given(LOG), LENGTH, same, score, unit=unit)


def padded(table):
    return jnp.asarray(np.vstack([table, np.zeros((1, ITEMS))]), jnp.float32)


@pytest.mark.parametrize("unit", [LOG_ODDS, LOG_PROBABILITY, ""])
def test_the_gradient_is_that_of_the_expected_cost(unit):
    table, unit_of = padded(RNG.normal(size=(ITEMS, ITEMS))), 0.7
    query = Query(jnp.array([USERS]), jnp.array([[ITEMS, 3, 1, 7]]), jnp.array([[0.0, 1, 1, 1]]))
    items, params = jnp.array([21]), jax.jit(lxr.init)(jax.random.key(1), COMMON)
    masks = jnp.array(list(itertools.product([False, True], repeat=3)))

    def value(kept):
        scores = (kept[:, None] * table[query.history[0, 1:]]).sum(axis=0)
        return {LOG_ODDS: jax.nn.log_sigmoid(scores), LOG_PROBABILITY: jax.nn.log_softmax(scores), "": scores}[unit][21]

    def exact(params):
        mask = jax.nn.sigmoid(lxr.logits(params, query.history, items)[0, 1:])
        chance = jnp.where(masks, mask, 1 - mask).prod(axis=1)
        costs = jax.vmap(lambda kept: lxr.NEGATIVE * value(~kept) - lxr.POSITIVE * value(kept))(masks) / unit_of
        return chance @ costs + lxr.SPARSITY * mask.mean()

    def estimate(key):
        return jax.grad(lxr._cost)(params, model_of(unit), table, query, items, unit_of, key)["out_bias"]

    found = jax.jit(jax.vmap(estimate))(jax.random.split(jax.random.key(2), 4000))
    error = np.asarray(found.std(axis=0) / len(found) ** 0.5)
    expected = np.asarray(jax.grad(exact)(params)["out_bias"])
    assert (np.abs(found.mean(axis=0) - expected) <= 4 * error + 1e-6).all() and error.max() < 0.1
    assert (expected != 0).sum() == 3


def test_it_learns_which_interactions_make_the_score():
    large = np.zeros(ITEMS, bool)
    large[::4] = True
    table = padded(np.where(large, 1.0, 0.1)[:, None] * np.ones(ITEMS))
    train = jax.tree.map(lambda column: column[:90], EXPLAINED)  # and not of those who are asked for below
    params = lxr.train(model_of(""), table, LOG, COMMON, train)
    found = np.asarray(lxr.logits(params, jnp.asarray(ROWS[90:]), jnp.asarray(EXPLAINED.items[90:])))
    first = [weights[large[row]] > weights[~large[row]].max() for weights, row in zip(found, ROWS[90:], strict=True)]
    assert np.concatenate(first).mean() > 0.95
    start = jax.jit(lxr.init)(jax.random.key(0), COMMON)
    before = np.asarray(lxr.logits(start, jnp.asarray(ROWS[90:]), jnp.asarray(EXPLAINED.items[90:])))
    chance = [weights[large[row]] > weights[~large[row]].max() for weights, row in zip(before, ROWS[90:], strict=True)]
    assert np.concatenate(chance).mean() < 0.6


def test_a_seed_decides_all(monkeypatch):
    monkeypatch.setattr(lxr, "STEPS", 3)
    table, told = padded(RNG.normal(size=(ITEMS, ITEMS))), []
    one, same, other = (
        lxr.train(model_of(LOG_ODDS), table, LOG, COMMON, EXPLAINED, seed, lambda *done: told.append(done))
        for seed in (0, 0, 1)
    )
    assert told[:3] == [(1, 3), (2, 3), (3, 3)]
    jax.tree.map(np.testing.assert_array_equal, one, same)
    assert not np.array_equal(one["both"], other["both"])
