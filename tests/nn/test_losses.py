"""Losses against NumPy, scikit-learn and each other."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_expit, logsumexp, softmax
from sklearn.metrics import log_loss

from ancf_jax.nn import losses
from ancf_jax.nn.losses import (
    PAIR_LOSSES,
    bce,
    bpr,
    bpr_max,
    full_softmax,
    gbce,
    log_sums,
    masked_mean,
    pair_loss,
    sampled_softmax,
    sum_of_logs,
)

P, N, ITEMS = 5, 7, 12


@pytest.fixture(scope="module")
def scores():
    """Positives [P] and negatives [P, N]."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, P), rng.normal(0, 3, (P, N))


def probability(score):
    return 1 / (1 + np.exp(-score))


def test_bce_is_the_sum_over_labelled_pairs_for_ratio_n(scores):
    positive, negatives = scores
    found = bce(jnp.asarray(positive), jnp.asarray(negatives), float(N))
    labels = [1] + [0] * N
    for row in range(P):
        predicted = probability(np.array([positive[row], *negatives[row]]))
        np.testing.assert_allclose(found[row], log_loss(labels, predicted, normalize=False), rtol=1e-4)


def test_bce_ratio_weighs_the_mean_of_the_negatives(scores):
    positive, negatives = scores
    expected = -np.log(probability(positive)) - 2.5 * np.log(1 - probability(negatives)).mean(1)
    np.testing.assert_allclose(bce(jnp.asarray(positive), jnp.asarray(negatives), 2.5), expected, rtol=1e-5)


@pytest.mark.parametrize("calibration", [0.0, 0.6, 1.0])
def test_gbce_raises_the_positives_probability_to_a_power(scores, calibration):
    positive, negatives = scores
    alpha = N / (ITEMS - 1)
    beta = alpha * ((1 - 1 / alpha) * calibration + 1 / alpha)  # as published
    logs = np.log(probability(positive) ** beta) + np.log(1 - probability(negatives)).sum(1)
    options = {"num_items": ITEMS, "ratio": 1.0, "calibration": calibration}
    found = pair_loss("gbce", jnp.asarray(positive), jnp.asarray(negatives), **options)
    np.testing.assert_allclose(found, -logs / (N + 1), rtol=1e-5)


def test_gbce_is_bce_at_0_and_learns_probabilities_at_1(scores):
    """Of 4 items with 1 negative each, the mean loss over what can be drawn has its minimum where sigma(s) = p."""
    positive, negatives = map(jnp.asarray, scores)
    plain = bce(positive, negatives, float(N)) / (N + 1)
    np.testing.assert_allclose(gbce(positive, negatives, 0.0, ITEMS), plain, rtol=1e-6)
    p = np.array([0.5, 0.3, 0.15, 0.05])

    def mean_loss(scores, calibration):
        others = jnp.array([[j for j in range(4) if j != i] for i in range(4)])
        return p @ gbce(scores[:, None], scores[others][..., None], calibration, 4).mean(1)

    slope = jax.jit(jax.grad(mean_loss))
    np.testing.assert_allclose(slope(np.log(p / (1 - p)), 1.0), 0, atol=1e-6)
    assert (slope(np.log(p / (1 - p)), 0.0) < -0.01).all()  # plain binary cross-entropy would push them all higher


def test_bpr_is_the_mean_log_probability_of_the_right_order(scores):
    positive, negatives = scores
    expected = [-np.mean([np.log(probability(p - n)) for n in row]) for p, row in zip(*scores, strict=True)]
    np.testing.assert_allclose(bpr(jnp.asarray(positive), jnp.asarray(negatives)), expected, rtol=1e-5)


@pytest.mark.parametrize("scale", [1, 30])
def test_bpr_max_weighs_the_order_by_the_softmax_of_the_negatives(scores, scale):
    """Also where scores are far apart; an absent negative is as if it had not been drawn."""
    positive, negatives = (scale * part for part in scores)
    absent = np.zeros((P, N), bool)
    absent[:, 2], absent[1] = True, True  # one everywhere, and all of row 1

    def loss(negatives):
        return bpr_max(jnp.asarray(positive), jnp.where(absent, -jnp.inf, negatives), 0.2)

    found, pull = jax.vjp(loss, jnp.asarray(negatives))
    gradient = np.asarray(pull(jnp.ones(P))[0])
    assert np.isfinite(gradient).all() and not gradient[absent].any()
    for row in range(P):
        present = negatives[row][~absent[row]]
        weights = softmax(present) if len(present) else np.ones(0)
        order = logsumexp(log_expit(positive[row] - present), b=weights) if len(present) else 0.0
        np.testing.assert_allclose(found[row], 0.2 * weights @ present**2 - order, rtol=1e-5, atol=1e-6)


def test_sampled_softmax_weighs_n_negatives_as_all_the_others(scores):
    positive, negatives = scores
    rest = (ITEMS - 1) / N * np.exp(negatives).sum(1)
    expected = -np.log(np.exp(positive) / (np.exp(positive) + rest))
    found = sampled_softmax(jnp.asarray(positive), jnp.asarray(negatives), ITEMS)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_full_softmax_is_sklearns_log_loss():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(0, 3, (P, ITEMS)), rng.integers(0, ITEMS, P)
    found = full_softmax(jnp.asarray(scores[np.arange(P), labels]), jnp.asarray(scores))
    predicted = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    for row in range(P):
        np.testing.assert_allclose(
            found[row], log_loss([labels[row]], predicted[[row]], labels=range(ITEMS)), rtol=1e-5
        )


