"""HSTU against its equations in plain loops."""

from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import expit, logsumexp

from ancf_jax.config import from_json
from ancf_jax.models.sequential.hstu import Batch, Config, PointwiseAttention, make
from ancf_jax.types import InputError

SMALL = {"factors": 4, "history": 3, "layers": 2, "heads": 2, "dropout": 0.0, "negatives": 5, "temperature": 0.2}


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(Config(**SMALL), data)
    return model, randomise(model)


def norm(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-6)


def silu(x):
    return x * expit(x)


def block(x, net, n):
    """One block over states [T, 4] without padding: a column, a head and a past column at a time."""
    parts = [np.split(silu(norm(row) @ net[f"uvqk_{n}"]["kernel"]), 4) for row in x]  # u, v, q, k
    found = []
    for t, row in enumerate(x):
        gathered = np.zeros(4)
        for head in (slice(0, 2), slice(2, 4)):
            for s in range(t + 1):
                logit = parts[t][2][head] @ parts[s][3][head] + net[f"recency_{n}"][t - s]
                gathered[head] += silu(logit) / (t + 1) * parts[s][1][head]
        found.append(row + (norm(gathered) * parts[t][0]) @ net[f"out_{n}"]["kernel"] + net[f"out_{n}"]["bias"])
    return np.array(found)


def directions(params, history):
    """The states of one history without padding, at length 1, over the temperature."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    net = params["net"]
    x = params["tables"]["item"][history] * 2.0 + net["position"][-len(history) :]
    for n in range(2):
        x = block(x, net["PointwiseAttention_0"], n)
    return x / np.linalg.norm(x, axis=1, keepdims=True) / 0.2


def unit_items(params):
    table = np.asarray(params["tables"]["item"], np.float64)[:-1]
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def test_scores_are_cosines_over_the_temperature(made, data, ask):
    """Histories of every length, padded on the left; users do not matter."""
    model, params = made
    histories = [[4, 0, 7], [2, 8], [5]]
    expected = [directions(params, history)[-1] @ unit_items(params).T for history in histories]
    query = ask([0, 3, data.num_users], histories, 3)
    found = jax.jit(lambda params, query: model.score(model.prepare(params, model.given), query))(params, query)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("loss", ["full_softmax", "sampled_softmax"])
def test_the_loss_of_a_window(data, randomise, loss):
    """One whole window and one that padding begins; the last target of the first is padding."""
    model = make(Config(**SMALL, loss=loss), data)
    params = randomise(model)
    history, targets = np.array([[4, 0, 7], [9, 2, 8]]), np.array([[0, 7, 9], [9, 8, 1]])
    shared = np.array([[1, 2, 3, 5, 6]] * 2, np.int32)[:, : 5 if loss == "sampled_softmax" else 0]
    absent = shared == 2
    total = 0.0
    for past, row in (([4, 0, 7], [0, 7]), ([2, 8], [8, 1])):
        for state, target in zip(directions(params, past), row, strict=False):
            scores = unit_items(params) @ state
            if loss == "full_softmax":
                total += logsumexp(scores) - scores[target]
            else:
                total += logsumexp([scores[target], logsumexp(scores[[1, 3, 5, 6]]) + np.log(8 / 5)]) - scores[target]
    batch = Batch(history, targets, shared, absent)
    _, sums = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 4), rtol=1e-4)


def test_padding_has_no_part_in_the_gradient(made):
    """A target that is padding has the zero row, whose direction has no derivative: it must not become nan."""
    model, params = made
    batch = Batch(np.array([[9, 9, 7]]), np.array([[9, 9, 9]]), np.array([[1, 2]]), np.zeros((1, 2), bool))

    @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling takes longer than running
    @jax.grad
    def gradient(params):
        return model.learn.loss(params, model.given, batch, jax.random.key(0))[0]

    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(gradient(params)))


def test_a_state_hangs_on_what_came_before_alone():
    """Neither a later column nor what lies at padding changes a bit of a state."""
    encoder = PointwiseAttention(5, 2, 2, 0.0)
    rng = np.random.default_rng(0)
    x, mask = rng.normal(0, 1, (1, 5, 4)).astype(np.float32), np.array([[0, 1, 1, 1, 1]], bool)
    variables = encoder.init(jax.random.key(0), x, mask)
    apply = jax.jit(encoder.apply)
    before, other = np.asarray(apply(variables, x, mask)), x.copy()
    other[:, [0, 3, 4]] += 1.0
    np.testing.assert_array_equal(apply(variables, other, mask)[:, 1:3], before[:, 1:3])
    assert (np.asarray(apply(variables, other, mask))[:, 3:] != before[:, 3:]).any(axis=-1).all()


def test_it_learns_what_follows(followers_found):
    assert followers_found(make, Config(**{**SMALL, "factors": 8, "layers": 1}, stddev=0.1)) > 0.8


def test_heads_must_divide_the_factors():
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=50"):
        from_json(Config, {"heads": 3})
