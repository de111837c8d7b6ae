"""BERT4Rec against an independent forward pass, and what the cloze task masks."""

import jax
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from ancf_jax.config import from_json
from ancf_jax.models.sequential.bert4rec import Batch, Config, cloze, make
from ancf_jax.types import InputError

ITEMS, MASK = 9, 10


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(Config(factors=4, history=4, layers=1, heads=1, dropout=0.0, masked=0.5), data)
    return model, randomise(model)


def norm(x, weights):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * weights["scale"] + weights["bias"]


def dense(x, weights):
    return x @ weights["kernel"] + weights.get("bias", 0)


def gelu(x):
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def scores_of(params, history):
    """Scores [L, I] at every column of one history without padding, MASK where masked: one block, one head."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    net, item = params["net"], params["tables"]["item"]
    block = net["SelfAttention_0"]
    rows = np.array([net["mask"] if item_id == MASK else item[item_id] for item_id in history])
    x = rows * 2 + net["position"][-len(history) :]
    q, k, v = np.split(dense(norm(x, block["norm_attention_0"]), block["qkv_0"]), 3, axis=-1)
    x = x + dense(softmax(q @ k.T / 2, axis=1) @ v, block["out_0"])
    x = x + dense(gelu(dense(norm(x, block["norm_feed_0"]), block["feed_in_0"])), block["feed_out_0"])
    states = gelu(dense(norm(x, block["norm"]), net["project"]))
    return (states @ item.T + params["tables"]["item_bias"][:, 0])[:, :ITEMS]


def test_a_query_is_answered_by_a_mask_after_its_history(made, data, ask):
    """Of 4 columns the mask takes one, so the latest 3 interactions are read; users do not matter."""
    model, params = made
    histories = [[5, 4, 0, 7], [2, 8], []]
    expected = np.array([scores_of(params, [*history[-3:], MASK])[-1] for history in histories])
    query = ask([0, data.num_users, 3], histories, 4)
    found = jax.jit(lambda params: model.score(model.prepare(params, model.given), query))(params)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_loss_is_that_of_the_masked_places_and_sees_both_sides(made):
    """One window with two masked places, one that padding begins and with one; then its last item is another."""
    model, params = made
    loss = jax.jit(model.learn.loss)
    places, targets = np.array([[2, 0], [1, 3]]), np.array([[7, 1], [3, ITEMS]])
    found = []
    for last in (2, 5):
        history = np.array([[MASK, 4, MASK, 6], [ITEMS, MASK, 8, last]])
        first, second = (log_softmax(scores_of(params, row), axis=1) for row in (history[0], history[1, 1:]))
        expected = -first[2, 7] - first[0, 1] - second[0, 3]
        _, sums = loss(params, model.given, Batch(history, places, targets), jax.random.key(0))
        np.testing.assert_allclose((sums["loss"], sums["count"]), (expected, 3), rtol=1e-4)
        found.append(sums["loss"])
    assert abs(found[0] - found[1]) > 0.001


SHARE, LENGTH, WHOLE = 0.3, 10, 2000


@pytest.fixture(scope="module")
def masked():
    """Windows of 0 to 10 interactions, in every second of which the latest alone is masked; then only whole ones."""
    rng = np.random.default_rng(0)
    sizes = np.append(np.repeat(np.arange(LENGTH + 1), 6), np.full(WHOLE, LENGTH))
    window = rng.integers(0, ITEMS, (len(sizes), LENGTH))
    window[np.arange(LENGTH) < LENGTH - sizes[:, None]] = ITEMS
    last = (np.arange(len(sizes)) % 2 == 0) & (np.arange(len(sizes)) < len(sizes) - WHOLE)
    batch = jax.jit(cloze, static_argnums=(2, 4))(jax.random.key(0), window, SHARE, last, ITEMS)
    return sizes, window, last, jax.tree.map(np.asarray, batch)


def test_cloze_masks_a_share_and_asks_for_it(masked):
    sizes, window, last, (history, places, targets) = masked
    assert places.shape == targets.shape == (len(sizes), 3)
    for n, size in enumerate(sizes[:-WHOLE]):
        columns = np.flatnonzero(history[n] == MASK)
        assert len(columns) == min(1 if last[n] else max(round(SHARE * size), 1), size)
        assert (columns >= LENGTH - size).all()  # never padding
        asked = targets[n] < ITEMS
        assert sorted(places[n][asked]) == columns.tolist()  # each once
        assert targets[n][asked].tolist() == window[n, places[n][asked]].tolist()
        assert np.delete(history[n], columns).tolist() == np.delete(window[n], columns).tolist()
        assert not last[n] or columns.tolist() == [LENGTH - 1][:size]


def test_cloze_masks_every_place_equally_often(masked):
    history = masked[-1].history[-WHOLE:]
    np.testing.assert_allclose(np.mean(history == MASK, axis=0), SHARE, atol=4 * np.sqrt(0.21 / WHOLE))


def test_samples_are_windows_of_the_log_with_either_mask(made, data, rows):
    model, _ = made
    sample = jax.jit(lambda key: model.learn.sample(key, model.given, np.arange(model.learn.rows)))
    alone = []
    for seed in range(20):
        batch = jax.device_get(sample(jax.random.key(seed)))
        whole = batch.history.copy()
        for row, places, targets in zip(whole, batch.places, batch.targets, strict=True):
            row[places[targets < ITEMS]] = targets[targets < ITEMS]
            kept = row[row < ITEMS].tolist()
            assert any(kept == log[n : n + len(kept)] for log in rows for n in range(len(log)))
            if len(kept) == 4:
                alone.append((targets < ITEMS).sum() == 1)
    assert 0.02 < np.mean(alone) < 0.25  # a tenth


def test_a_batch_without_its_padding_has_the_same_loss(made):
    model, params = made
    learn = model.learn
    rows = np.argsort(learn.lengths, kind="stable")[:3]
    width = int(learn.lengths[rows].max())
    batch = jax.jit(learn.sample)(jax.random.key(0), model.given, rows)
    loss = jax.jit(learn.loss)
    (whole, sums), (cut, of_cut) = (
        loss(params, model.given, each, jax.random.key(1)) for each in (batch, learn.narrow(batch, width))
    )
    assert width < 4 and sums["count"] == of_cut["count"] > 0
    np.testing.assert_allclose(whole, cut, rtol=1e-5)


def test_heads_must_divide_the_factors():
    with pytest.raises(InputError, match="flag --heads: 3 does not divide --factors=64"):
        from_json(Config, {"heads": 3})
