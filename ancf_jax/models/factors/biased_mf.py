"""Biased matrix factorisation of ratings: the predicted value is mu + b_u + b_i + <p_u, q_i>.

With mu the mean of the training values r_ui, the squared error

    (r_ui - mu - b_u - b_i - <p_u, q_i>)^2 + l2 (b_u^2 + b_i^2 + |p_u|^2 + |q_i|^2)

is minimised by gradient steps over the interactions (Koren, Bell & Volinsky, Matrix Factorization Techniques for
Recommender Systems, 2009; the model "SVD" of Koren, Factorization Meets the Neighborhood, 2008). Item vectors start at
zero, so that an item without training values is predicted by the biases alone, as an unknown user is. With ordinal, a
head of ratings.py makes loss and prediction of b_u + b_i + <p_u, q_i>.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.models.factors.biases import biases_as_factors, embed
from ancf_jax.nn.layers import inner_products, table
from ancf_jax.nn.losses import masked_mean
from ancf_jax.nn.value_heads import RATING_LOSSES, make_head
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

SEARCH: Space = {
    "factors": (32, 64, 100, 200),
    "l2": Range(0.005, 0.3, log=True),
    "stddev": Range(0.005, 0.3, log=True),
    "batch_size": (128, 256, 512, 1024),
}


@dataclass(frozen=True)
class Config:
    """Biased matrix factorisation of ratings."""

    factors: int = field(100, "embedding width D", low=1)
    loss: str = field("squared", "loss of a predicted value", RATING_LOSSES)
    l2: float = field(0.05, "L2 penalty on the biases and embeddings of each rating", low=0)
    stddev: float = field(0.1, "standard deviation of the initial user embeddings", low=0)


class Batch(NamedTuple):
    """Ratings."""

    users: Array  # [B]
    items: Array  # [B]
    values: Array  # [B]


def make(config: Config, data: Data) -> Recommender:
    """Biased matrix factorisation by gradient steps over ratings."""
    num_users, num_items = data.num_users, data.num_items
    values = np.asarray(data.train.values)
    head = make_head("ordinal", values) if config.loss == "ordinal" else None
    mean = float(values.mean()) if len(values) and head is None else 0.0

    def init(key: Array, given: Given) -> Params:
        tables = {
            "user": table(key, num_users, config.factors, config.stddev),
            "item": jnp.zeros((num_items + 1, config.factors)),
            "user_bias": jnp.zeros((num_users + 1, 1)),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": head.init() if head else {}}

    def sample(key: Array, given: Given, rows: Array) -> Batch:
        return Batch(*(jnp.asarray(column)[rows] for column in given.train[:3]))

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user, item = tables["user"][batch.users], tables["item"][batch.items]
        user_bias, item_bias = tables["user_bias"][batch.users], tables["item_bias"][batch.items]
        scores = mean + jnp.sum(user * item, axis=1) + (user_bias + item_bias)[:, 0]
        squares = sum(jnp.sum(part**2, axis=1) for part in (user, item, user_bias, item_bias))
        losses = head.loss(params["net"], scores, batch.values) if head else (batch.values - scores) ** 2
        return masked_mean(losses + config.l2 * squares, jnp.ones_like(losses, bool))

    def prepare(params: Params, given: Given) -> Params:
        return biases_as_factors(params, mean)

    def score(ready: Params, query: Query, items: Array | None = None) -> Array:
        scores = inner_products(embed)(ready, query, items)
        return head.predict(ready["net"], scores) if head else scores

    learn = Gradient(len(values), init, sample, loss, batch=256)
    return Recommender(learn, Given(data.train), 0, prepare, score, None if head else embed, rates=True)
