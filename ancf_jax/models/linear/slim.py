"""SLIM: score(u, .) = x_u B, with x_u [I] the 0/1 history of the query and diag(B) = 0.

It learns a sparse B >= 0, each column an elastic net of its own (Ning & Karypis, SLIM: Sparse Linear Methods for Top-N
Recommender Systems, 2011):

    min 1/2 |X - X B|^2 + l2 / 2 |B|^2 + l1 |B|_1

by cyclic coordinate descent on the Gram matrix G = X^T X (Friedman, Hastie & Tibshirani, Regularization Paths for
Generalized Linear Models via Coordinate Descent, 2010), coordinate i in all columns at once:

    b_i <- max(G_i - sum over k != i of G_ik b_k - l1, 0) / (G_ii + l2)
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.models.linear.gram import over_items_squared
from ancf_jax.types import Array, Data, Recommender

COORDINATES = 128  # rows of B whose products with G are one matrix product
PASSES = 2  # over the coordinates of a block
SEARCH: Space = {
    "l1": Range(0.01, 30.0, log=True),
    "l2": Range(3.0, 3000.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """SLIM."""

    l1: float = field(1.0, "L1 penalty, which makes weights zero", low=0)
    l2: float = field(100.0, "L2 penalty", above=0)
    sweeps: int = field(30, "sweeps over the coordinates", low=1)


def make(config: Config, data: Data) -> Recommender:
    """SLIM; memory: two float32 arrays [I, I]."""
    return over_items_squared("slim", data, lambda g, b: slim(g, b, config.l1, config.l2, config.sweeps))


@jax.default_matmul_precision("highest")  # its sums cancel
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
