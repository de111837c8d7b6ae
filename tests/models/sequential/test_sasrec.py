"""SASRec against an independent forward pass and its equations."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from ancf_jax.config import from_json
from ancf_jax.models.sequential.sasrec import LOSSES, Batch, Config, make
from ancf_jax.types import InputError

SMALL = {"factors": 4, "history": 3, "layers": 1, "heads": 1, "dropout": 0.0, "negatives": 5}


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(Config(**SMALL), data)
    return model, randomise(model)


def norm(x, weights):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * weights["scale"] + weights["bias"]


def states(params, history):
    """States of one history without padding: one block, one head, by the equations of the paper."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    net, table = params["net"], params["tables"]["item"]
    block = net["SelfAttention_0"]
    x = table[history] * 2.0 + net["position"][-len(history) :]
    q, k, v = np.split(norm(x, block["norm_attention_0"]) @ block["qkv_0"]["kernel"], 3, axis=-1)
    logits = np.where(np.tri(len(history), dtype=bool), q @ k.T / 2.0, -np.inf)
    weights = np.exp(logits - logsumexp(logits, axis=-1, keepdims=True))
    x = x + weights @ v @ block["out_0"]["kernel"]
    inner = norm(x, block["norm_feed_0"]) @ block["feed_in_0"]["kernel"] + block["feed_in_0"]["bias"]
    x = x + np.maximum(inner, 0) @ block["feed_out_0"]["kernel"] + block["feed_out_0"]["bias"]
    return norm(x, block["norm"])


def test_scores_are_the_last_states_products_with_the_items(made, data, ask):
    """Histories of every length, padded on the left; users do not matter."""
    model, params = made
    histories = [[4, 0, 7], [2, 8], [5]]
    table = params["tables"]["item"]
    expected = [states(params, history)[-1] @ table[: data.num_items].T for history in histories]
    query = ask([0, 3, data.num_users], histories, 3)
    ready = model.prepare(params, model.given)
    np.testing.assert_allclose(jax.jit(model.score)(ready, query), expected, rtol=1e-4, atol=1e-5)
    items = np.array([[3, 3], [0, 8], [1, 2]])
    given = np.take_along_axis(np.array(expected), items, axis=1)
    np.testing.assert_allclose(jax.jit(model.score)(ready, query, items), given, rtol=1e-4, atol=1e-5)


