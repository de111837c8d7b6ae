"""ANCF that predicts values: how a user will rate item i, or how much of it the user will buy.

The candidate attends to the user's past values by least squares, the weights a softmax cannot have: two items of the
history that say the same count once, and a candidate unlike all of them gets little from any (Garnelo & Czarnecki,
Exploring the Space of Key-Value-Query Models with Intention, 2023). In each head, with z_h the value of interaction h,
less the mean and divided by the standard deviation of all, and x_h = [k_h, c] its item's key and a constant:

    s_ui = m_ui + sum over h of a_ih (z_h - m_uh),    a_ih = x_i . (sum over h of x_h x_h' + (t + t' n) 1)^-1 x_h
    m_ui = b_i + <y_u, k_i>,    y_u = (n + 1)^-1/2 sum over h of y_h

where m_uh is m_u of h's item but without y_h in the sum. So a head is Bayesian linear regression on the user's n
interactions. What was chosen, whatever its value, tells about taste, and makes the prior mean y_u (as in SVD++: Koren,
Factorization Meets the Neighborhood, 2008); the user's values say what is different. Nothing is learned of users, so
new ones are predicted as well as others. A score is the mean over heads, and a head of ratings.py makes the prediction
from it.

A training row is a window of one user's interactions. Each of them is predicted after all others, in closed form:
with r = z - m, the prediction without its own value is m_uh + (sum over h' of a_hh' r_h' - a_hh r_h) / (1 - a_hh), at
the n of the whole window and with the others' m as it is. A head reads the values of a random part of the window,
another in each step, and predicts all. Each head has a loss of its own, so that their mean is that of an ensemble:

    sum over h of mean over heads of (loss of h + l2 |k_h|^2 + choice_l2 |y_h|^2) is minimised, k and y those of a head
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import latest
from ancf_jax.data.samplers import over_windows, take_window
from ancf_jax.nn.attention import split_heads
from ancf_jax.nn.bits import kept
from ancf_jax.nn.layers import inner_products, table
from ancf_jax.nn.losses import masked_mean
from ancf_jax.nn.value_heads import RATING_LOSSES, damped_means, make_head, moments
from ancf_jax.types import Array, Data, Given, Gradient, InputError, Params, Query, Recommender, as_they_are

DAMPING = 5.0  # values that an item's mean must outweigh

exactly = jax.default_matmul_precision("highest")  # systems do not forgive the short mantissas of accelerators
SEARCH: Space = {
    "factors": (32, 64, 128, 256),
    "heads": (1, 2, 4, 8),
    "dropout": Range(0.0, 0.6),
    "l2": Range(0.01, 3.0, log=True),
    "choice_l2": Range(0.001, 1.0, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
}


@dataclass(frozen=True)
class Config:
    """ANCF for values."""

    factors: int = field(128, "width of the keys of all heads", low=1)
    heads: int = field(4, "attention heads", low=1)
    history: int = field(400, "latest interactions attended to, H", low=1)
    loss: str = field("squared", "loss of a predicted value", RATING_LOSSES)
    dropout: float = field(0.3, "share of the values that a head does not read in a training step", low=0, high=0.99)
    l2: float = field(0.3, "L2 penalty on a head's key of each interaction", low=0)
    choice_l2: float = field(0.1, "L2 penalty on what each says by having been chosen, y_h", low=0)
    stddev: float = field(0.1, "standard deviation of the initial keys", low=0)

    def __post_init__(self) -> None:
        if self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


class Batch(NamedTuple):
    """Windows of one user each."""

    items: Array  # [B, H], padded with I
    values: Array  # [B, H]


class Past(NamedTuple):
    """What each of the N heads makes of a history; 0 at padding."""

    keys: Array  # [B, N, H, d + 1]: x
    prior: Array  # [B, N, H]: m, of each interaction without what its own choice says
    residual: Array  # [B, N, H]: r
    taste: Array  # [B, N, d]: y_u


@jax.custom_vjp
def inverse_of(a: Array) -> Array:
    """The inverses of symmetric positive definite matrices [..., n, n], whose gradient needs products alone.

    JAX's own gradient solves triangular systems side by side, and on a CPU two such batches may wait for each other's
    threads for ever.
    """
    one = jnp.broadcast_to(jnp.eye(a.shape[-1]), a.shape)
    return jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(a), True), one)


def _forward(a: Array) -> tuple[Array, Array]:
    found = inverse_of(a)
    return found, found


@exactly
def _backward(found: Array, gradient: Array) -> tuple[Array]:
    return (-found @ gradient @ found,)


inverse_of.defvjp(_forward, _backward)


def make(config: Config, data: Data) -> Recommender:
    """ANCF that predicts values, by gradient steps over windows."""
    num_items, heads, length = data.num_items, config.heads, config.history
    head = make_head(config.loss, data.train.values)
    mean, scale = moments(data.train.values)
    given = over_windows(data, length)

    def init(key: Array, given: Given) -> Params:
        items = jnp.asarray(given.train.items)
        usual = damped_means(jnp.asarray(given.train.values) - mean, items, num_items + 1, DAMPING)  # [I + 1]
        trained = jnp.zeros((num_items + 1, 1), bool).at[items].set(True)
        tables = {
            "item": table(key, num_items, config.factors, config.stddev) * trained,  # no step moves the others
            "item_choice": jnp.zeros((num_items + 1, config.factors)),
            "item_bias": usual[:, None] / scale,
        }
        start = {"constant": 0.5, "log_ridge": 0.0, "log_ridge_each": -3.0}
        net = {name: jnp.full(heads, value) for name, value in start.items()}
        return {"tables": tables, "net": {**net, "head": head.init()}}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, ends = given.own.at(index)
        return Batch(*take_window(given.train, users, ends, length, num_items))

    def read(params: Params, items: Array, values: Array) -> Past:
        tables, there = params["tables"], (items < num_items)[..., None]  # [B, H, 1]
        keys, choice = (
            jnp.where(there[..., None], split_heads(tables[name][items].astype(jnp.float32), heads), 0.0)
            for name in ("item", "item_choice")
        )
        choice = choice * jax.lax.rsqrt(1.0 + there.sum(1, keepdims=True))[..., None]
        taste = choice.sum(1)  # [B, N, d]
        others = jnp.einsum("bhnd,bhnd->bhn", taste[:, None] - choice, keys)
        prior = jnp.where(there, tables["item_bias"][items].astype(jnp.float32) + others, 0.0)
        residual = jnp.where(there, ((values - mean) / scale)[..., None], 0.0) - prior
        constant = jnp.broadcast_to(params["net"]["constant"][:, None] * there[..., None], (*keys.shape[:-1], 1))
        keys = jnp.concatenate([keys, constant], axis=-1)
        keys, prior, residual = (jnp.moveaxis(part, 1, 2) for part in (keys, prior, residual))
        return Past(keys, prior, residual, taste)

    def inverse(net: dict, keys: Array, seen: Array) -> Array:
        """(sum over h of x_h x_h' + (t + t' n) 1)^-1 [B, N, d + 1, d + 1] over those seen [B, N, H]."""
        ridge = jnp.exp(net["log_ridge"]) + jnp.exp(net["log_ridge_each"]) * seen.sum(-1)  # [B, N]
        gram = jnp.einsum("bnhe,bnhf->bnef", keys * seen[..., None], keys)
        return inverse_of(gram + ridge[..., None, None] * jnp.eye(keys.shape[-1]))

    @exactly
    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        there, past = batch.items < num_items, read(params, batch.items, batch.values)
        seen = (there[:, None] & kept(key, past.prior.shape, config.dropout)).astype(jnp.float32)  # [B, N, H]
        through = past.keys @ inverse(params["net"], past.keys, seen)  # [B, N, H, d + 1]
        own = jnp.sum(through * past.keys, -1) * seen
        fit = jnp.einsum("bnhe,bne->bnh", through, jnp.einsum("bnhe,bnh->bne", past.keys, past.residual * seen))
        scores = past.prior + (fit - own * past.residual) / (1.0 - own)
        losses = head.loss(params["net"]["head"], scores, batch.values[:, None]).mean(1)  # [B, H]
        keys, choice = (params["tables"][name][batch.items] for name in ("item", "item_choice"))
        squares = config.l2 * jnp.sum(keys**2, -1) + config.choice_l2 * jnp.sum(choice**2, -1)
        return masked_mean(losses + squares / heads, there)

    @exactly
    def embed(ready: Params, query: Query) -> tuple[Array, Array]:
        """Vectors whose inner products are values with a squared loss, else scores."""
        tables, net, there = ready["tables"], ready["net"], query.history < num_items
        past = read(ready, query.history, query.values)
        seen = jnp.broadcast_to(there[:, None], past.prior.shape).astype(jnp.float32)
        total = jnp.einsum("bnhe,bnh->bne", past.keys, past.residual)
        weights = jnp.einsum("bnef,bnf->bne", inverse(net, past.keys, seen), total)
        user = (past.taste + weights[..., :-1]).reshape(len(there), -1) / heads
        offset = jnp.mean(weights[..., -1] * net["constant"], -1, keepdims=True)
        vectors, bias = (tables[name][:num_items].astype(jnp.float32) for name in ("item", "item_bias"))
        ones = jnp.ones_like(offset), jnp.ones_like(bias)
        if config.loss == "squared":
            user, offset, bias = scale * user, mean + scale * offset, scale * bias
        return jnp.concatenate([user, offset, ones[0]], 1), jnp.concatenate([vectors, ones[1], bias], 1)

    def score(ready: Params, query: Query, items: Array | None = None) -> Array:
        scores = inner_products(embed)(ready, query, items)
        return scores if config.loss == "squared" else head.predict(ready["net"]["head"], scores)

    learn = Gradient(len(given.own.users), init, sample, loss, batch=64)
    return Recommender(
        learn,
        given,
        length,
        as_they_are,
        score,
        embed if config.loss == "squared" else None,
        rates=True,
        order=latest(data, length),
    )
