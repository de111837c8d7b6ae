"""RecVAE against its equations, and its prior against scipy.stats."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from ancf_jax.models.autoencoders.autorec import Rows
from ancf_jax.models.autoencoders.recvae import Config, log_normal, log_prior, make

CONFIG = Config(factors=2, hidden=3, dropout=0.0, gamma=0.1)
ITEMS = np.array([[9, 9, 9, 4], [9, 0, 8, 2], [1, 2, 7, 3]])  # histories, padded with 9
KEY = jax.random.key(3)


QUICK = {"xla_backend_optimization_level": 0}  # compiling takes longer than running


def slopes_of(model):
    """The loss and its gradient, compiled: params -> ((mean, sums), gradient)."""
    gradient = jax.jit(jax.value_and_grad(model.learn.loss, has_aux=True), compiler_options=QUICK)
    return lambda params: gradient(params, model.given, Rows(jnp.asarray(ITEMS), jnp.zeros(ITEMS.shape)), KEY)


@pytest.fixture(scope="module")
def made(data, randomise):
    model = make(CONFIG, data)
    params = randomise(model)
    return model, params, slopes_of(model)(params)


def posterior(table, net, x):
    """Mean and log variance of the code, by the definition: every layer sees all before it."""
    first = x / np.sqrt(np.maximum(x.sum(1, keepdims=True), 1)) @ table[:-1] + net["bias"]
    layers = []
    for n in range(5):
        inner = first if not layers else layers[-1] @ net[f"layer_{n}"]["kernel"] + net[f"layer_{n}"]["bias"]
        inner = inner + sum(layers)
        inner = inner / (1 + np.exp(-inner))
        inner = (inner - inner.mean(1, keepdims=True)) / np.sqrt(inner.var(1, keepdims=True) + 0.1)
        layers.append(inner * net[f"norm_{n}"]["scale"] + net[f"norm_{n}"]["bias"])
    return np.split(layers[-1] @ net["layer_5"]["kernel"] + net["layer_5"]["bias"], 2, axis=1)


def prior(z, mean, deviation):
    parts = [stats.norm(0, 1), stats.norm(mean, deviation), stats.norm(0, np.exp(5))]
    return logsumexp([part.logpdf(z) for part in parts], axis=0, b=np.array([0.15, 0.75, 0.1])[:, None, None])


def dense(histories):
    return np.array([[float(item in row) for item in range(9)] for row in histories])


def decoded(params, z):
    return z @ params["tables"]["output"][:-1].T + params["tables"]["output_bias"][:-1, 0]


def test_the_prior_and_the_normal_density():
    z, mean, log_variance = np.random.default_rng(0).normal(0, 2, (3, 4, 5))
    found = log_prior(*map(jnp.asarray, (z, mean, log_variance)))
    np.testing.assert_allclose(found, prior(z, mean, np.exp(log_variance / 2)), rtol=1e-4)
    found = log_normal(*map(jnp.asarray, (z, mean, log_variance)))
    np.testing.assert_allclose(found, stats.norm(mean, np.exp(log_variance / 2)).logpdf(z), rtol=1e-4)


def losses(params):
    """The mean losses of the encoder and of the decoder."""
    x, tables, net = dense(ITEMS), params["tables"], params["net"]
    mean, log_variance = posterior(tables["item"], net["encoder"], x)
    deviation = np.exp(log_variance / 2)
    codes = [mean + deviation * np.asarray(jax.random.normal(key, mean.shape)) for key in jax.random.split(KEY, 3)[1:]]
    scores = [decoded(params, z) for z in codes]
    encoder, decoder = (-(x * (s - logsumexp(s, axis=1, keepdims=True))).sum(1) for s in scores)
    before, log_before = posterior(params["held"]["item"], params["held"]["encoder"], x)
    ratio = stats.norm(mean, deviation).logpdf(codes[0]) - prior(codes[0], before, np.exp(log_before / 2))
    return np.array([(encoder + 0.1 * x.sum(1) * ratio.sum(1)).mean(), decoder.mean()])


def test_the_loss_is_that_of_both_parts_and_each_learns_by_its_own(made):
    """The gradient against central differences of the part's own loss."""
    _, params, ((mean, sums), slopes) = made
    np.testing.assert_allclose([mean, sums["loss"] / 3], [losses(params).sum()] * 2, rtol=1e-4)
    wide = jax.tree.map(np.float64, params)
    for part, path in [
        (0, ("tables", "item", (2, 1))),
        (0, ("net", "encoder", "norm_1", "scale", 1)),
        (0, ("net", "encoder", "layer_5", "bias", 3)),
        (1, ("tables", "output", (8, 0))),
        (1, ("tables", "output_bias", (5, 0))),
    ]:
        *names, place = path
        leaf, slope = wide, slopes
        for name in names:
            leaf, slope = leaf[name], slope[name]
        values = []
        for step in (1e-4, -2e-4):
            leaf[place] += step
            values.append(losses(wide)[part])
        leaf[place] += 1e-4
        np.testing.assert_allclose(slope[place], (values[0] - values[1]) / 2e-4, rtol=2e-3, atol=1e-5, err_msg=path)
    assert not any(np.asarray(leaf).any() for leaf in jax.tree.leaves(slopes["held"]))
    assert not any(np.asarray(table[-1]).any() for table in slopes["tables"].values())


def test_dropout_is_the_encoders_alone(made, data):
    _, params, (_, slopes) = made
    _, noisy = slopes_of(make(replace(CONFIG, dropout=0.5), data))(params)
    for name in ("output", "output_bias"):
        np.testing.assert_allclose(noisy["tables"][name], slopes["tables"][name], rtol=1e-4, atol=1e-6)
    assert not np.allclose(noisy["tables"]["item"], slopes["tables"]["item"], atol=1e-3)


def test_an_epoch_starts_with_the_encoder_as_the_previous_one(made):
    model, params, _ = made
    after = model.learn.advance(params, 1)
    now = {"item": params["tables"]["item"], "encoder": params["net"]["encoder"]}
    jax.tree.map(np.testing.assert_array_equal, after, {**params, "held": now})


def test_scores_decode_the_mean(made, data, rows, ask):
    model, params, _ = made
    histories = [*rows[:3], [8, 0], []]
    query = ask([0, 1, 2, data.num_users, 4], histories, model.history)
    found = jax.jit(lambda p: model.score(model.prepare(p, model.given), query), compiler_options=QUICK)(params)
    mean, _ = posterior(params["tables"]["item"], params["net"]["encoder"], dense(histories))
    np.testing.assert_allclose(found, decoded(params, mean), rtol=1e-4, atol=1e-5)
