"""Turbo-CF: a history r [I], 0/1, filtered by what the items share, without a matrix decomposition,

    score(u, .) = r (R^^T R^)^s,    R^ = D_u^-a R D_i^(a-1),    the power element by element

with R [U, I] the 0/1 matrix of the training part and D_u, D_i the diagonals of its degrees (Park, Shin & Shin,
Turbo-CF: Matrix Decomposition-Free Graph Filtering for Fast Recommendation, 2024: its linear filter).

The power is that of the entries alone that are not zero, of pairs of items that share a user, so the matrix is sparse
and exact. Memory: 8 bytes such a pair, several times over while it is made. A user costs as many additions as the items
of its history have pairs.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import whole_history
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.graph.filters import UNIT
from ancf_jax.models.graph.propagation import Matrix, by_rows, edges
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender

SLICE = 1024  # pairs of a row that are added at once
COPIES = 4  # of the matrix: made, given, powers of it, and what is saved

SEARCH: Space = {"activity": Range(0.0, 1.0), "power": Range(0.3, 2.0, log=True)}


@dataclass(frozen=True)
class Config:
    """Turbo-CF."""

    activity: float = field(0.5, "exponent a by which users of many items count for less", low=0, high=1)
    power: float = field(0.7, "exponent s of what two items share; below 1 it levels, above 1 it sharpens", above=0)


def make(config: Config, data: Data) -> Recommender:
    """Turbo-CF; learns in one sweep and scores any history, so new users need no training."""
    num_items = data.num_items

    def init(key: Array, given: Given) -> Params:
        return {"tables": {}, "net": {"weight": jnp.zeros_like(given.own.data)}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        return {"tables": {}, "net": {"weight": jnp.asarray(given.own.data) ** config.power}}

    def prepare(params: Params, given: Given) -> Params:
        return {"tables": {}, "net": given.own._replace(data=params["net"]["weight"])}

    def score(ready: Params, query: Query, items: Array | None = None) -> Array:
        history = jnp.sort(query.history, axis=1)
        again = jnp.pad(history[:, 1:] == history[:, :-1], ((0, 0), (1, 0)))
        history = jnp.sort(jnp.where(again, num_items, history), axis=1)
        scores = jax.lax.map(lambda row: sum_of_rows(ready["net"], row), history)[:, :num_items]
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    given = Given(data.train, shared(data, config.activity))
    return Recommender(ClosedForm(1, init, sweep), given, whole_history(data), prepare, score, unit=UNIT, narrow=1)


def shared(data: Data, activity: float) -> Matrix:
    """R^^T R^ [I + 1, I + 1]. Raises InputError if the device has not the memory for it."""
    matrix = edges(data)
    user, item = (np.maximum(matrix.sum(axis), 1) for axis in (1, 0))
    most = min(data.num_items**2, int(np.sum(user**2, dtype=np.float64)))
    check_memory("turbocf", COPIES * 8 * most, f"up to {most:,} pairs of items that share a user")
    weights = user**-activity, item ** (activity - 1)
    scaled = scipy.sparse.csr_array(
        scipy.sparse.diags_array(weights[0]) @ matrix @ scipy.sparse.diags_array(weights[1])
    )
    return by_rows(scipy.sparse.csr_array(scaled.T) @ scaled)


def sum_of_rows(matrix: Matrix, rows: Array) -> Array:
    """The sum [n] of `rows` [H] of a sparse matrix [m, n], ascending and padded with m - 1, the matrix's last row."""
    columns, values, ends = (jnp.asarray(part) for part in (matrix.columns, matrix.data, matrix.ends))
    width = min(SLICE, len(columns))

    def add_row(n: Array, total: Array) -> Array:
        first, last = ends[rows[n]], ends[rows[n] + 1]

        def add_slice(k: Array, total: Array) -> Array:
            start = first + k * width
            at = jnp.minimum(start, len(columns) - width)
            column = jax.lax.dynamic_slice_in_dim(columns, at, width)
            value = jax.lax.dynamic_slice_in_dim(values, at, width)
            place = at + jnp.arange(width)
            return total.at[column].add(jnp.where((place >= start) & (place < last), value, 0.0))

        return jax.lax.fori_loop(0, (last - first + width - 1) // width, add_slice, total)

    padding = len(ends) - 2
    return jax.lax.fori_loop(0, jnp.sum(rows < padding), add_row, jnp.zeros(padding + 1))
