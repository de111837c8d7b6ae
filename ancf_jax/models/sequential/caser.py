"""Caser: the last L interactions as an image, whose patterns two kinds of filters find.

Tang & Wang, Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding, 2018. The image E [L, D]
has the vectors of the last L items as its rows (zeros at padding), and

    horizontal:  o_k = max over t of relu(<F_k, E_t..t+h-1> + b_k),   some filters F_k [h, D] of every height h = 1..L
    vertical:    v_k = sum_l G_kl E_l,                                filters G_k [L]
    z = relu(W [o, v] + b);    score(u, i) = <q_i, [z, p_u]> + b_i

with q [I, 2 D] a table of its own; the unknown user's p is zero. A training row is an interaction with the L before it:
it and those after it, T in all, are the targets of one image (the skips of the paper), each against items of its own
that the user does not have, by binary cross-entropy.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import negatives, take_window
from ancf_jax.nn.layers import Dropout, bias_as_factor, inner_products, table, with_one
from ancf_jax.nn.losses import masked_mean, pair_loss
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

SEARCH: Space = {
    "factors": (32, 50, 64, 100),
    "history": (3, 5, 8),
    "targets": (1, 2, 3),
    "horizontal": (4, 8, 16, 32),
    "vertical": (2, 4, 8),
    "dropout": Range(0.1, 0.7),
    "negatives": (1, 3, 8, 16, 32),
    "l2": Range(0.00001, 0.1, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (256, 512, 1024),
}


@dataclass(frozen=True)
class Config:
    """Caser."""

    factors: int = field(50, "embedding width D", low=1)
    history: int = field(5, "latest interactions that are read, L", low=1)
    targets: int = field(3, "interactions after each L that are learned from them, T", low=1)
    horizontal: int = field(16, "horizontal filters of each height", low=1)
    vertical: int = field(4, "vertical filters", low=1)
    dropout: float = field(0.5, "dropout on what the filters found", low=0, high=0.99)
    negatives: int = field(3, "sampled items against each target, N", low=1)
    l2: float = field(0.0, "L2 penalty on the user's vector and those of target and negatives", low=0)
    stddev: float = field(0.1, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Images of one user each, and what came after them."""

    users: Array  # [B]
    history: Array  # [B, L]
    items: Array  # [B, T, 1 + N]: each target, padded with I, and its negatives


class Net(nn.Module):
    """Everything but the tables: the image [B, L, D] in, z [B, D] out."""

    config: Config

    @nn.compact
    def __call__(self, image: Array, deterministic: bool = True) -> Array:
        c, length, width = self.config, self.config.history, self.config.factors
        init = nn.initializers.lecun_normal()
        # A filter of height h is one of height L that ends with zeros, so that all of them are one product.
        filters = [self.param(f"horizontal_kernel_{h}", init, (h * width, c.horizontal)) for h in range(1, length + 1)]
        filters = [jnp.pad(kernel, ((0, length * width - len(kernel)), (0, 0))) for kernel in filters]
        bias = self.param("horizontal_bias", nn.initializers.zeros, (length * c.horizontal,))
        padded = jnp.pad(image, ((0, 0), (0, length - 1), (0, 0)))
        strips = jnp.concatenate([padded[:, row : row + length] for row in range(length)], axis=-1)  # [B, L, L D]
        found = nn.relu(strips @ jnp.concatenate(filters, axis=1) + bias)
        last = np.arange(length)[:, None] + np.repeat(np.arange(length), c.horizontal)  # the last row of the strip
        horizontal = jnp.where(last < length, found, 0.0).max(1)
        kernel = self.param("vertical_kernel", init, (length, c.vertical))
        vertical = jnp.einsum("bld,lk->bkd", image, kernel).reshape(len(image), -1)
        x = Dropout(c.dropout)(jnp.concatenate([horizontal, vertical], axis=1), deterministic=deterministic)
        return nn.relu(nn.Dense(width, name="join")(x))


def make(config: Config, data: Data) -> Recommender:
    """Caser by gradient steps over images and what came after them."""
    num_users, num_items, length = data.num_users, data.num_items, config.history
    net = Net(config)

    def init(key: Array, given: Given) -> Params:
        user, item, output, rest = jax.random.split(key, 4)
        tables = {
            "user": table(user, num_users, config.factors, config.stddev),
            "item": table(item, num_items, config.factors, config.stddev),
            "item_output": table(output, num_items, 2 * config.factors, config.stddev),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        return {"tables": tables, "net": net.init(rest, jnp.zeros((1, length, config.factors)))["params"]}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        train = given.train
        users = jnp.asarray(train.users)[index]
        history, _ = take_window(train, users, index, length, num_items)
        after = index[:, None] + jnp.arange(config.targets)
        inside = after < jnp.asarray(train.offsets)[users + 1][:, None]
        targets = jnp.where(inside, jnp.asarray(train.items).at[after].get(mode="clip"), num_items)
        others = negatives(key, train, users, config.targets * config.negatives, num_items)
        others = others.reshape(len(users), config.targets, config.negatives)
        return Batch(users, history, jnp.concatenate([targets[..., None], others], axis=-1))

    def states(params: Params, users: Array, history: Array, **mode) -> Array:
        """[z, p] [B, 2 D] of users and their last interactions; padding learns nothing."""
        tables = params["tables"]
        image = jnp.where((history < num_items)[..., None], tables["item"][history], 0.0)
        z = net.apply({"params": params["net"]}, image, **mode)
        return jnp.concatenate([z, tables["user"][users]], axis=-1)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        state = states(params, batch.users, batch.history, deterministic=False, rngs={"dropout": key})
        item = tables["item_output"][batch.items]  # [B, T, 1 + N, 2 D]
        scores = jnp.einsum("bd,btnd->btn", state, item) + tables["item_bias"][batch.items][..., 0]
        ratio = float(config.negatives)  # a plain sum over target and negatives
        losses = pair_loss("bce", scores[..., 0], scores[..., 1:], num_items=num_items, ratio=ratio)
        penalty = jnp.sum(tables["user"][batch.users] ** 2, -1)[:, None] + jnp.sum(item**2, (2, 3))
        return masked_mean(losses + config.l2 * penalty, batch.items[..., 0] < num_items)

    def embed(ready: Params, query: Query) -> tuple[Array, Array]:
        return with_one(states(ready, query.users, query.history)), ready["tables"]["vectors"]

    prepare = partial(bias_as_factor, item="item_output")
    learn = Gradient(len(data.train.users), init, sample, loss, batch=512)
    return Recommender(learn, Given(data.train), length, prepare, inner_products(embed), embed, order="yes")
