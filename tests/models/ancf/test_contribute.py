"""What ANCF says that each past interaction adds to a score, against the parts of the score."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.models.ancf import ancf
from ancf_jax.nn.removal import leave_one_out

ORDERED = ancf.Config(factors=4, history=5, heads=2, ordered=True, layers=1, negatives=2, prior_l2=2.0)
FREE = dataclasses.replace(ORDERED, ordered=False, history=3, user=False)
APART = dataclasses.replace(ORDERED, history=2, joint=False, taste=0.7)
FILTERED = dataclasses.replace(FREE, temperature=0.2, prior_filter=True, joint=False, prior_factors=3)

SET = dataclasses.replace(FREE, prior_next=True, joint=False, taste=0.7)
LATEST = dataclasses.replace(SET, latest=True, history=2)


@pytest.mark.parametrize("config", [ORDERED, APART, FREE, FILTERED, SET, LATEST])
def test_contributions_and_biases_are_the_score(data, randomise, ask, config):
    """With or without the order, whether all or a sample of the history is attended to, with the closed form."""
    model = ancf.make(config, data)
    params = randomise(model)
    for name, held in (pair for part in params["held"].values() for pair in part.items()):
        held[-1] = 0
        if name == "weights":
            held[:, -1] = 0
    ready = model.prepare(params, model.given)
    query, items = ask([6, 6], [[3, 1, 8, 0, 5], [2, 7]], model.history), np.array([[2, 4], [0, 8]])
    found = np.asarray(jax.jit(model.contribute)(ready, query, items))
    assert not found[query.history[:, None].repeat(2, 1) == 9].any()
    biases = ready["tables"]["item_bias"][items, 0] + params["net"]["bias"]
    scores = jax.jit(model.score)(ready, query, items)
    np.testing.assert_allclose(found.sum(2) + biases, scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("config", "again"), [(dataclasses.replace(APART, heads=0), 2.0), (APART, 0.0), (LATEST, 2.0)])
def test_falls_are_those_of_asking_again(data, randomise, ask, config, again):
    """Where EASE and repeats read the whole history, and the encoder and SLIT the latest 2."""
    model = ancf.make(dataclasses.replace(config, again=again), data)
    params = randomise(model)
    for part in params["held"].values():
        for held in part.values():
            held[-1], held[:, -1] = 0, 0
    ready = jax.tree.map(jnp.asarray, model.prepare(params, model.given))
    histories, items = [[3, 1, 8, 0, 5], [2, 7, 2, 2], [4], [6, 1, 6, 3]], np.array([[2, 4], [2, 8], [1, 0], [6, 3]])
    query = jax.tree.map(jnp.asarray, ask([6] * 4, histories, model.history))
    found = jax.jit(model.falls)(ready, query, items)
    asked = jax.jit(lambda: leave_one_out(model._replace(falls=None), 9, ready, query, items))()
    np.testing.assert_allclose(found, asked, rtol=1e-3, atol=1e-4)
    assert np.abs(found[0, :, -5]).min() > 1e-3  # before the latest 2, EASE's alone


def test_a_contribution_is_weight_times_value_on_the_item(data, randomise, ask):
    """Order-free, without projections and with one head: a_ih <w * q_i, r_h>, whichever the others are."""
    config = ancf.Config(factors=4, history=4, heads=1, ordered=False, tied=True, project=False, prior=0.0, user=False)
    model = ancf.make(config, data)
    params = randomise(model)
    query, items = ask([6], [[3, 1, 8]], model.history), np.array([[2, 4]])
    found = jax.jit(model.contribute)(params, query, items)
    paid = jax.jit(model.attend)(params, query, items)[:, :, 0]
    table = params["tables"]["item"]
    along = (table[items] * params["net"]["attended"]) @ table[query.history[0]].T
    np.testing.assert_allclose(found, paid * along, rtol=1e-4, atol=1e-5)
    assert model.additive


def test_contributions_to_a_cosine_leave_the_users_own_part(data, randomise, ask):
    """<w_g * p_u, q_i> over the same lengths and temperature."""
    model = ancf.make(dataclasses.replace(FILTERED, user=True, prior=0.0, joint=True, prior_filter=False), data)
    params = randomise(model)
    query, items = ask([1], [[3, 1, 8]], model.history), np.array([[2, 4]])
    found = np.asarray(jax.jit(model.contribute)(params, query, items))
    scores = np.asarray(jax.jit(model.score)(params, query, items))
    net, tables = params["net"], params["tables"]
    q, own = tables["item"][items[0]], tables["user"][1] * net["product"]
    left = scores - found.sum(2) - tables["item_bias"][items, 0] - net["bias"]  # <own, q> / (|z| |q| t)
    length = own @ q.T / np.linalg.norm(q, axis=1) / 0.2 / left[0]  # |z|
    assert (length > 0).all() and (abs(scores - tables["item_bias"][items, 0] - net["bias"]) <= 5 + 1e-5).all()
    attended = found[0].sum(1) * length * np.linalg.norm(q, axis=1) * 0.2  # <w_a * c_ui, q_i>
    plain = ancf.make(
        dataclasses.replace(FILTERED, user=True, prior=0.0, joint=True, prior_filter=False, temperature=0.0), data
    )
    expected = np.asarray(jax.jit(plain.contribute)(params, query, items)).sum(2)[0]
    np.testing.assert_allclose(attended, expected, rtol=1e-3)
