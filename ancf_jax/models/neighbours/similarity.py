"""How alike the rows of a sparse matrix are: items by their users, or users by their items, a block of rows at a time.

With sums over the columns c that two rows a and b both have, column c weighing w_c,

    cosine    s_ab = g_ab / (sqrt(g_aa g_bb) + shrinkage),        g_ab = sum w_c
    jaccard   s_ab = g_ab / (g_aa + g_bb - g_ab + shrinkage)
    pearson   s_ab = g_ab / (g_ab + shrinkage) p_ab / sqrt(q_ab q_ba),
              p_ab = sum w_c e_ac e_bc,   q_ab = sum w_c e_ac^2

Cosine and Jaccard look at which columns a row has, and Pearson at their values: e_ac is the value less the mean of all
that row a has (Breese, Heckerman & Kadie, Empirical Analysis of Predictive Algorithms for Collaborative Filtering,
1998), and few shared columns make a weak correlation (Koren, Factorization Meets the Neighborhood, 2008).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import csr_matrix

from ancf_jax.data.samplers import windows
from ancf_jax.types import Array, ArrayLike, InputError, Interactions

SIMILARITIES = ("cosine", "jaccard", "pearson")
SLICE = 16  # entries; more make fewer sums to add to a row but more padding
CHUNK = 1 << 17  # floats of the sums that are added to rows at once: what a core's cache holds


class Slices(NamedTuple):
    """A sparse matrix [M, N] in slices of its rows: values[w, l] stands in row rows[w] and column columns[w, l]."""

    rows: ArrayLike  # [W] int32, ascending
    columns: ArrayLike  # [W, L] int32, padded with N
    values: ArrayLike  # [W, L] float32, 0 at padding


def user_item_matrix(train: Interactions, num_users: int, num_items: int) -> csr_matrix:
    """The values [U, I] of a log on the host; those of an item that a user has repeatedly are added up."""
    places = (np.asarray(train.users), np.asarray(train.items))
    return csr_matrix((np.asarray(train.values), places), shape=(num_users, num_items))


def discount(matrix: csr_matrix, exponent: float) -> np.ndarray:
    """The weights n_a^-exponent [M] of rows with n_a entries; 1 for an empty row."""
    return np.maximum(np.diff(matrix.indptr), 1).astype(np.float32) ** -exponent


def deviations(matrix: csr_matrix) -> csr_matrix:
    """The entries of a sparse matrix less the mean of its row's."""
    count = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(len(count)), count)
    mean = np.bincount(rows, matrix.data, len(count)) / np.maximum(count, 1)
    return csr_matrix((matrix.data - mean[rows], matrix.indices, matrix.indptr), shape=matrix.shape)


def slices(matrix: csr_matrix, length: int = SLICE) -> Slices:
    """A sparse matrix in slices of at most `length` entries."""
    rows, ends = windows(matrix.indptr, length)
    index = ends[:, None] - length + np.arange(length)
    inside = index >= matrix.indptr[rows][:, None]
    columns = np.where(inside, matrix.indices[np.maximum(index, 0)], matrix.shape[1])
    values = np.where(inside, matrix.data[np.maximum(index, 0)], 0.0)
    return Slices(rows, columns.astype(np.int32), values.astype(np.float32))


def comparable(kind: str, matrix: csr_matrix) -> Slices:
    """The rows that `similarity` compares, in slices: for pearson, each value less the mean of its row.

    Raises InputError for pearson where all values are the same, as those of clicks.
    """
    if kind == "pearson" and not np.ptp(matrix.data):
        raise InputError("flag --similarity: pearson compares values, and all are the same; legal are cosine, jaccard")
    return slices(deviations(matrix) if kind == "pearson" else matrix)


def presence(matrix: Slices, num_columns: int) -> Slices:
    """The same matrix [M, N] with 1 for every entry."""
    return matrix._replace(values=(jnp.asarray(matrix.columns) < num_columns).astype(jnp.float32))


def as_columns(matrix: Slices, rows: Array, num_columns: int) -> tuple[Array, Array]:
    """Consecutive `rows` [B] of a sparse matrix [M, N] as columns [N, B]: 1 where there is an entry, and the values."""
    place = matrix.rows - rows[0]
    place = jnp.where((place >= 0) & (place < len(rows)), place, len(rows))[:, None]
    nothing = jnp.zeros((num_columns, len(rows)))
    present = nothing.at[matrix.columns, place].set(1.0, mode="drop")
    return present, nothing.at[matrix.columns, place].set(matrix.values, mode="drop")


def product(matrix: Slices, x: Array, num_rows: int) -> Array:
    """A X [M, B] of a sparse matrix A [M, N] with M = `num_rows` and X [N, B]; memory beside these is O(CHUNK)."""
    width, length = x.shape[1], matrix.columns.shape[1]
    chunk = max(min(CHUNK // width, len(matrix.rows)), 1)
    fill = (0, -len(matrix.rows) % chunk)
    x = jnp.pad(x, ((0, 1), (0, 0)))
    parts = (
        jnp.pad(matrix.rows, fill, constant_values=num_rows).reshape(-1, chunk),
        jnp.pad(matrix.columns, (fill, (0, 0)), constant_values=len(x) - 1).reshape(-1, chunk, length),
        jnp.pad(matrix.values, (fill, (0, 0))).reshape(-1, chunk, length),
    )

    def add(total: Array, part: tuple[Array, Array, Array]) -> tuple[Array, None]:
        rows, columns, values = part

        # Term by term, XLA reads and adds rows of X in one pass; a gather of all would first write them out.
        def term(n: Array, so_far: Array) -> Array:
            return so_far + values[:, n, None] * x[columns[:, n]]

        sums = jax.lax.fori_loop(0, length, term, jnp.zeros((chunk, width)))
        return total.at[rows].add(sums, mode="drop", indices_are_sorted=True), None

    return jax.lax.scan(add, jnp.zeros((num_rows, width)), parts)[0]


def similarity(
    kind: str, matrix: Slices, num_rows: int, present: Array, values: Array, weight: Array, shrinkage: float
) -> Array:
    """s_ab [M, B] of the rows a of a sparse matrix [M, N], M = `num_rows`, and B rows b given as columns [N, B].

    Args:
        kind: one of SIMILARITIES.
        matrix: for pearson, its values are the deviations e_ac; otherwise they are not looked at.
        num_rows: M.
        present: [N, B] 1 where b has the column, else 0.
        values: [N, B] the deviations e_bc, for pearson; 0 where b does not have the column.
        weight: [N] of each column, above 0.
        shrinkage: at least 0.

    Two rows that share nothing, or of which one does not vary, have similarity 0.
    """
    weight = weight[:, None]
    ones = presence(matrix, len(present))
    shared = product(ones, weight * present, num_rows)
    if kind == "pearson":
        squares = matrix._replace(values=jnp.square(matrix.values))
        scale = product(squares, weight * present, num_rows) * product(ones, weight * values**2, num_rows)
        together = product(matrix, weight * values, num_rows) * shared
        below = jnp.sqrt(scale) * (shared + shrinkage)
    else:
        one, other = product(ones, weight, num_rows), jnp.sum(weight * present, axis=0)
        together = shared
        below = (jnp.sqrt(one * other) if kind == "cosine" else one + other - shared) + shrinkage
    return jnp.where(below > 0, together / jnp.where(below > 0, below, 1.0), 0.0)


def farthest(similar: Array, count: int) -> Array:
    """The smallest [B] of the `count` largest similarities to each of B rows, given as columns [M, B]; at least 0."""
    return jnp.maximum(jax.lax.top_k(similar.T, count)[0][:, -1], 0.0)
