"""eSASRec: SASRec with gated Transformer layers and a sampled softmax; score(u, i) = <state of u's history, q_i>.

Tikhonovich et al., eSASRec: Enhancing Transformer-based Recommendations in a Modular Fashion, 2025, with the layers of
Borisyuk et al., From Features to Transformers: Redefining Ranking for Scalable Impact (LiGR), 2025. A history is
embedded as SASRec embeds it, x_h = sqrt(D) q_jh + position_h, and each sublayer's output passes a gate that its input
opens and closes:

    x <- x + sigmoid(G x + g) * MultiHead(norm(x));    x <- x + sigmoid(G' x + g') * W_3 (silu(W_1 y) * W_2 y)

where y = norm(x), attention is causal, and W_1 and W_2 are [D, 4 D] (Shazeer, GLU Variants Improve Transformer, 2020).
There is no norm after the last layer. Each column of a window predicts the next interaction by a softmax over itself
and uniform items, which the columns share and which stand for the whole catalogue. There is no user vector, so new
users need no training.
"""

from dataclasses import dataclass
from functools import partial

import flax.linen as nn

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import over_windows
from ancf_jax.models.sequential.next_item import (
    Batch,
    Net,
    over_next_items,
    sampler,
    states_of,
    table_and_net,
    window_softmax,
)
from ancf_jax.nn.layers import Dropout
from ancf_jax.nn.self_attention import Projections, multi_head, multi_head_of_last
from ancf_jax.types import Array, Data, Given, InputError, Params, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128),
    "layers": (1, 2, 4),
    "heads": (1, 2, 4),
    "dropout": Range(0.0, 0.6),
    "negatives": (64, 128, 256, 512),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
    "weight_decay": Range(0.0001, 1.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """eSASRec."""

    factors: int = field(64, "embedding width D", low=1)
    history: int = field(200, "latest interactions that are read, H", low=1)
    layers: int = field(2, "gated self-attention layers over the history", low=1)
    heads: int = field(1, "attention heads", low=1)
    dropout: float = field(0.1, "dropout on embeddings and in the encoder", low=0, high=0.99)
    negatives: int = field(256, "items that a window's positives share as negatives", low=1)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


class GatedSelfAttention(nn.Module):
    """The layers: x [B, H, D] and mask [B, H], False at padding, in; states [B, H, D], each of its own past, out.

    With `last`, the state of the last column is all that the last layer computes: [B, 1, D].
    """

    layers: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        width = x.shape[-1]

        def drop(values: Array) -> Array:
            return Dropout(self.dropout)(values, deterministic=deterministic)

        for n in range(self.layers):
            normed, kernel = nn.LayerNorm(name=f"norm_attention_{n}")(x), Projections(name=f"qkv_{n}")(width)
            if last and n == self.layers - 1:
                x, mixed = x[:, -1:], multi_head_of_last(normed, normed, kernel, mask, self.heads, drop)
            else:
                mixed = multi_head(normed, normed, kernel, mask, True, self.heads, drop)
            gate = nn.sigmoid(nn.Dense(width, name=f"gate_attention_{n}")(x))
            x = x + gate * drop(nn.Dense(width, use_bias=False, name=f"out_{n}")(mixed))
            gate = nn.sigmoid(nn.Dense(width, name=f"gate_feed_{n}")(x))
            normed = nn.LayerNorm(name=f"norm_feed_{n}")(x)
            opened = nn.silu(nn.Dense(4 * width, use_bias=False, name=f"feed_gate_{n}")(normed))
            inner = drop(opened * nn.Dense(4 * width, use_bias=False, name=f"feed_in_{n}")(normed))
            x = x + gate * drop(nn.Dense(width, use_bias=False, name=f"feed_out_{n}")(inner))
        return x


def make(config: Config, data: Data) -> Recommender:
    """eSASRec by gradient steps over windows of users' histories."""
    c, num_items, length = config, data.num_items, config.history
    net = Net(length, partial(GatedSelfAttention, c.layers, c.heads, c.dropout), c.dropout, c.stddev)
    given = over_windows(data, length)
    init = table_and_net(net, num_items, length, c.factors, c.stddev)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        return window_softmax(states_of(net, params, batch.history, key), params["tables"]["item"], batch)

    return over_next_items(given, length, net, init, sampler(length, num_items, c.negatives), loss)
