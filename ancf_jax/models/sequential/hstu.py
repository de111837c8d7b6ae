"""HSTU: pointwise attention, whose weights are not a softmax, and a gate of each state on what it has gathered.

Zhai et al., Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative Recommendations,
2024. A history is embedded as SASRec embeds it, x_h = sqrt(D) q_jh + position_h, and passes blocks of

    U, V, Q, K = split(silu(W norm(x)))
    A_ts = silu(<Q_t, K_s> + recency_(t - s)) / n_t    for each of the n_t interactions s <= t, by head
    x <- x + W_o (norm(A V) * U) + b

so that a state keeps how much there was to attend to, where a softmax keeps shares alone. Both norms are without
weights. The score is a cosine over a temperature,

    score(u, i) = <state_H / |state_H|, q_i / |q_i|> / temperature

and a softmax is learned over the catalogue or over items that a window's columns share as negatives. The relative bias
is of the order of the log: queries carry no times, so there is no bias of time, and the time of what is to be predicted
is not known either. A_ts is divided by what column t sees, where the paper divides by the length of the window; but for
the constant that keeps the norm finite, norm(A V) undoes either. New users need no training: there is no user vector.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import over_windows
from ancf_jax.models.sequential.next_item import (
    SOFTMAX_LOSSES,
    Batch,
    Net,
    over_next_items,
    sampler,
    states_of,
    table_and_net,
    window_softmax,
)
from ancf_jax.nn.attention import split_heads
from ancf_jax.nn.layers import Dropout, unit_rows, wide_product, with_vectors
from ancf_jax.types import Array, Data, Given, InputError, Params, Recommender

SEARCH: Space = {
    "factors": (32, 50, 64, 128),
    "layers": (1, 2, 4),
    "heads": (1, 2),
    "dropout": Range(0.0, 0.6),
    "loss": SOFTMAX_LOSSES,
    "negatives": (64, 128, 256, 512),
    "temperature": Range(0.02, 0.2, log=True),
    "batch_size": (16, 32, 64, 128),
    "weight_decay": Range(0.0001, 1.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """HSTU."""

    factors: int = field(50, "embedding width D", low=1)
    history: int = field(200, "latest interactions that are read, H", low=1)
    layers: int = field(2, "layers of pointwise attention over the history", low=1)
    heads: int = field(1, "attention heads", low=1)
    dropout: float = field(0.2, "dropout on embeddings and in the encoder", low=0, high=0.99)
    loss: str = field("sampled_softmax", "loss of a positive against its negatives", SOFTMAX_LOSSES)
    negatives: int = field(128, "items that a window's positives share as negatives, for sampled_softmax", low=1)
    temperature: float = field(0.05, "what the cosine of state and item is divided by", above=0)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


class PointwiseAttention(nn.Module):
    """The blocks: x [B, H, D] and mask [B, H], False at padding, in; states [B, H, D], each of its own past, out.

    With `last`, the state of the last column is all that the last block computes: [B, 1, D].
    """

    longest: int
    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        length, width = x.shape[1:]
        steps = jnp.arange(length)[:, None] - jnp.arange(length)  # t - s
        seen = mask[:, None, None, :] & (steps >= 0)
        count = jnp.maximum(seen.sum(-1, keepdims=True), 1)  # n_t
        for n in range(self.layers):
            normed = nn.LayerNorm(use_bias=False, use_scale=False)(x)
            uvqk = nn.silu(nn.Dense(4 * width, use_bias=False, name=f"uvqk_{n}")(normed))
            u, *rest = jnp.split(uvqk, 4, axis=-1)
            v, q, k = (split_heads(part, self.heads) for part in rest)
            first = length - 1 if last and n == self.layers - 1 else 0
            x, u, q, back, allowed = x[:, first:], u[:, first:], q[:, first:], steps[first:], seen[:, :, first:]
            recency = self.param(f"recency_{n}", nn.initializers.normal(0.02), (self.longest,))
            logits = jnp.einsum("bqnd,bknd->bnqk", q, k).astype(jnp.float32) + recency[jnp.maximum(back, 0)]
            weights = (jnp.where(allowed, nn.silu(logits), 0.0) / count[:, :, first:]).astype(x.dtype)
            mixed = wide_product("bnqk,bknd->bqnd", weights, v).reshape(x.shape)
            gated = (nn.LayerNorm(use_bias=False, use_scale=False)(mixed) * u).astype(x.dtype)
            x = x + nn.Dense(width, name=f"out_{n}")(Dropout(self.dropout)(gated, deterministic=deterministic))
        return x


def make(config: Config, data: Data) -> Recommender:
    """HSTU by gradient steps over windows of users' histories."""
    c, num_items, length = config, data.num_items, config.history
    net = Net(length, partial(PointwiseAttention, length, c.layers, c.heads, c.dropout), c.dropout, c.stddev)
    given = over_windows(data, length)
    init = table_and_net(net, num_items, length, c.factors, c.stddev)
    sample = sampler(length, num_items, 0 if c.loss == "full_softmax" else c.negatives)

    def direction(states: Array) -> Array:
        """In float32, as the last product of a score is."""
        return unit_rows(states.astype(jnp.float32)) / c.temperature

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        states = states_of(net, params, batch.history, key)
        return window_softmax(direction(states).astype(states.dtype), params["tables"]["item"], batch, unit_rows)

    def prepare(params: Params, given: Given) -> Params:
        return with_vectors(params, unit_rows(params["tables"]["item"]))

    return over_next_items(given, length, net, init, sample, loss, prepare=prepare, extend=direction)