def test_sampled_softmax_of_all_the_others_is_the_full_softmax():
    scores = np.random.default_rng(2).normal(0, 3, (P, ITEMS))
    positive, others = jnp.asarray(scores[:, 0]), jnp.asarray(scores[:, 1:])
    full = full_softmax(positive, jnp.asarray(scores))
    np.testing.assert_allclose(sampled_softmax(positive, others, ITEMS), full, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_pair_loss_is_the_loss_of_that_name(scores, name):
    positive, negatives = map(jnp.asarray, scores)
    expected = {
        "bce": bce(positive, negatives, 3.0),
        "bpr": bpr(positive, negatives),
        "sampled_softmax": sampled_softmax(positive, negatives, ITEMS),
        "full_softmax": full_softmax(positive, negatives),
    }
    found = pair_loss(name, positive, negatives, num_items=ITEMS, ratio=3.0)
    np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize("name", PAIR_LOSSES)
def test_a_negative_of_minus_infinity_is_absent(scores, name):
    """It adds nothing to the sum over negatives, whose weight per drawn negative stays."""
    positive, negatives = scores
    absent = np.zeros((P, N), bool)
    absent[:, 2], absent[1] = True, True  # one everywhere, and all of row 1
    found = pair_loss(
        name, jnp.asarray(positive), jnp.where(absent, -jnp.inf, negatives), num_items=ITEMS, ratio=float(N)
    )
    for row in range(P):
        p, present = positive[row], negatives[row][~absent[row]]
        expected = {
            "bce": -np.log(probability(p)) - np.log(1 - probability(present)).sum(),
            "bpr": -np.log(probability(p - present)).sum() / N,
            "sampled_softmax": np.log(np.exp(p) + (ITEMS - 1) / N * np.exp(present).sum()) - p,
            "full_softmax": (np.log(np.exp(present).sum()) if len(present) else -np.inf) - p,
        }
        np.testing.assert_allclose(found[row], expected[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["bce", "bpr", "sampled_softmax"])
def test_gradients_are_finite_with_absent_negatives_and_large_scores(name):
    positive = jnp.array([0.0, 200.0, -200.0, 1.0])
    negatives = jnp.array([[0.0, 1.0], [-200.0, 200.0], [200.0, -200.0], [3.0, 4.0]])
    absent = jnp.array([[True, False], [False, False], [False, True], [True, True]])

    def total(positive, negatives):
        hidden = jnp.where(absent, -jnp.inf, negatives)
        return pair_loss(name, positive, hidden, num_items=ITEMS, ratio=4.0).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1))(positive, negatives)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(np.asarray(gradients[1])[np.asarray(absent)], 0)
    assert (np.asarray(gradients[1])[~np.asarray(absent)] >= 0).all() and (gradients[0] <= 0).all()


def test_masked_mean_counts_what_is_there():
    values, mask = jnp.array([[1.0, 2.0], [jnp.nan, 6.0]]), jnp.array([[True, True], [False, True]])
    mean, sums = masked_mean(values, mask)
    assert mean == 3 and sums["loss"] == 9 and sums["count"] == 3
    mean, sums = masked_mean(values, jnp.zeros((2, 2), bool))
    assert mean == 0 and sums["loss"] == 0 and sums["count"] == 0


@pytest.mark.parametrize("block", [1, 21, 1000])  # of one state, of three, and of all
def test_the_catalogues_softmax_in_blocks_is_the_one_at_once(block, monkeypatch):
    """Value and gradients; what counts 0 times has no part in either."""
    monkeypatch.setattr(losses, "BLOCK", block)
    rng = np.random.default_rng(0)
    states, item = (rng.normal(0, 2, shape).astype(np.float32) for shape in ((11, 4), (7, 4)))
    times = rng.integers(0, 3, 11)

    def plain(states, item):
        return 3.0 * jnp.sum(times * jax.nn.logsumexp(states @ item.T, axis=1))

    def blocks(states, item):
        return 3.0 * sum_of_logs(states, item, times)

    (value, found), (whole, expected) = (jax.jit(jax.value_and_grad(f, (0, 1)))(states, item) for f in (blocks, plain))
    np.testing.assert_allclose(value, whole, rtol=1e-5)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("block", [21, 1000])  # of three states, with two left over, and of all
def test_log_sums_in_blocks_are_those_at_once(block, monkeypatch):
    """Values and gradients, whatever each state's weight."""
    monkeypatch.setattr(losses, "BLOCK", block)
    rng = np.random.default_rng(0)
    states, item, weights = (rng.normal(0, 2, shape).astype(np.float32) for shape in ((11, 4), (7, 4), 11))

    def total(logs):
        return lambda states, item: jnp.vdot(weights, logs(states, item))

    plain = total(lambda states, item: jax.nn.logsumexp(states @ item.T, axis=1))
    found, expected = (jax.jit(jax.value_and_grad(f, (0, 1)))(states, item) for f in (total(log_sums), plain))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, expected)


def test_the_examples_in_the_docstrings():
    results = doctest.testmod(losses)
    assert results.attempted >= 3 and not results.failed
