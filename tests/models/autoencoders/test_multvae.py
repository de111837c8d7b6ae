"""Mult-VAE against its equations, and its terms against scipy.stats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import gammaln

from ancf_jax.models.autoencoders.autorec import Rows
from ancf_jax.models.autoencoders.multvae import Config, divergence, make, multinomial

CONFIG = Config(factors=2, hidden=3, dropout=0.0, beta=0.4, anneal=8)
QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    params = randomise(model)
    params["held"]["beta"] = np.float32(0.3)
    return model, params


def dense(histories, num_items):
    return np.array([[float(item in row) for item in range(num_items)] for row in histories])


def posterior(params, x):
    """Mean and log variance of the code."""
    net = params["net"]["encoder"]
    x = x / np.sqrt(np.maximum(x.sum(1, keepdims=True), 1))
    hidden = np.tanh(x @ params["tables"]["item"][:-1] + net["bias"])
    return np.split(hidden @ net["Dense_0"]["kernel"] + net["Dense_0"]["bias"], 2, axis=1)


def decoded(params, z):
    net, tables = params["net"]["decoder"]["Dense_0"], params["tables"]
    return np.tanh(z @ net["kernel"] + net["bias"]) @ tables["output"][:-1].T + tables["output_bias"][:-1, 0]


def test_the_multinomial_likelihood():
    rng = np.random.default_rng(0)
    scores, x = rng.normal(0, 2, (4, 5)), rng.integers(0, 4, (4, 5))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    ways = gammaln(x.sum(1) + 1) - gammaln(x + 1).sum(1)
    expected = ways - stats.multinomial(x.sum(1), p).logpmf(x)
    np.testing.assert_allclose(multinomial(jnp.asarray(scores), jnp.asarray(x)), expected, rtol=1e-5)


def test_the_divergence_is_the_integral_it_stands_for():
    means, log_variances = np.array([[0.5, -1.0], [0.0, 2.0]]), np.array([[0.3, -0.8], [0.0, 1.1]])

    def one(mean, log_variance):
        q, p = stats.norm(mean, np.exp(log_variance / 2)), stats.norm()
        return integrate.quad(lambda z: q.pdf(z) * (q.logpdf(z) - p.logpdf(z)), -15, 15)[0]

    expected = np.vectorize(one)(means, log_variances).sum(1)
    np.testing.assert_allclose(divergence(jnp.asarray(means), jnp.asarray(log_variances)), expected, rtol=1e-5)


def test_the_loss_weighs_both_terms(made, data, rows):
    model, params = made
    items = np.full((3, 7), data.num_items)
    histories = [rows[1], rows[3], rows[0]]
    for row, history in zip(items, histories, strict=True):
        row[7 - len(history) :] = history
    key = jax.random.key(3)
    mean, log_variance = posterior(params, x := dense(histories, data.num_items))
    z = mean + np.exp(log_variance / 2) * np.asarray(jax.random.normal(jax.random.split(key)[1], mean.shape))
    scores = decoded(params, z)
    log_p = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    kl = (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1) / 2
    expected = -(x * log_p).sum(1) + 0.3 * kl
    gradient = jax.jit(jax.value_and_grad(model.learn.loss, has_aux=True), compiler_options=QUICK)
    (found, sums), slopes = gradient(params, model.given, Rows(jnp.asarray(items), jnp.zeros(items.shape)), key)
    np.testing.assert_allclose([found, sums["loss"]], [expected.mean(), expected.sum()], rtol=1e-5)
    assert all(not np.asarray(table[-1]).any() for table in slopes["tables"].values())


def test_scores_decode_the_mean(made, data, rows, ask):
    model, params = made
    histories = [*rows[:3], [8, 0], []]
    query = ask([0, 1, 2, data.num_users, 4], histories, model.history)
    found = jax.jit(lambda p: model.score(model.prepare(p, model.given), query), compiler_options=QUICK)(params)
    expected = decoded(params, posterior(params, dense(histories, data.num_items))[0])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_beta_rises_to_its_cap(made):
    model, params = made
    betas = [float(model.learn.advance(params, epoch)["held"]["beta"]) for epoch in (1, 4, 8, 20)]
    np.testing.assert_allclose(betas, [0.05, 0.2, 0.4, 0.4], rtol=1e-6)
