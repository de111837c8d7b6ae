"""EASE: score(u, .) = x_u B, with x_u [I] the 0/1 history of the query and diag(B) = 0.

It has a closed form (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019):

    min |X - X B|^2 + l2 |B|^2   at   B = I - P diag(1 / diag(P)),   P = (X^T X + l2 I)^-1

Two exponents, 0 in that paper, say how many users and items count: a user's row weighs |I_u|^-activity, and the penalty
of an item grows with its frequency, l2 (f_i / mean f)^exponent, f = diag(G), as iALS's does. Then P = (G + L)^-1 with
G = X^T W X and L the diagonal of penalties. An exponent of 1 alone is EASE with dropout (Steck, Autoencoders that don't
overfit towards the Identity, 2020); both together are the item-item matrix of X W^1/2 L^-1/2, a normalised log.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.models.linear.gram import over_items_squared
from ancf_jax.types import Array, Data, Recommender

PIVOT = 1024  # rows that a step of the inversion eliminates
SLAB = 4096  # rows that are changed at once

exactly = jax.default_matmul_precision("highest")  # systems do not forgive the short mantissas of accelerators
SEARCH: Space = {
    "l2": Range(10.0, 10000.0, log=True),
    "exponent": Range(0.0, 1.0),
    "activity": Range(0.0, 1.0),
}


@dataclass(frozen=True)
class Config:
    """EASE."""

    l2: float = field(500.0, "L2 penalty", above=0)
    exponent: float = field(0.0, "exponent of an item's frequency that scales its penalty", low=0)
    activity: float = field(0.0, "exponent that discounts active users", low=0)


def make(config: Config, data: Data) -> Recommender:
    """EASE; memory: two float32 arrays [I, I]."""
    return over_items_squared(
        "ease", data, lambda g, b: without_itself(penalised(g, config.l2, config.exponent)), config.activity
    )


@exactly
def penalised(g: Array, l2: float, exponent: float) -> Array:
    """P = (G + L)^-1 [I, I] of the Gram matrix G [I, I]."""
    item, frequency = jnp.arange(len(g)), jnp.maximum(jnp.diag(g), 1.0)
    return invert(g.at[item, item].add(l2 * (frequency / frequency.mean()) ** exponent))


def without_itself(p: Array) -> Array:
    """B [I, I] with a diagonal of zeros from P: -P_ij / P_jj."""
    item = jnp.arange(len(p))
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
