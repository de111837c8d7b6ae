"""What ANCF says that each past interaction adds to a score, against the parts of the score."""

import dataclasses

import jax
import numpy as np
import pytest

from ancf_jax.models.ancf import ancf

ORDERED = ancf.Config(factors=4, history=5, heads=2, ordered=True, layers=1, negatives=2, prior_l2=2.0)


@pytest.mark.parametrize("config", [ORDERED, dataclasses.replace(ORDERED, ordered=False, history=3, user=False)])
def test_contributions_and_biases_are_the_score(data, randomise, ask, config):
    """With or without the order, whether all or a sample of the history is attended to, with the closed form."""
    model = ancf.make(config, data)
    params = randomise(model)
    weights = params["held"]["prior"]["weights"]
    weights[-1], weights[:, -1] = 0, 0
    ready = model.prepare(params, model.given)
    query, items = ask([6, 6], [[3, 1, 8, 0, 5], [2, 7]], model.history), np.array([[2, 4], [0, 8]])
    found = np.asarray(jax.jit(model.contribute)(ready, query, items))
    assert not found[query.history[:, None].repeat(2, 1) == 9].any()
    biases = params["tables"]["item_bias"][items, 0] + params["net"]["bias"]
    scores = jax.jit(model.score)(ready, query, items)
    np.testing.assert_allclose(found.sum(2) + biases, scores, rtol=1e-4, atol=1e-4)


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
