"""AutoRec (Sedhain, Menon, Sanner & Xie, AutoRec: Autoencoders Meet Collaborative Filtering, 2015), user-based.

A user's row r of the matrix of values, with 0 for what is not known, is coded and reconstructed:

    score(u, i) = <w_i, g(sum over j of r_j v_j + m)> + b_i,    g(x) = 1 / (1 + e^-x)

which minimises the sum over users of sum over known i of (r_i - score_i)^2, plus l2 / 2 (|V|^2 + |W|^2). As published
(`observed`), scores predict values; in `ordinal`, what a head of ratings.py makes of them does. Where all values are 1,
a constant would be perfect: then (`full`) each known entry counts as 1 and an unknown one as 0, with a weight of its
own (Hu, Koren & Volinsky, Collaborative Filtering for Implicit Feedback Datasets, 2008), so that scores rank.

Any history is a row, so new users need no training. The item-based variant codes columns instead: a user would be a
learned row of its decoder, whatever the query's history, and a new user would be none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import longest, whole_history
from ancf_jax.data.samplers import take_window
from ancf_jax.nn.layers import bias_as_factor, inner_products, table, with_one
from ancf_jax.nn.losses import masked_mean
from ancf_jax.nn.value_heads import make_head
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

SEARCH: Space = {
    "factors": (64, 128, 200, 400),
    "unobserved": Range(0.01, 1.0, log=True),
    "l2": Range(0.1, 1000.0, log=True),
    "batch_size": (32, 64, 128, 256),
}


@dataclass(frozen=True)
class Config:
    """AutoRec."""

    factors: int = field(200, "width D of the code", low=1)
    loss: str = field(
        "full", "squared error of observed entries or of the full row, or ordinal", ("observed", "full", "ordinal")
    )
    unobserved: float = field(0.1, "weight of an unknown entry against a known one, for full", low=0)
    l2: float = field(1.0, "L2 penalty on the weights, against the squared errors of all users", low=0)


class Rows(NamedTuple):
    """The rows of some users."""

    items: Array  # [B, H], padded with I
    values: Array  # [B, H]


def make(config: Config, data: Data) -> Recommender:
    """AutoRec by gradient steps over users."""
    num_items, rates = data.num_items, config.loss != "full"
    num_users = np.count_nonzero(np.diff(data.train.offsets))
    head = make_head("ordinal", data.train.values) if config.loss == "ordinal" else None
    mean = float(np.mean(data.train.values)) if config.loss == "observed" else 0.0

    def init(key: Array, given: Given) -> Params:
        coder, output = jax.random.split(key)
        tables = {
            "item": table(coder, num_items, config.factors, glorot(num_items, config.factors)),
            "output": table(output, num_items, config.factors, glorot(num_items, config.factors)),
            "output_bias": jnp.pad(jnp.full((num_items, 1), mean), ((0, 1), (0, 0))),
        }
        return {"tables": tables, "net": {"bias": jnp.zeros(config.factors)} | (head.init() if head else {})}

    def matrix(rows: Rows) -> tuple[Array, Array]:
        """r [B, I], and which entries are known [B, I]; what a user has several times counts as its mean."""
        counts, sums = (to_dense(rows.items, x, num_items) for x in (jnp.ones_like(rows.values), rows.values))
        known = counts > 0
        return sums / jnp.maximum(counts, 1) if rates else known.astype(jnp.float32), known

    def code(params: Params, r: Array) -> Array:
        item = params["tables"]["item"][:num_items]
        return jax.nn.sigmoid(r.astype(item.dtype) @ item + params["net"]["bias"])  # [B, D]

    def loss(params: Params, given: Given, batch: Rows, key: Array) -> tuple[Array, dict[str, Array]]:
        r, known = matrix(batch)
        weights = jnp.where(known, 1.0, 0.0 if rates else config.unobserved)
        scores = decode(params, code(params, r), num_items)
        losses = head.loss(params["net"], scores, r) if head else (r - scores) ** 2  # [B, I]
        errors = jnp.sum(weights * losses, 1)  # [B]
        squares = sum(jnp.sum(params["tables"][name].astype(jnp.float32) ** 2) for name in ("item", "output"))
        return masked_mean(errors + config.l2 / (2 * num_users) * squares, jnp.ones_like(errors, bool))

    model = autoencoder(data, init, loss, lambda params, rows: code(params, matrix(rows)[0]), batch=256)
    if head is None:
        return model._replace(rates=rates)

    def score(ready: Params, query: Query, items: Array | None = None) -> Array:
        return head.predict(ready["net"], model.score(ready, query, items))

    return model._replace(score=score, embed=None, rates=rates)


def glorot(fan_in: int, fan_out: int) -> float:
    """The standard deviation sqrt(2 / (in + out)) (Glorot & Bengio, Understanding the Difficulty of Training, 2010)."""
    return (2 / (fan_in + fan_out)) ** 0.5


def to_dense(items: Array, values: Array, num_items: int) -> Array:
    """Rows [B, I] with the sums of the values [B, H] of items [B, H]; padding I is dropped."""
    rows = jnp.arange(items.shape[0])[:, None]
    return jnp.zeros((items.shape[0], num_items)).at[rows, items].add(values, mode="drop")


def decode(params: Params, code: Array, num_items: int) -> Array:
    """<code, output_i> + output_bias_i of all items, float32 [B, I], for codes [B, D]."""
    output, bias = (params["tables"][name][:num_items] for name in ("output", "output_bias"))
    return (code.astype(output.dtype) @ output.T + bias[:, 0]).astype(jnp.float32)


def autoencoder(
    data: Data,
    init: Callable[[Array, Given], Params],
    loss: Callable[[Params, Given, Any, Array], tuple[Array, dict[str, Array]]],
    code: Callable[[Params, Rows], Array],
    *,
    batch: int,
    advance: Callable[[Params, Array], Params] | None = None,
) -> Recommender:
    """A model whose training row is a user, and whose scores are `decode` of code(params, rows) [B, D].

    A step takes whole rows of the matrix, so it holds some arrays [B, I]: fewer users in it where items are millions.
    """
    num_items, length = data.num_items, longest(data.train)
    some = np.flatnonzero(np.diff(np.asarray(data.train.offsets))).astype(np.int32)

    def sample(key: Array, given: Given, index: Array) -> Rows:
        users = jnp.asarray(given.own)[index]
        return Rows(*take_window(given.train, users, jnp.asarray(given.train.offsets)[users + 1], length, num_items))

    def embed(ready: Params, query: Query) -> tuple[Array, Array]:
        return with_one(code(ready, Rows(query.history, query.values))), ready["tables"]["vectors"]

    prepare = partial(bias_as_factor, item="output", bias="output_bias")
    learn = Gradient(len(some), init, sample, loss, batch=batch, advance=advance)
    return Recommender(
        learn, Given(data.train, some), whole_history(data), prepare, inner_products(embed), embed, narrow=1
    )
