"""GRU4Rec against a loop over steps, its equations, and what must not matter."""

import jax
import numpy as np
import pytest
from scipy.special import expit, log_expit, logsumexp, softmax

from ancf_jax.models.sequential.gru4rec import Batch, Config, make

SMALL = {"factors": 4, "history": 3, "dropout": 0.0, "negatives": 5}
CELLS = {"gru": 1, "lstm": 2}  # with layers


@pytest.fixture(scope="module", params=CELLS)
def made(data, randomise, request):
    """A model of either cell, its parameters, and its scores compiled."""
    model = make(Config(**SMALL, cell=request.param, layers=CELLS[request.param]), data)
    params = randomise(model)
    params["tables"]["item_bias"] *= 3
    score = jax.jit(lambda params, query: model.score(model.prepare(params, model.given), query))
    return model, params, request.param, score


def states(params, history, cell):
    """The states of one history without padding, step by step, by the equations of the module."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x = params["tables"]["item"][history]
    for n in range(CELLS[cell]):
        layer = params["net"][f"layer_{n}"]
        h, c, seen = np.zeros(4), np.zeros(4), []
        for step in x:
            given = np.split(step @ layer["input"]["kernel"] + layer["input"]["bias"], 3 if cell == "gru" else 4)
            past = np.split(h @ layer["recurrent_kernel"], len(given))
            if cell == "gru":
                reset, update = expit(given[0] + past[0]), expit(given[1] + past[1])
                h = (1 - update) * h + update * np.tanh(given[2] + reset * past[2])
            else:
                forget, write, output = (expit(a + b) for a, b in zip(given[:3], past[:3], strict=True))
                c = forget * c + write * np.tanh(given[3] + past[3])
                h = output * np.tanh(c)
            seen.append(h)
        x = np.array(seen)
    return x


def test_scores_are_the_last_states_products_with_the_items_and_biases(made, data, ask):
    """Histories of every length and none; padding on the left changes nothing, and users do not matter."""
    _, params, cell, score = made
    histories = [[4, 0, 7], [2, 8], [5], []]
    tables = params["tables"]
    last = [states(params, history, cell)[-1] if history else np.zeros(4) for history in histories]
    expected = np.array(last) @ tables["item"][:9].T + tables["item_bias"][:9, 0]
    found = score(params, ask([0, 3, data.num_users, 1], histories, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("loss", ["bpr_max", "sampled_softmax", "full_softmax"])
def test_the_loss_of_a_window(data, randomise, loss):
    """One whole window and one that padding begins; the last target of the first is padding."""
    model = make(Config(**SMALL, loss=loss, score_l2=0.3), data)
    params = randomise(model)
    table, bias = params["tables"]["item"], params["tables"]["item_bias"][:, 0]
    history, targets = np.array([[4, 0, 7], [9, 2, 8]]), np.array([[0, 7, 9], [9, 8, 1]])
    others = np.array([[1, 2, 3, 5, 6]] * 2, np.int32)[:, : 0 if loss == "full_softmax" else 5]
    absent = np.zeros(others.shape, bool)
    absent[:, 1:2] = True
    total = 0.0
    for row, past in enumerate(([4, 0, 7], [2, 8])):
        for place, state in enumerate(states(params, past, "gru")):
            scores, target = state @ table.T + bias, targets[row, place + 3 - len(past)]
            if target == 9:
                continue
            pool = scores[others[row][~absent[row]]]
            if loss == "full_softmax":
                total += logsumexp(scores[:9]) - scores[target]
            elif loss == "sampled_softmax":
                total += logsumexp([scores[target], logsumexp(pool) + np.log(8 / 5)]) - scores[target]
            else:
                total -= logsumexp(log_expit(scores[target] - pool), b=softmax(pool))
                total += 0.3 * softmax(pool) @ pool**2
    _, sums = jax.jit(model.learn.loss)(params, model.given, Batch(history, targets, others, absent), jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 4), rtol=1e-4)


def test_a_later_item_never_changes_an_earlier_loss(made):
    """The loss of the first two targets is the same whatever the third column of the history holds."""
    model, params, *_ = made
    loss, nothing = jax.jit(model.learn.loss), np.zeros((1, 0), np.int32)
    sums = []
    for last in (7, 5):
        batch = Batch(np.array([[4, 0, last]]), np.array([[0, 6, 9]]), nothing, nothing.astype(bool))
        sums.append(float(loss(params, model.given, batch, jax.random.key(0))[1]["loss"]))
    assert sums[0] == sums[1]
