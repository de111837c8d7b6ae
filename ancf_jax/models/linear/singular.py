"""The leading right singular vectors of a matrix X [m, n] of which only products with G = X^T X [n, n] are known.

Subspace iteration from a random Q [n, W] of some more columns than are wanted (Halko, Martinsson & Tropp, Finding
Structure with Randomness: Probabilistic Algorithms for Constructing Approximate Matrix Decompositions, 2011), where a
Chebyshev polynomial takes the place of a power (Zhou, Saad, Tiago & Chelikowsky, Self-Consistent-Field Calculations
Using Chebyshev-Filtered Subspace Iteration, 2006). In each round

    Y <- T_m(2 G / c - I) Q,    Q <- Y Z with Q^T Q = I and Q^T G Q = diag(s^2),    c <- min s^2

|T_m| is at most 1 on the unwanted eigenvalues of G, which are below c, and above c it grows as fast as a polynomial of
degree m can. Singular values that lie close together need that: powers tell them apart too slowly. m is at most the
number of the round, and smaller where float32 would lose the small parts beside the largest.

Z is [W, W], from the Cholesky factor of Y^T Y: Householder's orthogonalisation of Y took 20 times as long on a CPU.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from ancf_jax.types import Array

EXTRA, SHARE = 16, 4  # columns beyond those that are wanted: at least so many, and at least a fourth of the wanted
GROWTH = 1e6  # of the largest eigenvalue's part over the smallest's in one round: float32 has no digits for more
ROUNDING = 1e-5  # of the largest squared singular value: what is below stands for 0
SHIFT = 1e-5  # keeps the Gram matrix of columns of length 1 positive, whatever is rounded


@jax.default_matmul_precision("highest")
def leading(product: Callable[[Array], Array], key: Array, rows: int, factors: int, rounds: int) -> Array:
    """The vectors [n, D], that of the largest singular value first; one of a singular value 0 comes as zeros.

    Args:
        product: Q [n, W] -> G Q.
        key: of the random start.
        rows: n.
        factors: D, from 1 to n.
        rounds: from the random start, at least 1.
    """
    width = min(factors + max(EXTRA, factors // SHARE), rows)

    def rotated(y: Array) -> tuple[Array, Array]:
        """s^2 [W], the largest first, and Q."""
        y = y / jnp.linalg.norm(y, axis=0)
        lower = jnp.linalg.cholesky(y.T @ y + SHIFT * jnp.eye(width))
        half = solve_triangular(lower, y.T @ product(y), lower=True)
        squares, vectors = jnp.linalg.eigh(solve_triangular(lower, half.T, lower=True))  # ascending
        return squares[::-1], y @ solve_triangular(lower.T, vectors[:, ::-1])

    def improve(n: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        squares, q = state
        cut = jnp.maximum(squares[-1], ROUNDING * squares[0])
        # At first the largest eigenvalue is larger than it looks.
        degree = jnp.clip(jnp.log(GROWTH) / jnp.arccosh(2 * squares[0] / cut - 1), 1, n).astype(jnp.int32)

        def shifted(x: Array) -> Array:
            return product(x) * (2 / cut) - x

        def term(_: Array, terms: tuple[Array, Array]) -> tuple[Array, Array]:
            return terms[1], 2 * shifted(terms[1]) - terms[0]

        return rotated(jax.lax.fori_loop(1, degree, term, (q, shifted(q)))[1])

    start = rotated(jax.random.normal(key, (rows, width)))
    squares, q = jax.lax.fori_loop(1, rounds + 1, improve, start)
    return jnp.where(squares <= ROUNDING * squares[0], 0.0, q / jnp.linalg.norm(q, axis=0))[:, :factors]
