"""SASRec (Kang & McAuley, Self-Attentive Sequential Recommendation, 2018): score(u, i) = <state of u's history, q_i>.

A history j_1..j_H is embedded by the table that also scores, x_h = sqrt(D) q_jh + position_h, and passes blocks of
causal self-attention and of a point-wise layer, so that the state at column h has seen j_1..j_h alone:

    x <- x + MultiHead(norm(x));  x <- x + W_2 relu(W_1 norm(x) + b_1) + b_2;  then one last norm

or, with --block=code, those of the authors' code, see `CodeBlocks`.

There is no user vector, so new users need no training. A training row is a window of one user's interactions, and each
of its columns predicts the next one, all in one pass: by cross-entropy against one item that the user does not have, as
published; by generalised cross-entropy against N of them (Petrov & Macdonald, gSASRec, 2023), here of s - log N; or by
a softmax over the catalogue or a sample of it. Where a column has several negatives, a window's columns share them.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import negatives, next_items, over_windows
from ancf_jax.models.sequential.next_item import (
    SOFTMAX_LOSSES,
    Batch,
    Net,
    over_next_items,
    sampler,
    states_of,
    table_and_net,
    window_scores,
    window_softmax,
)
from ancf_jax.nn.layers import Dropout
from ancf_jax.nn.losses import masked_mean, pair_loss
from ancf_jax.nn.self_attention import Projections, SelfAttention, multi_head, multi_head_of_last
from ancf_jax.types import Array, Data, Given, InputError, Params, Recommender

BLOCKS = ("paper", "code")
LOSSES = ("bce", "gbce", *SOFTMAX_LOSSES)
SEARCH: Space = {
    "factors": (32, 64, 128),
    "layers": (1, 2, 3),
    "heads": (1, 2, 4),
    "dropout": Range(0.0, 0.6),
    "loss": LOSSES,
    "negatives": (64, 128, 256),
    "calibration": Range(0.0, 1.0),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
    "weight_decay": Range(0.0001, 1.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """SASRec."""

    factors: int = field(64, "embedding width D", low=1)
    history: int = field(200, "latest interactions that are read, H", low=1)
    layers: int = field(2, "self-attention layers over the history", low=1)
    heads: int = field(1, "attention heads", low=1)
    dropout: float = field(0.2, "dropout on embeddings and in the encoder", low=0, high=0.99)
    loss: str = field("bce", "loss of a positive against its negatives", LOSSES)
    negatives: int = field(128, "items that a window's positives share as negatives, for gbce, sampled_softmax", low=1)
    calibration: float = field(0.75, "calibration t of gbce: from 0, bce, to 1, as without sampling", low=0, high=1)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)
    block: str = field("paper", "layers: as the paper has them, or as the authors' code and its heirs do", BLOCKS)

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


def small(key: Array, shape: tuple[int, ...], kind: Any = jnp.float32) -> Array:
    """Uniform between +- 1 / sqrt(D), for a kernel [D, D] and its bias [D], as PyTorch starts a convolution."""
    return jax.random.uniform(key, shape, kind, -(shape[-1] ** -0.5), shape[-1] ** -0.5)


class CodeBlocks(nn.Module):
    """The blocks that the authors' code has in place of the paper's, over a history [B, H, D] of at most `length`.

        x <- norm(x + MultiHead(norm(x), x));  x <- x + W_2 relu(W_1 x + b_1) + b_2;  then one last norm

    Queries are of norm(x), keys and values of x itself, and padding, whose x is 0, is attended to: what is short of
    `length` takes its share. Dropout is on what attends, within the point-wise layer, which starts `small`, and on what
    it adds.
    """

    layers: int
    heads: int
    dropout: float
    length: int

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        width = x.shape[-1]
        padding = self.length - jnp.sum(mask, 1)
        dense = partial(nn.Dense, width, kernel_init=small, bias_init=small)

        def drop(values: Array) -> Array:
            return Dropout(self.dropout)(values, deterministic=deterministic)

        for n in range(self.layers):
            normed, kernel = nn.LayerNorm(name=f"norm_attention_{n}")(x), Projections(name=f"qkv_{n}")(width)
            if last and n == self.layers - 1:
                mixed = multi_head_of_last(normed, x, kernel, mask, self.heads, drop, padding)
                x = x[:, -1:]
            else:
                mixed = multi_head(normed, x, kernel, mask, True, self.heads, drop, padding)
            mixed = nn.Dense(width, use_bias=False, name=f"out_{n}")(mixed)
            x = nn.LayerNorm(name=f"norm_feed_{n}")(x + mixed)
            inner = drop(nn.relu(dense(name=f"feed_in_{n}")(x)))
            x = x + drop(dense(name=f"feed_out_{n}")(inner))
        return nn.LayerNorm(name="norm")(x)


def make(config: Config, data: Data) -> Recommender:
    """SASRec by gradient steps over windows of users' histories."""
    num_items, length = data.num_items, config.history
    c = config
    if c.block == "paper":
        encoder = partial(SelfAttention, c.layers, c.heads, c.dropout, causal=True, feed=c.factors, activation=nn.relu)
    else:
        encoder = partial(CodeBlocks, c.layers, c.heads, c.dropout, length)
    net = Net(length, encoder, c.dropout, c.stddev)
    given = over_windows(data, length)
    init = table_and_net(net, num_items, length, c.factors, c.stddev)
    shared = sampler(length, num_items, 0 if config.loss == "full_softmax" else config.negatives)

    def own_negatives(key: Array, given: Given, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        users, ends = given.own.at(index)
        history, targets = next_items(pick, given.train, users, ends, length, num_items)
        others = negatives(draw, given.train, users, length, num_items)
        return Batch(history, targets, others, jnp.zeros_like(others, bool))

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        item, states = params["tables"]["item"], states_of(net, params, batch.history, key)
        if config.loss in SOFTMAX_LOSSES:
            return window_softmax(states, item, batch)
        if config.loss == "bce":
            positive, negative = (jnp.sum(states * item[ids], -1) for ids in (batch.targets, batch.negatives))
            negative = negative[..., None]
        else:
            # So N negatives weigh as one positive from the start. To get there, the vectors would all move in one
            # direction, and as the encoder reads them too, that drowns what tells items apart.
            positive, negative = (scores - jnp.log(config.negatives) for scores in window_scores(states, item, batch))
        losses = pair_loss(
            config.loss, positive, negative, num_items=num_items, ratio=1.0, calibration=config.calibration
        )
        return masked_mean(losses, batch.targets < num_items)

    if config.loss != "bce":
        return over_next_items(given, length, net, init, shared, loss)
    return over_next_items(given, length, net, init, own_negatives, loss, columns=Batch._fields)
