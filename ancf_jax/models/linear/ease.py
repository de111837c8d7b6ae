"""EASE: score(u, .) = x_u B, with x_u [I] the 0/1 history of the query and diag(B) = 0.

It has a closed form (Steck, Embarrassingly Shallow Autoencoders for Sparse Data, 2019):

    min |X - X B|^2 + l2 |B|^2   at   B = I - P diag(1 / diag(P)),   P = (X^T X + l2 I)^-1
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
SEARCH: Space = {"l2": Range(10.0, 10000.0, log=True)}


@dataclass(frozen=True)
class Config:
    """EASE."""

    l2: float = field(500.0, "L2 penalty", above=0)


def make(config: Config, data: Data) -> Recommender:
    """EASE; memory: two float32 arrays [I, I]."""
    return over_items_squared("ease", data, lambda g, b: ease(g, config.l2))


@exactly
def ease(g: Array, l2: float) -> Array:
    """B [I, I] of EASE from the Gram matrix G [I, I]."""
    item = jnp.arange(len(g))
    return without_itself(invert(g.at[item, item].add(l2)))


def without_itself(p: Array) -> Array:
    """B [I, I] with a diagonal of zeros from P = (G + l2 I)^-1: -P_ij / P_jj."""
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
