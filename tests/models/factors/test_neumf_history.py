"""NeuMF of a history against NumPy: its scores, and a loss in which no target is part of its own user."""

import jax
import numpy as np
import pytest

from ancf_jax.models.factors import neumf_history
from ancf_jax.models.factors.ncf import NeuMF
from ancf_jax.types import InputError

CONFIG = neumf_history.Config(4, NeuMF(factors=4, tower_factors=3, tower=(6, 5), alpha=0.3, negatives=2, l2=0.02))


def forward(params, past, item):
    tables, net = params["tables"], params["net"]
    user, tower = (tables[name][list(past)].sum(0) for name in ("history", "history_tower"))
    hidden = tower @ net["tower"]["input_0"]["kernel"] + net["tower"]["input_0"]["bias"]
    hidden = np.maximum(hidden + tables["item_tower"][item] @ net["tower"]["input_1"]["kernel"], 0)
    hidden = np.maximum(hidden @ net["tower"]["layer_1"]["kernel"] + net["tower"]["layer_1"]["bias"], 0)
    product = net["product"] @ (user * tables["item"][item])
    return 0.3 * product + 0.7 * hidden @ net["hidden"] + net["bias"]


def test_scores_of_any_history(data, randomise, ask):
    model = neumf_history.make(CONFIG, data)
    params, pasts = randomise(model), [[3, 1, 8], [], [5, 5]]
    ready = jax.jit(model.prepare)(params, model.given)
    query = ask([data.num_users, 0, 1], pasts, model.history)
    expected = [[forward(params, set(past), item) for item in range(data.num_items)] for past in pasts]
    np.testing.assert_allclose(jax.jit(model.score)(ready, query), expected, rtol=1e-4, atol=1e-5)


def test_a_target_is_no_part_of_its_user(data, rows, randomise):
    model = neumf_history.make(CONFIG, data)
    params, given = randomise(model), model.given
    batch = jax.jit(model.learn.sample)(jax.random.key(0), given, np.arange(len(given.own.users)))
    found, _ = jax.jit(model.learn.loss)(params, given, batch, jax.random.key(1))
    losses = []
    for user, targets, others in zip(np.asarray(given.own.users), batch.targets, batch.negatives, strict=True):
        for target, negatives in zip(np.asarray(targets), np.asarray(others), strict=True):
            if target == data.num_items:
                continue
            past = [j for j in rows[user] if j != target]
            positive, *negative = (forward(params, past, item) for item in (target, *negatives))
            scored = [params["tables"][f"item{part}"][item] for part in ("", "_tower") for item in (target, *negatives)]
            squares = sum(
                (row**2).sum()
                for row in [*scored, *(params["tables"][f"history{part}"][target] for part in ("", "_tower"))]
            )
            losses.append(np.logaddexp(0, -positive) + np.logaddexp(0, negative).sum() + 0.02 * squares)
    assert len(losses) == sum(map(len, rows))
    np.testing.assert_allclose(found, np.mean(losses), rtol=1e-4)


def test_values_are_not_predicted():
    with pytest.raises(InputError, match="--loss"):
        neumf_history.Config(neumf=NeuMF(loss="squared"))
