"""RecVAE (Shenbin, Alekseev, Tutubalina, Malykh & Nikolenko, RecVAE: a New Variational Autoencoder for Top-N
Recommendations with Implicit Feedback, 2020).

A user's row x of zeros and ones, n of them ones, is coded as in Mult-VAE, but by five layers of which each sees all
before it, and is decoded by one matrix; z = m when scoring:

    h_k = norm(swish(W_k h_(k-1) + b_k + h_1 + .. + h_(k-1))),    h_0 = dropout(x / |x|)
    m, log s^2 = W h_5 + b,    z ~ N(m, s^2),    score(u, i) = <w_i, z> + b_i
    loss of the encoder = -sum over i of x_i log softmax_i(score) + gamma n (log N(z; m, s^2) - log p(z))
    p(z) = 3/20 N(z; 0, 1) + 3/4 N(z; m', s'^2) + 1/10 N(z; 0, e^10),  factor by factor

with m', s' by the encoder as the epoch started, without dropout: the prior keeps it near to what it was. The decoder
minimises the first term alone, without dropout. The mixture is that of the authors' code. There the encoder learns for
three epochs, then the decoder for one; here each step moves both, each by its own loss with the other held fixed, so
that Adam's moments are always of their own gradients. Any history is a row, so new users need no training.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.models.autoencoders.autorec import Rows, autoencoder, decode, glorot
from ancf_jax.models.autoencoders.multvae import draw, multinomial, normalised
from ancf_jax.nn.layers import Dropout, multi_hot, table
from ancf_jax.nn.losses import masked_mean
from ancf_jax.types import Array, Data, Given, Params, Recommender

LAYERS = 5
PRIOR = (3 / 20, 3 / 4, 1 / 10)  # weights of the standard normal, the previous posterior and the wide normal
WIDE = 10.0  # log variance of the wide normal
SEARCH: Space = {
    "factors": (32, 64, 128, 200),
    "hidden": (128, 256, 600),
    "dropout": Range(0.1, 0.8),
    "gamma": Range(0.0003, 0.03, log=True),
    "batch_size": (32, 64, 128, 256),
}


@dataclass(frozen=True)
class Config:
    """RecVAE."""

    factors: int = field(200, "width D of the code", low=1)
    hidden: int = field(600, "width of the hidden layers of the encoder", low=1)
    dropout: float = field(0.5, "dropout on the row", low=0, high=0.99)
    gamma: float = field(0.005, "weight of the KL divergence for each interaction of a user", low=0)


class Encoder(nn.Module):
    """Rows x [B, I] and the first weights [I, hidden] in; mean and log variance [B, D] out, in float32."""

    config: Config

    @nn.compact
    def __call__(self, x: Array, item: Array, deterministic: bool = True) -> tuple[Array, Array]:
        width = self.config.hidden
        x = Dropout(self.config.dropout)(normalised(x), deterministic=deterministic).astype(item.dtype)
        inner = x @ item + self.param("bias", nn.initializers.zeros, (width,))
        total = jnp.zeros_like(inner)
        for n in range(LAYERS):
            inner = nn.LayerNorm(epsilon=0.1, name=f"norm_{n}")(nn.swish(inner + total))
            total = total + inner
            out = width if n < LAYERS - 1 else 2 * self.config.factors
            inner = nn.Dense(out, name=f"layer_{n + 1}")(inner)
        mean, log_variance = jnp.split(inner.astype(jnp.float32), 2, axis=1)
        return mean, log_variance


def make(config: Config, data: Data) -> Recommender:
    """RecVAE by gradient steps over users."""
    num_items, encoder = data.num_items, Encoder(config)

    def init(key: Array, given: Given) -> Params:
        first, output, rest = jax.random.split(key, 3)
        item = table(first, num_items, config.hidden, glorot(num_items, config.hidden))
        net = encoder.init(rest, jnp.zeros((1, num_items)), item[:num_items])["params"]
        tables = {
            "item": item,
            "output": table(output, num_items, config.factors, glorot(num_items, config.factors)),
            "output_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": {"encoder": net}, "held": {"item": item, "encoder": net}}

    def encode(params: Params, x: Array, **options) -> tuple[Array, Array]:
        item = params["tables"]["item"][:num_items]
        return encoder.apply({"params": params["net"]["encoder"]}, x, item, **options)

    def previous(params: Params) -> Params:
        """The parameters with the encoder as the epoch started."""
        held = params["held"]
        return {"tables": {"item": held["item"]}, "net": {"encoder": held["encoder"]}}

    def loss(params: Params, given: Given, batch: Rows, key: Array) -> tuple[Array, dict[str, Array]]:
        drop, noise, clean_noise = jax.random.split(key, 3)
        x, fixed = multi_hot(batch.items, num_items), jax.lax.stop_gradient(params)
        mean, log_variance = encode(params, x, deterministic=False, rngs={"dropout": drop})
        z = draw(noise, mean, log_variance)
        ratio = log_normal(z, mean, log_variance) - log_prior(z, *encode(previous(fixed), x))
        losses = multinomial(decode(fixed, z, num_items), x)
        losses = losses + config.gamma * jnp.sum(x, 1) * jnp.sum(ratio, 1)
        clean = draw(clean_noise, *encode(fixed, x))
        losses = losses + multinomial(decode(params, clean, num_items), x)
        return masked_mean(losses, jnp.ones_like(losses, bool))

    def advance(params: Params, epoch: Array) -> Params:
        return {**params, "held": {"item": params["tables"]["item"], "encoder": params["net"]["encoder"]}}

    def code(params: Params, rows: Rows) -> Array:
        z = encode(params, multi_hot(rows.items, num_items))[0]
        return z.astype(params["tables"]["output"].dtype)

    return autoencoder(data, init, loss, code, batch=256, advance=advance)


def log_normal(z: Array, mean: Array, log_variance: Array | float) -> Array:
    """log N(z; m, s^2), factor by factor."""
    return -0.5 * (jnp.log(2 * jnp.pi) + log_variance + (z - mean) ** 2 / jnp.exp(log_variance))


def log_prior(z: Array, mean: Array, log_variance: Array) -> Array:
    """log p(z), factor by factor: the mixture of N(0, 1), the previous posterior N(m', s'^2) and N(0, e^10)."""
    nothing = jnp.zeros_like(mean)
    parts = [log_normal(z, nothing, 0.0), log_normal(z, mean, log_variance), log_normal(z, nothing, WIDE)]
    weights = np.log(PRIOR).reshape(-1, *[1] * z.ndim)
    return jax.nn.logsumexp(jnp.stack(parts) + weights, axis=0)
