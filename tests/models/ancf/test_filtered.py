"""The graph filter as a closed form of ANCF, against ChebyCF itself."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.config import from_json
from ancf_jax.models.ancf import ancf, filtered
from ancf_jax.models.graph import chebycf
from ancf_jax.types import InputError

CONFIG = ancf.Config(
    factors=4,
    history=5,
    heads=1,
    ordered=False,
    joint=False,
    prior_filter=True,
    prior_flatness=2.0,
    prior_factors=3,
    temperature=0.0,
    targets=2,
)


@pytest.mark.parametrize("exponent", [0.0, 0.4])
def test_scores_are_those_of_chebycf_on_a_scale_like_a_logarithm(data, ask, exponent):
    other = chebycf.make(chebycf.Config(flatness=2.0, factors=3, normalisation=exponent), data)
    start = other.learn.init(jax.random.key(0), other.given)
    ready = other.prepare(jax.jit(other.learn.sweep)(start, other.given, jax.random.key(0)), other.given)
    query = ask([0, 6], [[3, 1, 8], [2, 7, 5, 0]], other.history)
    theirs = np.asarray(jax.jit(other.score)(ready, query))
    made = filtered.make(dataclasses.replace(CONFIG, prior_exponent=exponent), data)
    held = jax.jit(made.fit)(data.train, made.known)
    ours = jax.jit(lambda held, known, history: made.of_history(made.ready(held, known), history))
    mean = len(data.train.items) / (data.num_users * data.num_items)
    expected = np.arcsinh(theirs / (2 * mean))
    np.testing.assert_allclose(ours(held, made.known, query.history), expected, rtol=1e-3, atol=1e-4)


def test_it_is_added_to_what_was_learnt_apart(data, ask):
    """Its weight stays as given, and training does not see it."""
    model, plain = (
        ancf.make(config, data)
        for config in (CONFIG, dataclasses.replace(CONFIG, prior=0.0, joint=True, prior_filter=False))
    )
    params = jax.jit(model.learn.init)(jax.random.key(0), model.given)
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, np.arange(6))
    losses = [jax.jit(m.learn.loss)(params, m.given, batch, jax.random.key(2))[0] for m in (model, plain)]
    assert losses[0] == losses[1]
    query = ask([0], [[3, 1, 8]], model.history)
    closed = filtered.make(CONFIG, data)
    apart = jax.jit(lambda held, known: closed.of_history(closed.ready(held, known), query.history))
    added = np.asarray(apart(params["held"]["prior"], closed.known))
    score, without = (
        np.asarray(jax.jit(lambda params, given, m=m: m.score(m.prepare(params, given), query))(params, m.given))
        for m in (model, plain)
    )
    np.testing.assert_allclose(score, without + added, rtol=1e-4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"joint": True}, "flag --prior_filter: knows the rows that are learnt from; give --nojoint, to learn apart"),
        ({"ordered": True}, "flag --prior_filter: is for order-free models; give --noordered"),
        (
            {"ordered": True, "prior_filter": False, "temperature": 0.1},
            "flag --temperature: is for order-free models; give --noordered",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(data, flags, message):
    given = {"joint": False, "prior_filter": True, "ordered": False, "history": 5} | flags
    with pytest.raises(InputError, match=message):
        ancf.make(from_json(ancf.Config, given), data)
