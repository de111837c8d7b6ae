"""Mult-VAE (Liang, Krishnan, Hoffman & Jebara, Variational Autoencoders for Collaborative Filtering, 2018).

A user's row x of zeros and ones is coded by a normal distribution, and is reconstructed as draws from a multinomial:

    m, log s^2 = W_2 tanh(W_1 dropout(x / |x|) + b_1) + b_2,    z ~ N(m, s^2)
    score(u, i) = <w_i, tanh(W_3 z + b_3)> + b_i,    z = m when scoring
    loss = -sum over i of x_i log softmax_i(score) + beta KL(N(m, s^2) || N(0, 1))

beta rises linearly from epoch to epoch, up to a cap. Any history is a row, so new users need no training.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.models.autoencoders.autorec import Rows, autoencoder, decode, glorot
from ancf_jax.nn.layers import Dropout, multi_hot, table
from ancf_jax.nn.losses import masked_mean
from ancf_jax.types import Array, Data, Given, Params, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128, 200),
    "hidden": (128, 256, 600),
    "dropout": Range(0.1, 0.8),
    "beta": Range(0.01, 1.0, log=True),
    "anneal": (0, 20, 50, 100),
    "batch_size": (32, 64, 128, 256),
}


@dataclass(frozen=True)
class Config:
    """Mult-VAE."""

    factors: int = field(200, "width D of the code", low=1)
    hidden: int = field(600, "width of the hidden layers of encoder and decoder", low=1)
    dropout: float = field(0.5, "dropout on the row", low=0, high=0.99)
    beta: float = field(0.2, "weight of the KL divergence, once it has risen", low=0)
    anneal: int = field(100, "epochs in which it rises from 0", low=0)


class Encoder(nn.Module):
    """Rows x [B, I] and the first weights [I, hidden] in; mean and log variance [B, D] out, in float32."""

    config: Config

    @nn.compact
    def __call__(self, x: Array, item: Array, deterministic: bool = True) -> tuple[Array, Array]:
        bias = self.param("bias", nn.initializers.zeros, (self.config.hidden,))
        x = Dropout(self.config.dropout)(normalised(x), deterministic=deterministic)
        hidden = nn.tanh(x.astype(item.dtype) @ item + bias)
        mean, log_variance = jnp.split(nn.Dense(2 * self.config.factors)(hidden).astype(jnp.float32), 2, axis=1)
        return mean, log_variance


class Decoder(nn.Module):
    """Codes [B, D] in, the layer below the output [B, hidden] out."""

    config: Config

    @nn.compact
    def __call__(self, z: Array) -> Array:
        return nn.tanh(nn.Dense(self.config.hidden)(z))


def make(config: Config, data: Data) -> Recommender:
    """Mult-VAE by gradient steps over users."""
    num_items, encoder, decoder = data.num_items, Encoder(config), Decoder(config)

    def init(key: Array, given: Given) -> Params:
        first, output, *rest = jax.random.split(key, 4)
        stddev = glorot(num_items, config.hidden)
        tables = {
            "item": table(first, num_items, config.hidden, stddev),
            "output": table(output, num_items, config.hidden, stddev),
            "output_bias": jnp.zeros((num_items + 1, 1)),
        }
        net = {
            "encoder": encoder.init(rest[0], jnp.zeros((1, num_items)), tables["item"][:num_items])["params"],
            "decoder": decoder.init(rest[1], jnp.zeros((1, config.factors)))["params"],
        }
        return {"tables": tables, "net": net, "held": {"beta": jnp.zeros(())}}

    def encode(params: Params, x: Array, **options) -> tuple[Array, Array]:
        item = params["tables"]["item"][:num_items]
        return encoder.apply({"params": params["net"]["encoder"]}, x, item, **options)

    def hidden(params: Params, z: Array) -> Array:
        z = z.astype(params["tables"]["output"].dtype)
        return decoder.apply({"params": params["net"]["decoder"]}, z)

    def loss(params: Params, given: Given, batch: Rows, key: Array) -> tuple[Array, dict[str, Array]]:
        drop, noise = jax.random.split(key)
        x = multi_hot(batch.items, num_items)
        mean, log_variance = encode(params, x, deterministic=False, rngs={"dropout": drop})
        z = draw(noise, mean, log_variance)
        distance = params["held"]["beta"] * divergence(mean, log_variance)
        losses = multinomial(decode(params, hidden(params, z), num_items), x) + distance
        return masked_mean(losses, jnp.ones_like(losses, bool))

    def advance(params: Params, epoch: Array) -> Params:
        risen = jnp.minimum(epoch / max(config.anneal, 1), 1.0)
        return {**params, "held": {"beta": (config.beta * risen).astype(jnp.float32)}}

    def code(params: Params, rows: Rows) -> Array:
        return hidden(params, encode(params, multi_hot(rows.items, num_items))[0])

    return autoencoder(data, init, loss, code, batch=256, advance=advance)


def normalised(x: Array) -> Array:
    """Rows [B, I] of zeros and ones over their norms; an empty one stays as it is."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x, axis=1, keepdims=True), 1.0))


def draw(key: Array, mean: Array, log_variance: Array) -> Array:
    """z = m + s e with e ~ N(0, 1), so that gradients pass to m and s."""
    return mean + jnp.exp(log_variance / 2) * jax.random.normal(key, mean.shape)


def multinomial(scores: Array, x: Array) -> Array:
    """-sum over i of x_i log softmax_i(scores) [B], for scores and counts x [B, I]; the constant of x is left out."""
    return -jnp.sum(x * jax.nn.log_softmax(scores, axis=1), axis=1)


def divergence(mean: Array, log_variance: Array) -> Array:
    """KL(N(m, s^2) || N(0, 1)) [B], summed over the code's factors [B, D]."""
    return 0.5 * jnp.sum(jnp.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1)
