"""BPR-MF: score(u, i) = b_i + <p_u, q_i>, learned so that what a user has scores above what the user has not.

For each interaction (u, i) an item j is drawn that u does not have, and

    -log sigma(s_ui - s_uj) + l2 (|p_u|^2 + |q_i|^2 + |q_j|^2)

or its mean over several such j is minimised (Rendle, Freudenthaler, Gantner & Schmidt-Thieme, BPR: Bayesian
Personalized Ranking from Implicit Feedback, 2009). A user bias would cancel out.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import negatives
from ancf_jax.nn.layers import bias_as_factor, inner_products, table, with_one
from ancf_jax.nn.losses import masked_mean, pair_loss, pair_squares
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

SEARCH: Space = {
    "factors": (16, 32, 64, 128),
    "negatives": (1, 2, 4, 8, 16, 32, 64),
    "l2": Range(0.00001, 0.1, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (512, 1024, 2048, 4096),
}


@dataclass(frozen=True)
class Config:
    """BPR-MF."""

    factors: int = field(64, "embedding width D", low=1)
    negatives: int = field(1, "sampled negatives per positive, N", low=1)
    l2: float = field(0.002, "L2 penalty on the embeddings of each triple", low=0)
    stddev: float = field(0.1, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Triples (u, i, j): one gather, and so one scatter of gradients, for all items."""

    users: Array  # [B]
    items: Array  # [B, 1 + N]: the user's, and those that the user does not have


def make(config: Config, data: Data) -> Recommender:
    """BPR-MF by gradient steps over triples."""
    num_users, num_items = data.num_users, data.num_items

    def init(key: Array, given: Given) -> Params:
        user, item = jax.random.split(key)
        tables = {
            "user": table(user, num_users, config.factors, config.stddev),
            "item": table(item, num_items, config.factors, config.stddev),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": {}}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, items = jnp.asarray(given.train.users)[index], jnp.asarray(given.train.items)[index]
        others = negatives(key, given.train, users, config.negatives, num_items)
        return Batch(users, jnp.concatenate([items[:, None], others], axis=1))

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user, item = tables["user"][batch.users], tables["item"][batch.items]
        scores = jnp.einsum("bd,bkd->bk", user, item) + tables["item_bias"][batch.items][..., 0]  # [B, 1 + N]
        losses = pair_loss("bpr", scores[:, 0], scores[:, 1:], num_items=num_items, ratio=1.0)
        losses = losses + config.l2 * pair_squares(jnp.sum(user**2, -1), jnp.sum(item**2, -1))
        return masked_mean(losses, jnp.ones_like(losses, bool))

    def embed(ready: Params, query: Query) -> tuple[Array, Array]:
        return with_one(ready["tables"]["user"][query.users]), ready["tables"]["vectors"]

    learn = Gradient(len(data.train.users), init, sample, loss, batch=2048)
    return Recommender(learn, Given(data.train), 0, bias_as_factor, inner_products(embed), embed)
