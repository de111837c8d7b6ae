"""eSASRec against its equations in plain loops."""

import jax
import numpy as np
import pytest
from scipy.special import expit, logsumexp, softmax

from ancf_jax.config import from_json
from ancf_jax.models.sequential.esasrec import Batch, Config, GatedSelfAttention, make
from ancf_jax.types import InputError

SMALL = {"factors": 4, "history": 3, "layers": 1, "heads": 2, "dropout": 0.0, "negatives": 5}


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(Config(**SMALL), data)
    return model, randomise(model)


def norm(x, weights):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6) * weights["scale"] + weights["bias"]


def opened(x, weights):
    return expit(x @ weights["kernel"] + weights["bias"])


def states(params, history):
    """States of one history without padding: a column, a head and a past column at a time."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    net = params["net"]
    layer = net["GatedSelfAttention_0"]
    x = params["tables"]["item"][history] * 2.0 + net["position"][-len(history) :]
    parts = [np.split(norm(row, layer["norm_attention_0"]) @ layer["qkv_0"]["kernel"], 3) for row in x]
    found = []
    for t, row in enumerate(x):
        mixed = np.zeros(4)
        for head in (slice(0, 2), slice(2, 4)):
            logits = [parts[t][0][head] @ parts[s][1][head] / np.sqrt(2) for s in range(t + 1)]
            for s, weight in enumerate(softmax(logits)):
                mixed[head] += weight * parts[s][2][head]
        state = row + opened(row, layer["gate_attention_0"]) * (mixed @ layer["out_0"]["kernel"])
        normed = norm(state, layer["norm_feed_0"])
        gate, inner = normed @ layer["feed_gate_0"]["kernel"], normed @ layer["feed_in_0"]["kernel"]
        assert inner.shape == (16,)
        fed = (gate * expit(gate) * inner) @ layer["feed_out_0"]["kernel"]
        found.append(state + opened(state, layer["gate_feed_0"]) * fed)
    return np.array(found)


def test_scores_are_the_last_states_products_with_the_items(made, data, ask):
    """Histories of every length, padded on the left; users do not matter."""
    model, params = made
    histories = [[4, 0, 7], [2, 8], [5]]
    table = params["tables"]["item"]
    expected = [states(params, history)[-1] @ table[:9].T for history in histories]
    query = ask([0, 3, data.num_users], histories, 3)
    ready = model.prepare(params, model.given)
    np.testing.assert_allclose(jax.jit(model.score)(ready, query), expected, rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_window(made):
    """One whole window and one that padding begins; the last target of the first is padding."""
    model, params = made
    history, targets = np.array([[4, 0, 7], [9, 2, 8]]), np.array([[0, 7, 9], [9, 8, 1]])
    shared, table = np.array([[1, 2, 3, 5, 6]] * 2, np.int32), params["tables"]["item"]
    total = 0.0
    for past, row in (([4, 0, 7], [0, 7]), ([2, 8], [8, 1])):
        for state, target in zip(states(params, past), row, strict=False):
            scores = table @ state
            total += logsumexp([scores[target], logsumexp(scores[[1, 3, 5, 6]]) + np.log(8 / 5)]) - scores[target]
    batch = Batch(history, targets, shared, shared == 2)
    _, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 4), rtol=1e-4)


def test_a_state_hangs_on_what_came_before_alone():
    """Neither a later column nor what lies at padding changes a bit of a state."""
    encoder = GatedSelfAttention(2, 2, 0.0)
    rng = np.random.default_rng(0)
    x, mask = rng.normal(0, 1, (1, 5, 4)).astype(np.float32), np.array([[0, 1, 1, 1, 1]], bool)
    variables = encoder.init(jax.random.key(0), x, mask)
    apply = jax.jit(encoder.apply)
    before, other = np.asarray(apply(variables, x, mask)), x.copy()
    other[:, [0, 3, 4]] += 1.0
    np.testing.assert_array_equal(apply(variables, other, mask)[:, 1:3], before[:, 1:3])
    assert (np.asarray(apply(variables, other, mask))[:, 3:] != before[:, 3:]).any(axis=-1).all()


def test_it_learns_what_follows(followers_found):
    assert followers_found(make, Config(**{**SMALL, "factors": 8, "negatives": 24}, stddev=0.1)) > 0.8


def test_heads_must_divide_the_factors():
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=64"):
        from_json(Config, {"heads": 3})
