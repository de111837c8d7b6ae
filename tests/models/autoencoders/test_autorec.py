"""AutoRec against its equations."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models.autoencoders.autorec import Config, make
from ancf_jax.nn.value_heads import make_head
from ancf_jax.types import Data

USERS, ITEMS = 5, 7
# Items and values; a user has item 2 twice, and user 3 has nothing.
ROWS = [([0, 3], [5, 1]), ([2, 6, 2], [1, 3, 5]), ([5], [4]), ([], []), ([6, 1, 0, 4], [2, 2, 3, 5])]
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


def log():
    users = np.repeat(np.arange(USERS), [len(items) for items, _ in ROWS])
    items, values = (np.concatenate([row[n] for row in ROWS]) for n in (0, 1))
    return Data(USERS, ITEMS, build(users, items.astype(int), values, np.arange(len(users)), USERS))


@cache
def compiled(loss):
    model = make(Config(factors=3, loss=loss, unobserved=0.2, l2=0.7), log())
    return model, jax.jit(model.learn.loss, compiler_options=QUICK)


def matrix(loss):
    """r [U, I] and what is known of it."""
    r, known = np.zeros((USERS, ITEMS)), np.zeros((USERS, ITEMS), bool)
    for user, (items, values) in enumerate(ROWS):
        for item in items:
            mean = np.mean([value for other, value in zip(items, values, strict=True) if other == item])
            r[user, item], known[user, item] = 1 if loss == "full" else mean, True
    return r, known


def scores(params, r):
    tables = params["tables"]
    code = 1 / (1 + np.exp(-(r @ tables["item"][:-1] + params["net"]["bias"])))
    return code @ tables["output"][:-1].T + tables["output_bias"][:-1, 0]


@pytest.mark.parametrize("loss", ["observed", "full", "ordinal"])
def test_the_loss_is_the_papers_objective_over_the_number_of_users(loss, randomise):
    model, value = compiled(loss)
    params, (r, known) = randomise(model), matrix(loss)
    assert model.rates == (loss != "full") and model.learn.rows == USERS - 1
    weights, errors = np.where(known, 1, 0.2 if loss == "full" else 0), (r - scores(params, r)) ** 2
    if loss == "ordinal":
        errors = np.asarray(jax.jit(make_head(loss, log().train.values).loss)(params["net"], scores(params, r), r))
    expected = (weights * errors)[[0, 1, 2, 4]].sum()
    expected += 0.7 / 2 * sum((params["tables"][name] ** 2).sum() for name in ("item", "output"))
    batch = jax.jit(model.learn.sample)(jax.random.key(0), model.given, jnp.arange(USERS - 1))
    mean, sums = value(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose([mean, sums["loss"]], [expected / (USERS - 1), expected], rtol=1e-5)


@pytest.mark.parametrize("loss", ["observed", "full", "ordinal"])
def test_scores_are_the_reconstructed_rows(loss, randomise, ask):
    model, _ = compiled(loss)
    params, (r, _) = randomise(model), matrix(loss)
    query = ask([USERS] * USERS, [items for items, _ in ROWS], model.history, ITEMS)
    for user, (_, values) in enumerate(ROWS):
        query.values[user, model.history - len(values) :] = values
    found = jax.jit(lambda p: model.score(model.prepare(p, model.given), query), compiler_options=QUICK)(params)
    expected = scores(params, r)
    if loss == "ordinal":
        expected = jax.jit(make_head(loss, log().train.values).predict)(params["net"], expected)
    assert (model.embed is None) == (loss == "ordinal")
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_predictions_start_at_the_mean_value():
    model, _ = compiled("observed")
    init = jax.jit(model.learn.init, compiler_options=QUICK)
    bias = init(jax.random.key(0), model.given)["tables"]["output_bias"]
    np.testing.assert_allclose(bias[:-1], log().train.values.mean(), rtol=1e-6)
    assert bias[-1] == 0