def states_by_code(params, history, length):
    """States of one history by the blocks of the authors' code, zeros before it for padding."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    net, table = params["net"], params["tables"]["item"]
    block, padding = net["CodeBlocks_0"], length - len(history)
    present = (np.arange(length) >= padding)[:, None]
    x = np.concatenate([np.zeros((padding, 4)), table[history] * 2.0 + net["position"][padding:]])
    for n in range(2):
        query, key, value = np.split(block[f"qkv_{n}"]["kernel"], 3, axis=1)
        logits = norm(x, block[f"norm_attention_{n}"]) @ query @ (x @ key).T / 2.0
        logits = np.where(np.tri(length, dtype=bool), logits, -np.inf)
        weights = np.exp(logits - logsumexp(logits, axis=-1, keepdims=True))
        x = norm(x + weights @ x @ value @ block[f"out_{n}"]["kernel"], block[f"norm_feed_{n}"])
        inner = np.maximum(x @ block[f"feed_in_{n}"]["kernel"] + block[f"feed_in_{n}"]["bias"], 0)
        x = (x + inner @ block[f"feed_out_{n}"]["kernel"] + block[f"feed_out_{n}"]["bias"]) * present
    return norm(x, block["norm"])[padding:]


def test_the_blocks_of_the_code_attend_to_padding(data, randomise, ask):
    """Of every column in training, of the last alone in scoring, and of fewer columns the same."""
    model = make(Config(**SMALL | {"layers": 2}, block="code"), data)
    params, histories = randomise(model), [[4, 0, 7], [2, 8], [5]]
    expected = [states_by_code(params, history, 3) @ params["tables"]["item"].T for history in histories]
    ready = model.prepare(params, model.given)
    for query in (ask([0, 3, 9], histories, 3), ask([3, 9], histories[1:], 2)):
        found = jax.jit(model.score)(ready, query)
        last = [scores[-1, : data.num_items] for scores in expected[-len(found) :]]
        np.testing.assert_allclose(found, last, rtol=1e-4, atol=1e-5)
    window, targets = np.array([[9, 2, 8]]), np.array([[9, 8, 1]])
    own, other = targets, np.array([[0, 3, 4]])
    batch = Batch(window, own, other, np.zeros((1, 3), bool))
    loss, _ = jax.jit(model.learn.loss)(params, model.given, batch, jax.random.key(0))
    each = [
        np.logaddexp(0, -scores[item]) + np.logaddexp(0, scores[wrong])
        for scores, item, wrong in zip(expected[1], (8, 1), (3, 4), strict=True)
    ]
    np.testing.assert_allclose(loss, np.mean(each), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_a_window(data, randomise, loss):
    """One whole window and one that padding begins; the last target of the first is padding."""
    model = make(Config(**SMALL, loss=loss), data)
    params = randomise(model)
    table = params["tables"]["item"]
    history, targets = np.array([[4, 0, 7], [9, 2, 8]]), np.array([[0, 7, 9], [9, 8, 1]])
    shared = [[1, 2, 3, 5, 6]] * 2
    others = {"bce": [[1, 2, 3], [4, 5, 6]], "full_softmax": [[], []]}.get(loss, shared)
    others = np.array(others, np.int32)
    absent = np.zeros(others.shape, bool)
    if others.shape[1] == 5:
        absent[:, 1] = True
    total = 0.0
    for row, past in enumerate(([4, 0, 7], [2, 8])):
        for place, state in enumerate(states(params, past)):
            column = place + 3 - len(past)
            scores, target = state @ table.T, targets[row, column]
            if target == 9:
                continue
            if loss == "bce":
                total += np.logaddexp(0, -scores[target]) + np.logaddexp(0, scores[others[row, column]])
            elif loss == "full_softmax":
                total += logsumexp(scores[:9]) - scores[target]
            elif loss == "gbce":
                pool = np.logaddexp(0, scores[others[row][~absent[row]]] - np.log(5)).sum()
                total += ((1 - 0.75 * (1 - 5 / 8)) * np.logaddexp(0, np.log(5) - scores[target]) + pool) / 6
            else:
                pool = np.array([scores[other] for other in others[row][~absent[row]]])
                total += logsumexp([scores[target], logsumexp(pool) + np.log(8 / 5)]) - scores[target]
    _, sums = jax.jit(model.learn.loss)(params, model.given, Batch(history, targets, others, absent), jax.random.key(0))
    np.testing.assert_allclose((sums["loss"], sums["count"]), (total, 4), rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_its_padding_has_the_same_loss(data, randomise, loss):
    """Windows of less than the history; the columns that are cut have neither history nor target."""
    model = make(Config(**SMALL | {"history": 5}, loss=loss), data)
    learn, params = model.learn, randomise(model)
    rows = np.argsort(learn.lengths, kind="stable")[:3]
    width = int(learn.lengths[rows].max())
    batch = jax.jit(learn.sample)(jax.random.key(0), model.given, rows)
    found = [
        jax.jit(learn.loss)(params, model.given, each, jax.random.key(1))
        for each in (batch, learn.narrow(batch, width))
    ]
    assert width < 5 and found[0][1]["count"] == found[1][1]["count"] > 0
    np.testing.assert_allclose(found[0][0], found[1][0], rtol=1e-5)


def test_a_later_item_never_changes_an_earlier_loss(made):
    """The loss of the first two targets is the same whatever the third column of the history holds."""
    model, params = made
    loss = jax.jit(model.learn.loss)
    others = np.array([[1, 2, 3]])
    sums = []
    for last in (7, 5):
        batch = Batch(np.array([[4, 0, last]]), np.array([[0, 6, 9]]), others, np.zeros((1, 3), bool))
        sums.append(float(loss(params, model.given, batch, jax.random.key(0))[1]["loss"]))
    assert sums[0] == sums[1]


def test_it_learns_what_follows(followers_found):
    assert followers_found(make, Config(**SMALL, loss="full_softmax", stddev=0.1)) > 0.8


@pytest.mark.parametrize("loss", LOSSES)
def test_samples(data, rows, loss):
    """Targets follow their history; negatives have the shape the loss wants."""
    model = make(Config(**SMALL, loss=loss), data)
    batch = jax.jit(model.learn.sample)(jax.random.key(1), model.given, jnp.arange(model.learn.rows))
    assert batch.negatives.shape[1] == {"bce": 3, "full_softmax": 0}.get(loss, 5)
    followed = 0
    for history, targets in zip(batch.history.tolist(), batch.targets.tolist(), strict=True):
        for past, target in zip(history, targets, strict=True):
            if target < 9:
                assert any((past, target) in pairwise(row) for row in rows)
                followed += 1
    assert followed >= sum(len(row) > 1 for row in rows)


def test_heads_must_divide_the_factors():
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=64"):
        from_json(Config, {"heads": 3})
