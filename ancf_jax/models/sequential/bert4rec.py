"""BERT4Rec: what was taken at a masked place, told from both sides of it.

    P(j_t = i) = softmax over i of <q_i, gelu(W state_t + b)> + b_i

(Sun et al., BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer, 2019).
A window of a user's interactions is embedded by the table that also scores, but for a share of its places, where one
learned mask vector stands in place of the item's. x_h = sqrt(D) q_jh + position_h passes blocks of self-attention
without a causal mask, so every state has seen the whole window, and the items at the masked places alone are predicted
(the cloze task), by a softmax over the catalogue. In some windows the latest interaction alone is masked: that is how a
query is answered, the mask in place of what comes next. The blocks and the scale sqrt(D) are SASRec's (see sasrec.py):
normalised before each sum, not after it as in the paper. There is no user vector, so new users need no training.
"""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import lengths_of, over_windows, shift_ends, take_window
from ancf_jax.nn.bits import uniform
from ancf_jax.nn.layers import Dropout, bias_as_factor, inner_products, table, with_one
from ancf_jax.nn.losses import catalogue_softmax
from ancf_jax.nn.self_attention import SelfAttention
from ancf_jax.types import Array, Data, Given, Gradient, InputError, Params, Query, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128),
    "layers": (1, 2, 3),
    "heads": (1, 2, 4),
    "dropout": Range(0.0, 0.6),
    "masked": Range(0.1, 0.6),
    "last": Range(0.0, 0.5),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
    "weight_decay": Range(0.0001, 1.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """BERT4Rec."""

    factors: int = field(64, "embedding width D", low=1)
    history: int = field(200, "latest interactions that are read, H; a query's mask is one of them", low=2)
    layers: int = field(2, "self-attention layers over the history", low=1)
    heads: int = field(2, "attention heads", low=1)
    dropout: float = field(0.2, "dropout on embeddings and in the encoder", low=0, high=0.99)
    masked: float = field(0.2, "share of a window's interactions that are masked, at least one", above=0, high=1)
    last: float = field(0.1, "share of the windows in which the latest interaction alone is masked", low=0, high=1)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


class Batch(NamedTuple):
    """Windows of one user each, and what was masked of them."""

    history: Array  # [B, H], I at padding and I + 1 where masked
    places: Array  # [B, P] columns
    targets: Array  # [B, P] items that were there, padded with I


class Net(nn.Module):
    """Everything but the tables: rows [B, H, D] of the history in, projected states [B, P, D] at places [B, P] out.

    Without places, of the last column alone, [B, 1, D].
    """

    config: Config

    @nn.compact
    def __call__(
        self, rows: Array, masked: Array, present: Array, places: Array | None, deterministic: bool = True
    ) -> Array:
        c = self.config
        position = self.param("position", nn.initializers.normal(c.stddev), (c.history, c.factors))
        mask = self.param("mask", nn.initializers.normal(c.stddev), (c.factors,))
        x = jnp.where(masked[..., None], mask, rows) * c.factors**0.5 + position[-rows.shape[1] :]
        x = Dropout(c.dropout)(x, deterministic=deterministic)
        encoder = SelfAttention(c.layers, c.heads, c.dropout, causal=False, feed=4 * c.factors)
        states = encoder(x, present, deterministic=deterministic, last=places is None)
        if places is not None:
            states = jnp.take_along_axis(states, places[..., None], axis=1)
        return nn.gelu(nn.Dense(c.factors, name="project")(states))


def make(config: Config, data: Data) -> Recommender:
    """BERT4Rec by gradient steps over windows of users' histories."""
    num_items, length = data.num_items, config.history
    net = Net(config)
    given = over_windows(data, length)

    def states_at(params: Params, history: Array, places: Array | None, **options) -> Array:
        """Projected states with a last column of 1, for the bias [B, P, D + 1]."""
        rows = params["tables"]["item"][jnp.minimum(history, num_items)]
        arguments = (rows, history > num_items, history != num_items, places)
        states = net.apply({"params": params["net"]}, *arguments, **options)
        return with_one(states)

    def init(key: Array, given: Given) -> Params:
        item, rest = jax.random.split(key)
        tables = {
            "item": table(item, num_items, config.factors, config.stddev),
            "item_bias": jnp.zeros((num_items + 1, 1)),
        }
        rows, present = jnp.zeros((1, length, config.factors)), jnp.ones((1, length), bool)
        variables = net.init(rest, rows, present, present, jnp.zeros((1, 1), jnp.int32))
        return {"tables": tables, "net": variables["params"]}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        shift, pick, draw = jax.random.split(key, 3)
        users, ends = given.own.at(index)
        ends = shift_ends(shift, given.train, users, ends, length)
        window, _ = take_window(given.train, users, ends, length, num_items)
        last = uniform(pick, users.shape) < config.last
        return cloze(draw, window, config.masked, last, num_items)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        vectors = bias_as_factor(params, given)["tables"]["vectors"]
        states = states_at(params, batch.history, batch.places, deterministic=False, rngs={"dropout": key})
        positive = jnp.sum(states * vectors[batch.targets], -1)  # [B, P]
        return catalogue_softmax(states, vectors, positive, batch.targets < num_items)

    def embed(ready: Params, query: Query) -> tuple[Array, Array]:
        end = jnp.full((len(query.users), 1), num_items + 1)
        history = jnp.concatenate([query.history[:, 1:], end], axis=1)
        return states_at(ready, history, None)[:, 0], ready["tables"]["vectors"]

    def narrow(batch: Batch, width: int) -> Batch:
        cut = batch.history.shape[1] - width
        return Batch(batch.history[:, cut:], jnp.maximum(batch.places - cut, 0), batch.targets)

    lengths = lengths_of(given.own, given.train, length, shifted=True)
    learn = Gradient(len(lengths), init, sample, loss, max(8192 // length, 1), lengths=lengths, narrow=narrow)
    return Recommender(learn, given, length, bias_as_factor, inner_products(embed), embed, order="yes")


def cloze(key: Array, window: Array, share: float, last: Array, padding: int) -> Batch:
    """Mask a random share of the interactions of each window [B, H], at least one; where `last` [B], the latest alone.

    The number of places P is that of a whole window.
    """
    rows, length = window.shape
    count = max(round(share * length), 1)
    present = window < padding
    size = present.sum(1, keepdims=True)  # [B, 1]
    wanted = jnp.where(last[:, None], 1, jnp.maximum(jnp.round(share * size), 1))
    lottery = jnp.where(present, uniform(key, window.shape), 2.0)
    lottery = lottery.at[:, -1].add(jnp.where(last, -2.0, 0.0))  # there it is drawn first
    _, places = jax.lax.top_k(-lottery, count)
    drawn = jnp.arange(count) < jnp.minimum(wanted, size)
    targets = jnp.where(drawn, jnp.take_along_axis(window, places, 1), padding)
    masked = jnp.where(drawn, places, length)
    return Batch(window.at[jnp.arange(rows)[:, None], masked].set(padding + 1, mode="drop"), places, targets)
