"""SLIT: score(u, .) = r_u B, with r_u [I] what u did lately: k^-slope at the item k steps back, summed over k = 1..H.

B has a closed form: of all interactions t, with r_t from what the user did before, it predicts the item j_t best,

    min sum_t |e_jt - r_t B|^2 + l2 |B|^2    at    B = (G + l2 I)^-1 C,    G = sum_t r_t^T r_t,    C = sum_t r_t^T e_jt

(Choi, Kim, Lee, Shim & Lee, Session-aware Linear Item-Item Models for Session-based Recommendation, 2021: their model
of transitions, whose weights are exponentials of the steps; here they are a power law, and sessions are histories.)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental.sparse import BCSR

from ancf_jax.config import Range, Space, field
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.linear.ease import exactly
from ancf_jax.types import (
    Array,
    ClosedForm,
    Data,
    Given,
    Interactions,
    Params,
    Query,
    Recommender,
    as_they_are,
)

SEARCH: Space = {
    "history": (20, 50, 100, 200),
    "slope": Range(0.0, 1.5),
    "l2": Range(10.0, 10000.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """SLIT."""

    history: int = field(50, "latest interactions that are read, H", low=1)
    slope: float = field(0.75, "how steeply interactions lose weight with the steps back: k^-slope", low=0)
    l2: float = field(200.0, "L2 penalty", above=0)


def make(config: Config, data: Data) -> Recommender:
    """SLIT; learns in one sweep and scores any history, so new users need no training. Memory: 4 arrays [I, I]."""
    num_items = data.num_items
    check_memory("slit", 4 * 4 * num_items**2, f"four arrays of items squared, {num_items} x {num_items},")
    weights = by_steps(config.history, config.slope)

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"weight": jnp.zeros((num_items, num_items))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        g, c = sums(given.train, jnp.arange(num_items), num_items, weights)
        return {"tables": {"weight": solved(g, c, config.l2)}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        scores = after(query.history, weights, params["tables"]["weight"])
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    def contribute(params: Params, query: Query, items: Array) -> Array:
        found = weights[::-1] * params["tables"]["weight"][query.history[:, None], items[:, :, None]]
        return jnp.where((query.history < num_items)[:, None], found, 0.0)

    learn = ClosedForm(1, init, sweep)
    model = Recommender(learn, Given(data.train), config.history, as_they_are, score, unit="about a probability")
    return model._replace(order="yes", contribute=contribute, additive=True)


def by_steps(length: int, slope: float) -> Array:
    """k^-slope of k = 1..H steps back, [H]."""
    return jnp.arange(1, length + 1, dtype=jnp.float32) ** -slope


def recent(history: Array, weights: Array, size: int) -> BCSR:
    """r [B, size] of histories [B, H] with weights [H] by steps back; ids from `size` on are left out."""
    row = jnp.arange(len(history))[:, None]
    rows = jnp.zeros((len(history), size)).at[row, history].add(weights[::-1], mode="drop")
    return BCSR.fromdense(rows, nse=history.size)


def after(history: Array, weights: Array, matrix: Array) -> Array:
    """r B [B, K] of histories [B, H] by steps back [H], with B [size, K]; of one history without a sparse matrix."""
    size = len(matrix)
    if len(history) == 1:
        known = jnp.where(history[0] < size, weights[::-1], 0.0)
        return (known @ matrix[jnp.minimum(history[0], size - 1)])[None]
    return recent(history, weights, size) @ matrix


@exactly
def solved(g: Array, c: Array, l2: float) -> Array:
    """B = (G + l2 I)^-1 C."""
    item = jnp.arange(len(g))
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(g.at[item, item].add(l2)), c)


def sums(train: Interactions, place: Array, size: int, weights: Array) -> tuple[Array, Array]:
    """G and C [size, size] of the items at place [I], of which those at `size` are left out.

    They come from pairs of a user's interactions at most H apart: no product of wide matrices.
    An interaction and the one d steps before it stand together in r_t for every t that sees both: G has the sum over
    a = 1..m of w_a w_(a+d), where m later interactions do, at most H - d.
    """
    length, users, items = len(weights), jnp.asarray(train.users), place[jnp.asarray(train.items)]
    row = jnp.arange(len(items))
    first, after = jnp.asarray(train.offsets)[users], jnp.asarray(train.offsets)[users + 1] - 1 - row
    padded = jnp.concatenate([weights, jnp.zeros(length + 1)])

    def add(d: Array, both: tuple[Array, Array]) -> tuple[Array, Array]:
        g, c = both
        before = jnp.where(row - d >= first, items[jnp.maximum(row - d, 0)], size)
        together = jnp.cumsum(weights * jax.lax.dynamic_slice_in_dim(padded, d, length))
        together = jnp.where(after > 0, together[jnp.minimum(after, length) - 1], 0.0)
        g = g.at[before, items].add(jnp.where(d > 0, 1.0, 0.5) * together, mode="drop")
        return g, c.at[before, items].add(jnp.where(d > 0, padded[d - 1], 0.0), mode="drop")

    nothing = jnp.zeros((size, size))
    g, c = jax.lax.fori_loop(0, length + 1, add, (nothing, nothing))
    return g + g.T, c
