"""Matrix factorisation with biases: score(u, i) = b_u + b_i + <p_u, q_i>.

The user biases carry the global one, which SGD on batches would make oscillate: every pair of a batch moves it.

Trained on each interaction against uniform items, by logistic loss as in Rendle, Krichene, Zhang & Anderson, Neural
Collaborative Filtering vs. Matrix Factorization Revisited (2020):

    -log sigma(s_ui) - sum over n of N negatives log sigma(-s_un)
    + l2 (|p_u|^2 + |q_i|^2) + bias_l2 (b_u^2 + b_i^2), summed over those pairs

A window of one user's interactions shares its pool of negatives, and a pool of 0 is the whole catalogue: then the sum
over N sampled negatives is replaced by its expectation, N times the mean over all items, at the cost of one matrix
product and without its sampling noise.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import negatives, over_windows, take_window
from ancf_jax.models.factors.biases import biases_as_factors, embed
from ancf_jax.nn.layers import inner_products, table
from ancf_jax.nn.losses import PAIR_LOSSES, masked_mean, pair_loss
from ancf_jax.types import Array, Data, Given, Gradient, Params, Recommender

SEARCH: Space = {
    "factors": (16, 32, 64, 128),
    "negatives": (1, 2, 4, 8, 16, 32),
    "l2": Range(0.0001, 0.1, log=True),
    "bias_l2": Range(0.00001, 0.1, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (8, 16, 32, 64),
}


@dataclass(frozen=True)
class Config:
    """Matrix factorisation."""

    factors: int = field(64, "embedding width D", low=1)
    loss: str = field("bce", "loss of a positive against its negatives", PAIR_LOSSES)
    negatives: int = field(8, "negatives per positive", low=1)
    window: int = field(64, "interactions of one user in a training row", low=1)
    pool: int = field(0, "sampled items that a window's positives share as negatives (0: the whole catalogue)", low=0)
    l2: float = field(0.005, "L2 penalty on the embeddings of each scored pair", low=0)
    bias_l2: float = field(0.0, "L2 penalty on the biases of each scored pair", low=0)
    stddev: float = field(0.1, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Windows of one user each."""

    users: Array  # [B]
    targets: Array  # [B, P], padded with I
    negatives: Array  # [B, N], or [1, I]: the whole catalogue


def make(config: Config, data: Data) -> Recommender:
    """Biased matrix factorisation by gradient steps."""
    num_users, num_items = data.num_users, data.num_items
    given = over_windows(data, config.window)

    def init(key: Array, given: Given) -> Params:
        user, item = jax.random.split(key)
        tables = {
            "user": table(user, num_users, config.factors, config.stddev),
            "item": table(item, num_items, config.factors, config.stddev),
            "user_bias": jnp.zeros((num_users + 1, 1)),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": {}}

    def sample(key: Array, given: Given, rows: Array) -> Batch:
        users, ends = given.own.at(rows)
        targets, _ = take_window(given.train, users, ends, config.window, num_items)
        if config.pool == 0:
            return Batch(users, targets, jnp.arange(num_items)[None])
        return Batch(users, targets, negatives(key, given.train, users, config.pool, num_items))

    def squares(user: Array, target: Array, others: Array) -> Array:
        """|x_u|^2 + |x_i|^2 [B, P] of rows [B, D], [B, P, D], [B, N, D], summed over a positive and its negatives."""
        every = (1 + config.negatives) * jnp.sum(user**2, -1, keepdims=True) + jnp.sum(target**2, -1)
        return every + config.negatives * jnp.mean(jnp.sum(others**2, -1), -1, keepdims=True)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user, user_bias = tables["user"][batch.users], tables["user_bias"][batch.users]
        target, others = tables["item"][batch.targets], tables["item"][batch.negatives]
        target_bias, other_bias = tables["item_bias"][batch.targets], tables["item_bias"][batch.negatives]
        positive = jnp.einsum("bd,bpd->bp", user, target) + target_bias[..., 0] + user_bias
        negative = user @ others[0].T if config.pool == 0 else jnp.einsum("bd,bnd->bn", user, others)
        negative = negative + other_bias[..., 0] + user_bias  # [B, N]
        losses = pair_loss(config.loss, positive, negative[:, None], num_items=num_items, ratio=float(config.negatives))
        losses = losses + config.l2 * squares(user, target, others)
        if config.bias_l2:
            losses = losses + config.bias_l2 * squares(user_bias, target_bias, other_bias)
        return masked_mean(losses, batch.targets < num_items)

    def prepare(params: Params, given: Given) -> Params:
        return biases_as_factors(params)

    learn = Gradient(len(given.own.users), init, sample, loss, batch=max(1024 // config.window, 1))
    return Recommender(learn, given, 0, prepare, inner_products(embed), embed)
