"""Heads against SciPy's logistic distribution and NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
from scipy.stats import logistic

from ancf_jax.nn.value_heads import damped_means, make_head, moments
from ancf_jax.types import InputError

VALUES = np.repeat([0.5, 2.0, 3.0, 10.0], [3, 1, 5, 2])
LEVELS = np.unique(VALUES)
SCORES = np.array([-3.0, -0.4, 0.0, 0.7, 2.5])
HEAD = make_head("ordinal", VALUES)
PARAMS = {"thresholds": np.array([-1.3, -0.5, 0.9], np.float32)}
loss, predict = jax.jit(HEAD.loss), jax.jit(HEAD.predict)
with_gradient = jax.jit(jax.value_and_grad(HEAD.loss, argnums=(0, 1)))


def probabilities(params, scores):
    """P(v_k) [..., K] in float64, from differences of the distribution function."""
    first, *logs = np.asarray(params["thresholds"], np.float64)
    thresholds = np.cumsum([first, *np.exp(logs)])
    below = logistic.cdf(np.concatenate([[-np.inf], thresholds, [np.inf]]) - np.asarray(scores)[..., None])
    return np.diff(below)


def test_squared_is_the_error_in_standard_deviations():
    head, scores = make_head("squared", VALUES), SCORES.astype(np.float32)
    mean, scale = VALUES.mean(), VALUES.std()
    assert head.init() == {}
    np.testing.assert_allclose(head.predict({}, scores), mean + scale * SCORES, rtol=1e-6)
    given = np.array([0.5, 2, 3, 10, 4])
    np.testing.assert_allclose(head.loss({}, scores, given), ((given - mean) / scale - SCORES) ** 2, rtol=1e-5)


def test_moments_of_little():
    assert moments([]) == (0.0, 1.0) and moments([7, 7]) == (7.0, 1.0)
    assert moments(np.array([1, 3], np.float32)) == (2.0, 1.0)


def test_ordinal_is_a_logistic_distribution_cut_at_thresholds():
    expected = probabilities(PARAMS, SCORES)  # [5, K]
    found = np.exp(-loss(PARAMS, SCORES[:, None], LEVELS[None]))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(predict(PARAMS, SCORES), expected @ LEVELS, rtol=1e-5)


def test_ordinal_starts_at_the_training_shares():
    start = HEAD.init()
    np.testing.assert_allclose(np.exp(-loss(start, np.zeros(4), LEVELS)), np.array([3, 1, 5, 2]) / 11, rtol=1e-5)
    np.testing.assert_allclose(predict(start, np.zeros(1)), VALUES.mean(), rtol=1e-5)


def test_ordinal_predictions_ascend_with_scores_between_the_lowest_and_the_highest_value():
    found = np.asarray(predict(PARAMS, np.linspace(-8, 8, 200)))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(predict(PARAMS, np.array([-1e9, 1e9])), LEVELS[[0, -1]])


def test_ordinal_gradients_are_the_differences_of_the_loss():
    places = np.array([0, 1, 2, 3, 1])

    def reference(params, scores):
        return -np.log(probabilities(params, scores)[np.arange(5), places]).sum()

    total = jax.jit(jax.grad(lambda params, scores: HEAD.loss(params, scores, LEVELS[places]).sum(), argnums=(0, 1)))
    by_params, by_scores = total(PARAMS, jnp.asarray(SCORES, jnp.float32))
    found = np.concatenate([by_params["thresholds"], by_scores])
    start = np.concatenate([PARAMS["thresholds"], SCORES]).astype(np.float64)

    def at(point):
        return reference({"thresholds": point[:3]}, point[3:])

    slopes = [(at(start + step) - at(start - step)) / 2e-5 for step in 1e-5 * np.eye(len(start))]
    np.testing.assert_allclose(found, slopes, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("score", [0.0, 30.0, 1e4, 1e8, -30.0, -1e4, -1e8])
def test_ordinal_gradients_are_finite_at_all_levels(score):
    for value in LEVELS:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(with_gradient(PARAMS, score, value)))


def test_a_rare_level_keeps_its_probability_whatever_the_score():
    head = make_head("ordinal", np.repeat([1.0, 2.0, 3.0], [600_000, 1, 400_000]))
    start, scores = jax.tree.map(np.asarray, head.init()), np.array([0.0, 4.0, -7.0])
    expected = -np.log(probabilities(start, scores)[:, 1])
    np.testing.assert_allclose(jax.jit(head.loss)(start, scores, np.full(3, 2.0)), expected, rtol=1e-4)


def test_two_levels_make_a_logistic_regression():
    head, given = make_head("ordinal", [0, 0, 1]), np.array([0.0, 1, 1, 0, 1])
    start = head.init()
    chance = logistic.cdf(SCORES + np.log(0.5))
    np.testing.assert_allclose(jax.jit(head.predict)(start, SCORES), chance, rtol=1e-5)
    assert jax.jit(head.loss)(start, SCORES, given).mean() == pytest.approx(sk.log_loss(given, chance), rel=1e-5)


@pytest.mark.parametrize("name", ["squared", "ordinal"])
def test_bfloat16_scores_give_float32(name):
    head, scores = make_head(name, VALUES), jnp.zeros(2, jnp.bfloat16)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), head.init())
    assert head.loss(params, scores, jnp.ones(2)).dtype == head.predict(params, scores).dtype == jnp.float32


@pytest.mark.parametrize("values", [[4.0, 4.0], [], np.arange(101)])
def test_ordinal_needs_some_levels_and_not_too_many(values):
    message = f"flag --loss: ordinal needs 2 to 100 distinct values in training, not {len(set(values))}; legal"
    with pytest.raises(InputError, match=message):
        make_head("ordinal", values)
    assert make_head("ordinal", np.arange(100)).init()["thresholds"].shape == (99,)


@pytest.mark.parametrize(("damping", "expected"), [(0.0, [4.0, 3.0, 0.0]), (3.0, [1.0, 1.2, 0.0])])
def test_damped_means(damping, expected):
    """One value of 4, two of 2 and 4, and none."""
    found = damped_means(jnp.array([4.0, 2.0, 4.0]), jnp.array([0, 1, 1]), 3, damping)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
