"""The closed form that ANCF starts from, against EASE and SLIT themselves, and in training against scoring."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.config import from_before, from_json
from ancf_jax.data.interactions import build
from ancf_jax.models.ancf import ancf, prior
from ancf_jax.models.ancf.ancf import Config
from ancf_jax.models.linear import ease, slit

SMALL = Config(factors=4, history=5, ordered=True, heads=1, prior_l2=3.0, prior_slope=0.5, dropout=0.0, negatives=6)
FREE = dataclasses.replace(SMALL, ordered=False, latest=True, targets=2)


def log_like(p, items):
    return np.arcsinh(items / 2 * np.asarray(p, np.float64))


def linear(data, ordered):
    """The closed form as the model of its own that it is, and its weights."""
    if ordered:
        model = slit.make(slit.Config(history=5, slope=0.5, l2=3.0), data)
    else:
        model = ease.make(ease.Config(l2=3.0), data)
    key = jax.random.key(0)
    return model, jax.jit(lambda: model.learn.sweep(model.learn.init(key, model.given), model.given, key))()


@pytest.mark.parametrize("ordered", [True, False])
def test_with_nothing_learnt_it_ranks_as_the_closed_form(data, ask, ordered):
    """Score minus what the rest gives, for known and unknown users, is the weight times asinh(I p / 2)."""
    config = SMALL if ordered else FREE
    model = ancf.make(config, data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    off = {**params, "net": {**params["net"], "prior": np.float32(0)}}
    twice = {**params, "net": {**params["net"], "prior": np.float32(2)}}
    histories = [[3], [], [8, 1, 4, 2, 7], [5, 0, 6]]
    score = jax.jit(lambda params, query: model.score(model.prepare(params, model.given), query))
    query = ask([6, 6, 0, 1], histories, 5)
    found = score(twice, query) - score(off, query)
    closed, weights = linear(data, ordered)
    expected = 2 * log_like(closed.score(weights, ask([6, 6, 0, 1], histories, 5)), data.num_items)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert np.ptp(expected[2]) > 0.5


@pytest.mark.parametrize("ordered", [True, False])
def test_in_training_a_user_is_scored_by_a_fit_to_the_others(data, rows, ordered):
    """The second of the fits is the first of a log that has the odd users alone."""
    made = prior.make(SMALL if ordered else FREE, data)
    users = np.repeat(np.arange(len(rows)), [len(row) * (user % 2) for user, row in enumerate(rows)])
    items = np.concatenate([row for user, row in enumerate(rows) if user % 2])
    odd = build(users, items, np.ones(len(users)), np.arange(len(users)), len(rows))
    fit = jax.jit(made.fit)
    np.testing.assert_allclose(fit(data.train, made.place)[1], fit(odd, made.place)[0], rtol=1e-4, atol=1e-6)


def test_training_scores_are_those_after_each_column(data):
    """Targets and negatives after every column, as SLIT scores that much of the window."""
    made = prior.make(SMALL, data)
    b = jax.jit(made.fit)(data.train, made.place)
    history, targets = np.array([[9, 3, 8, 0, 5], [9, 9, 9, 7, 2]]), np.array([[9, 8, 0, 5, 1], [9, 9, 9, 2, 6]])
    negatives = np.array([[2, 6, 7], [0, 8, 4]])
    b = np.asarray(b)
    ours, theirs = made.of_batch(b, made.place, np.array([0, 3]), history, targets, negatives)
    assert ours.shape == (2, 5) and theirs.shape == (2, 5, 3)
    for row, column in [(0, 1), (0, 4), (1, 3), (1, 4)]:
        seen = np.full((1, 5), 9)
        seen[0, 4 - column :] = history[row, : column + 1]
        every = made.of_history(b[[1 + row]], made.place, seen)[0]  # user 0 by the odd users, user 3 by the even ones
        np.testing.assert_allclose(ours[row, column], every[targets[row, column]], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(theirs[row, column], every[negatives[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ordered", [True, False])
def test_items_beyond_the_most_frequent_have_no_score_by_it(data, ordered):
    config = dataclasses.replace(SMALL if ordered else FREE, prior_items=4)
    made = prior.make(config, data)
    counts = np.bincount(data.train.items, minlength=data.num_items)
    known = np.flatnonzero(np.asarray(made.place)[:-1] < 4)
    assert len(known) == 4 and counts[known].min() >= np.sort(counts)[::-1][4] and made.place[-1] == 4
    b = jax.jit(made.fit)(data.train, made.place)
    scores = np.asarray(made.of_history(b, made.place, np.array([[9, *known]])))
    assert not np.delete(scores, known, axis=1).any() and scores[:, known].any()


def test_a_step_moves_its_weight_and_nothing_that_is_solved_for(data):
    model = ancf.make(SMALL, data)
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, np.arange(6))
    slope = jax.grad(lambda net: model.learn.loss({**params, "net": net}, model.given, batch, jax.random.key(2))[0])
    net = jax.jit(slope)(params["net"])
    assert abs(net["prior"]) > 1e-4 and params["held"]["prior"].shape == (3, 10, 10) and model.learn.ranks


def test_a_config_from_before_there_was_a_closed_form_is_without_one():
    before = {"factors": 8, "history": 20, "ordered": True}
    old, new = from_before(Config, before), from_json(Config, before)
    assert (old.prior, old.state, old.latest) == (0, False, True) and (new.prior, new.state, new.latest) == (
        1,
        True,
        False,
    )
