"""GRU4Rec: score(u, i) = <h_H, q_i> + b_i, where the state h_H has read u's history step by step.

Hidasi, Karatzoglou, Baltrunas & Tikk, Session-based Recommendations with Recurrent Neural Networks, 2016; Hidasi &
Karatzoglou, Recurrent Neural Networks with Top-k Gains for Session-based Recommendations, 2018. The items are embedded
by the table that also scores (the second paper's constrained embedding), and x_t = q_jt passes layers of GRU or LSTM
cells (layers.Recurrence). A history is a session here: a training row is a window of one user's interactions, and each
of its columns predicts the next one, against all items or against uniform ones that the columns of a window share. New
users need no training.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import over_windows
from ancf_jax.models.sequential.next_item import Batch, over_next_items, sampler, states_of
from ancf_jax.nn.layers import Recurrence, bias_as_factor, table, with_one
from ancf_jax.nn.losses import bpr_max, catalogue_softmax, masked_mean, pair_loss
from ancf_jax.types import Array, Data, Given, Params, Recommender

LOSSES = ("bpr_max", "sampled_softmax", "full_softmax")
SEARCH: Space = {
    "factors": (32, 64, 128, 256),
    "cell": ("gru", "lstm"),
    "layers": (1, 2),
    "dropout": Range(0.0, 0.6),
    "loss": LOSSES,
    "negatives": (64, 128, 256, 512),
    "score_l2": Range(0.01, 10.0, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
}


@dataclass(frozen=True)
class Config:
    """GRU4Rec."""

    factors: int = field(128, "embedding width D, and width of the state", low=1)
    history: int = field(100, "latest interactions that are read, H", low=1)
    cell: str = field("gru", "recurrent cell", ("gru", "lstm"))
    layers: int = field(1, "recurrent layers", low=1)
    dropout: float = field(0.2, "dropout on embeddings and on states", low=0, high=0.99)
    loss: str = field("full_softmax", "loss of a positive against its negatives", LOSSES)
    negatives: int = field(512, "items that a window's positives share as negatives, unless full_softmax", low=1)
    score_l2: float = field(1.0, "weight of the squares of the negatives' scores, for bpr_max", low=0)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)


def make(config: Config, data: Data) -> Recommender:
    """GRU4Rec by gradient steps over windows of users' histories."""
    num_items, length = data.num_items, config.history
    net = Recurrence(config.layers, config.cell, config.dropout)
    given = over_windows(data, length)

    def init(key: Array, given: Given) -> Params:
        item, rest = jax.random.split(key)
        variables = net.init(rest, jnp.zeros((1, length, config.factors)), jnp.ones((1, length), bool))
        tables = {
            "item": table(item, num_items, config.factors, config.stddev),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": variables["params"]}

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        item, bias = params["tables"]["item"], params["tables"]["item_bias"]
        states, counted = states_of(net, params, batch.history, key), batch.targets < num_items
        positive = jnp.sum(states * item[batch.targets], -1) + bias[batch.targets][..., 0]  # [B, H]
        if config.loss == "full_softmax":
            vectors = bias_as_factor(params, given)["tables"]["vectors"]
            return catalogue_softmax(with_one(states), vectors, positive, counted)
        negative = jnp.einsum("bhd,bnd->bhn", states, item[batch.negatives]) + bias[batch.negatives][:, None, :, 0]
        negative = jnp.where(batch.absent[:, None], -jnp.inf, negative)
        if config.loss == "bpr_max":
            return masked_mean(bpr_max(positive, negative, config.score_l2), counted)
        return masked_mean(pair_loss(config.loss, positive, negative, num_items=num_items, ratio=1.0), counted)

    sample = sampler(length, num_items, 0 if config.loss == "full_softmax" else config.negatives)
    return over_next_items(given, length, net, init, sample, loss, prepare=bias_as_factor, extend=with_one)
