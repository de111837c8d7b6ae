"""Linear models over items: score(u, .) = x_u B, with x_u [I] the 0/1 history of the query and diag(B) = 0.

EASE has a closed form (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019):

    min |X - X B|^2 + l2 |B|^2   at   B = I - P diag(1 / diag(P)),   P = (X^T X + l2 I)^-1

SLIM learns a sparse B >= 0, each column an elastic net of its own (Ning & Karypis, SLIM: Sparse Linear Methods for
Top-N Recommender Systems, 2011):

    min 1/2 |X - X B|^2 + l2 / 2 |B|^2 + l1 |B|_1

by cyclic coordinate descent on the Gram matrix G = X^T X (Friedman, Hastie & Tibshirani, Regularization Paths for
Generalized Linear Models via Coordinate Descent, 2010), coordinate i in all columns at once:

    b_i <- max(G_i - sum over k != i of G_ik b_k - l1, 0) / (G_ii + l2)
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.experimental.sparse import BCSR

from ancf_jax.config import field
from ancf_jax.data.interactions import whole_history
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.linear.gram import gram
from ancf_jax.nn.layers import multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Interactions, Params, Query, Recommender

PIVOT = 1024  # rows that a step of the inversion eliminates
SLAB = 4096  # rows that are changed at once
COORDINATES = 128  # rows of B whose products with G are one matrix product
PASSES = 2  # over the coordinates of a block

exactly = jax.default_matmul_precision("highest")  # systems do not forgive the short mantissas of accelerators


@dataclass(frozen=True)
class EASE:
    """EASE."""

    l2: float = field(500.0, "L2 penalty", above=0)


@dataclass(frozen=True)
class SLIM:
    """SLIM."""

    l1: float = field(1.0, "L1 penalty, which makes weights zero", low=0)
    l2: float = field(100.0, "L2 penalty", above=0)
    sweeps: int = field(30, "sweeps over the coordinates", low=1)


def make_ease(config: EASE, data: Data) -> Recommender:
    """EASE; memory: two float32 arrays [I, I]."""
    return make("ease", data, lambda g, b: ease(g, config.l2))


def make_slim(config: SLIM, data: Data) -> Recommender:
    """SLIM; memory: two float32 arrays [I, I]."""
    return make("slim", data, lambda g, b: slim(g, b, config.l1, config.l2, config.sweeps))


def make(name: str, data: Data, solve: Callable[[Array, Array], Array]) -> Recommender:
    """The linear model with B = solve(G, B); learns in one sweep and scores any history: new users need no training."""
    num_users, num_items = data.num_users, data.num_items
    check_memory(name, 2 * 4 * num_items**2, f"two arrays of items squared, {num_items} x {num_items},")

    def init(key: Array) -> Params:
        return {"tables": {"weight": jnp.zeros((num_items, num_items))}, "net": {}}

    def sweep(params: Params, train: Interactions, key: Array) -> Params:
        weight = solve(gram(train, num_users, num_items), params["tables"]["weight"])
        return {"tables": {"weight": weight}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        # Of a large catalogue nearly all is zero: a dense product took 16 times as long at 20,000 items.
        rows = BCSR.fromdense(multi_hot(query.history, num_items), nse=query.history.size)
        scores = rows @ params["tables"]["weight"]
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    return Recommender(ClosedForm(1, init, sweep), whole_history(data), lambda params: params, score)


@exactly
def ease(g: Array, l2: float) -> Array:
    """B [I, I] of EASE from the Gram matrix G [I, I]."""
    item = jnp.arange(len(g))
    p = invert(g.at[item, item].add(l2))
    return (-p / jnp.diag(p)).at[item, item].set(0.0)


def invert(a: Array) -> Array:
    """The inverse of a symmetric positive definite matrix [n, n], in place but for blocks of its rows and columns.

    Gauss-Jordan elimination: with C the columns and R the rows of a pivot block A_kk, the step A <- A - C A_kk^-1 R,
    then A_k <- -C A_kk^-1 in columns k, A_kk^-1 R in rows k, and A_kk^-1 where they cross. Half of the memory of two
    triangular solves against the unit matrix, and less work.
    """
    n = len(a)
    pivot, slab = min(PIVOT, n), min(SLAB, n)

    def eliminate(a: Array, first: Array | int, width: int) -> Array:
        columns = jax.lax.dynamic_slice(a, (0, first), (n, width))
        rows = jax.lax.dynamic_slice(a, (first, 0), (width, n))
        block = jax.lax.dynamic_slice(rows, (0, first), (width, width))
        inverse = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(block), jnp.eye(width))
        columns = -columns @ inverse

        def add(k: Array, a: Array) -> Array:
            start = jnp.minimum(k * slab, n - slab)  # the last slab overlaps the one before, which is done
            part = jax.lax.dynamic_slice_in_dim(columns, start, slab)
            part = jnp.where((start + jnp.arange(slab) < k * slab)[:, None], 0.0, part)
            total = jax.lax.dynamic_slice_in_dim(a, start, slab) + part @ rows
            return jax.lax.dynamic_update_slice_in_dim(a, total, start, axis=0)

        a = jax.lax.fori_loop(0, -(-n // slab), add, a)
        a = jax.lax.dynamic_update_slice(a, columns, (0, first))
        rows = jax.lax.dynamic_update_slice(inverse @ rows, inverse, (0, first))
        return jax.lax.dynamic_update_slice(a, rows, (first, 0))

    a = jax.lax.fori_loop(0, n // pivot, lambda k, a: eliminate(a, k * pivot, pivot), a)
    return eliminate(a, n - n % pivot, n % pivot) if n % pivot else a


@exactly
def slim(g: Array, b: Array, l1: float, l2: float, sweeps: int) -> Array:
    """B [I, I] of SLIM from the Gram matrix G [I, I], after `sweeps` of coordinate descent from B.

    Coordinates come in blocks, the most popular items first: what the others contribute is one matrix product, so
    passes inside a block are cheap, and items that are all bought together settle between them how much each counts.
    """
    n = len(g)
    width = min(COORDINATES, n)
    diagonal = jnp.diag(g)
    order = jnp.argsort(-diagonal)

    def descend(k: Array, b: Array) -> Array:
        block = jax.lax.dynamic_slice_in_dim(order, k * width, width)  # the last block overlaps the one before
        rows, part = g[block], b[block]  # [w, I]
        own = rows[:, block]  # [w, w]
        outside = rows - rows @ b + own @ part  # [w, I]: G less what the other blocks contribute to G B
        others = own * (1.0 - jnp.eye(width))

        def coordinate(step: Array, part: Array) -> Array:
            c = step % width
            new = jnp.maximum(outside[c] - others[c] @ part - l1, 0.0) / (diagonal[block[c]] + l2)
            return part.at[c].set(jnp.where(jnp.arange(n) == block[c], 0.0, new))

        return b.at[block].set(jax.lax.fori_loop(0, PASSES * width, coordinate, part))

    blocks = -(-n // width)
    return jax.lax.fori_loop(0, sweeps * blocks, lambda k, b: descend(k % blocks, b), b)
