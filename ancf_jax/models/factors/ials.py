"""Implicit alternating least squares (iALS): score(u, i) = <w_u, h_i>, fitted to every pair of user and item.

    L = sum over observed (u, i) of (1 - <w_u, h_i>)^2 + a sum over all (u, i) of <w_u, h_i>^2
        + l2 (sum_u (|I_u| + a I)^nu |w_u|^2 + sum_i (|U_i| + a U)^nu |h_i|^2)

(Hu, Koren & Volinsky, Collaborative Filtering for Implicit Feedback Datasets, 2008, in the form and with the
regularisation of Rendle, Krichene, Zhang & Koren, Revisiting the Performance of iALS on Item Recommendation
Benchmarks, 2021). With the items fixed, a user whose history has the rows X [H, D] solves

    (X^T X + M) w = X^T 1,    M = a sum_i h_i h_i^T + l2 (|I_u| + a I)^nu

and so does an item with the users fixed, and a new user at query time. In the eigenbasis of sum_i h_i h_i^T, M is
diagonal for all users at once. So a history shorter than D takes a system of its own length, as

    w = M^-1 X^T z,    (1 + X M^-1 X^T) z = 1

is the same w, and conjugate gradients need no matrix at all and have M for a preconditioner.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import longest
from ancf_jax.nn.layers import inner_products, item_vectors, table
from ancf_jax.types import Array, ArrayLike, ClosedForm, Data, Given, Params, Query, Recommender

CHUNK = 64  # interactions of a long row that are gathered at once
BLOCK = 1 << 18  # floats of the gathered rows and the systems of a block: what the caches of two cores hold
LENGTHS = (32, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 4096)  # that conjugate gradients gather once

exactly = jax.default_matmul_precision("highest")  # normal equations do not forgive the short mantissas of accelerators
SEARCH: Space = {
    "factors": (16, 32, 64, 128, 192),
    "sweeps": Range(4, 24, log=True),
    "unobserved": Range(0.003, 1.0, log=True),
    "l2": Range(0.0005, 0.1, log=True),
    "exponent": Range(0.0, 1.0),
}


@dataclass(frozen=True)
class Config:
    """Implicit ALS."""

    factors: int = field(64, "embedding width D", low=1)
    sweeps: int = field(12, "sweeps over users and items", low=1)
    unobserved: float = field(0.1, "weight of every pair's square beside the observed ones", above=0)
    l2: float = field(0.003, "L2 penalty, scaled by each row's frequency", above=0)
    exponent: float = field(1.0, "exponent of the frequency that scales the penalty", low=0)
    solver: str = field("cholesky", "how a row's system is solved", ("cholesky", "cg"))
    cg_steps: int = field(1, "conjugate gradient steps from the row before, for cg", low=1)
    stddev: float = field(0.1, "expected norm of the initial embeddings", low=0)


class Layout(NamedTuple):
    """The rows of one side, in blocks of similar length; the last block of a group is filled up with row `rows`."""

    groups: tuple[np.ndarray, ...]  # [n, b] int32 rows of one length at most; the last group's may be of any
    place: np.ndarray  # [rows + 1] int32: where a row comes among all blocks; behind the last if it is empty


class Side(NamedTuple):
    """The interactions of one side's rows: row r has others[offsets[r]:offsets[r + 1]], ids of the other side."""

    others: ArrayLike  # [R] int32
    offsets: ArrayLike  # [rows + 1] int32
    layout: Layout


class Fixed(NamedTuple):
    """The side that is held fixed, in the eigenbasis of its Gram matrix; the padding row stays zero."""

    table: Array  # [rows + 1, D]
    gram: Array  # [D] eigenvalues
    basis: Array  # [D, D], one eigenvector a column


class Slices(NamedTuple):
    """The interactions of some rows: row b has others[first[b]:end[b]], ids of the fixed side."""

    others: Array  # [R]
    first: Array  # [B]
    end: Array  # [B]


def arrange(counts: np.ndarray, lengths: tuple[int, ...], factors: int, *, systems: bool = True) -> Layout:
    """Group rows with `counts` [rows] interactions: those of at most each of `lengths`, ascending, and the others.

    With `systems`, a row's system takes room in its block besides the vectors that are gathered.
    """
    group = np.where(counts > 0, np.searchsorted(lengths, counts), -1)
    place = np.full(len(counts) + 1, -1, np.int32)
    groups, total = [], 0
    for k in range(len(lengths) + 1):
        rows = np.flatnonzero(group == k)
        rows = rows[np.argsort(-counts[rows], kind="stable")]
        gathered, system = (lengths[k], lengths[k]) if k < len(lengths) else (CHUNK, factors)
        most = max(BLOCK // (gathered * factors + systems * system**2), 8 if systems else 1)
        number = -(-len(rows) // most)
        block = np.full((number, -(-len(rows) // max(number, 1))), len(counts), np.int32)
        block.flat[: len(rows)] = rows
        place[rows] = total + np.arange(len(rows))
        total += block.size
        groups.append(block)
    return Layout(tuple(groups), np.where(place < 0, total, place))


def make(config: Config, data: Data) -> Recommender:
    """Implicit ALS; a known user is scored by the row that was learned, an unknown one is solved for from a history."""
    num_users, num_items, factors = data.num_users, data.num_items, config.factors
    users, items, offsets = (np.asarray(part) for part in (data.train.users, data.train.items, data.train.offsets))
    order = np.argsort(items, kind="stable")
    item_users, item_offsets = users[order], np.searchsorted(items[order], np.arange(num_items + 1))
    # A system of the history's length pays up to about D / 2. Shorter rows come in steps of a half, down to 16.
    least = min(16, max(factors // 2, 1))
    halves = [factors >> n for n in range(factors.bit_length(), 0, -1) if factors >> n >= least]
    cholesky = config.solver == "cholesky"
    lengths = tuple(halves) if cholesky else LENGTHS
    by_user, by_item = (
        Side(others, ends.astype(np.int32), arrange(np.diff(ends), lengths, factors, systems=cholesky))
        for others, ends in ((items, offsets), (item_users, item_offsets))
    )

    def init(key: Array, given: Given) -> Params:
        user, item = jax.random.split(key)
        stddev = config.stddev / factors**0.5
        tables = {"user": table(user, num_users, factors, stddev), "item": table(item, num_items, factors, stddev)}
        return {"tables": tables, "net": {}}

    def diagonal(fixed: Fixed, slices: Slices) -> Array:
        """M [B, D]."""
        frequency = slices.end - slices.first + config.unobserved * (len(fixed.table) - 1)
        return config.unobserved * fixed.gram + config.l2 * frequency[:, None] ** config.exponent

    def half_sweep(fixed: Fixed, start: Array, side: Side) -> Array:
        """The table [rows + 1, D] that solves for every row, from `start`."""
        start = start @ fixed.basis
        others, layout = jnp.asarray(side.others), side.layout
        ends = jnp.append(side.offsets, side.offsets[-1])  # the row that fills up blocks is empty

        def block(rows: Array, length: int | None) -> Array:
            slices = Slices(others, ends[rows], ends[rows + 1])
            m = diagonal(fixed, slices)
            if config.solver == "cg":
                return descend(fixed.table, m, slices, length, start[rows], config.cg_steps)
            return solve(fixed.table, m, slices) if length is None else solve_short(fixed.table, m, slices, length)

        solved = [
            jax.lax.map(partial(block, length=length), jnp.asarray(group)).reshape(-1, factors)
            for length, group in zip((*lengths, None), layout.groups, strict=True)
            if group.size
        ]
        return jnp.concatenate([*solved, jnp.zeros((1, factors))])[jnp.asarray(layout.place)] @ fixed.basis.T

    @exactly
    def sweep(params: Params, given: Given, key: Array) -> Params:
        user, item = params["tables"]["user"], params["tables"]["item"]
        user = half_sweep(diagonalise(item), user, given.own[0])
        item = half_sweep(diagonalise(user), item, given.own[1])
        return {"tables": {"user": user, "item": item}, "net": {}}

    @exactly
    def prepare(params: Params, given: Given) -> tuple[dict, Fixed]:
        return item_vectors(params, given)["tables"], diagonalise(params["tables"]["item"])

    @exactly
    def embed(ready: tuple[dict, Fixed], query: Query) -> tuple[Array, Array]:
        tables, fixed = ready
        known = tables["user"][query.users]
        new = query.users == num_users

        def fold_in() -> Array:
            rows, length = query.history.shape
            end = jnp.arange(1, rows + 1) * length
            first = end - jnp.where(new, jnp.sum(query.history < num_items, 1), 0)

            def one(first: Array, end: Array) -> Array:
                slices = Slices(query.history.reshape(-1), first[None], end[None])
                return solve(fixed.table, diagonal(fixed, slices), slices)[0]

            solved = jax.lax.map(lambda row: one(*row), (first, end)) @ fixed.basis.T
            return jnp.where(new[:, None], solved, known)

        return jax.lax.cond(jnp.any(new), fold_in, lambda: known), tables["vectors"]

    @exactly
    def contribute(ready: tuple[dict, Fixed], query: Query, items: Array) -> Array:
        """Of <w, h_i> = 1^T X (X^T X + M)^-1 h_i, the terms of the rows of X."""
        fixed = ready[1]
        count = jnp.sum(query.history < num_items, 1)
        m = diagonal(fixed, Slices(query.history, jnp.zeros_like(count), count))

        def of_user(one: tuple[Array, ...]) -> Array:
            x, wanted, m = fixed.table[one[0]], fixed.table[one[1]], one[2]
            return jnp.linalg.solve(x.T @ x + jnp.diag(m), wanted.T).T @ x.T

        return jax.lax.map(of_user, (query.history, items, m))

    model = Recommender(
        ClosedForm(config.sweeps, init, sweep),
        Given(data.train, (by_user, by_item)),
        longest(data.train),
        prepare,
        inner_products(embed),
        embed,
        alone=True,
    )
    return model._replace(contribute=contribute, additive=True)


def diagonalise(table: Array) -> Fixed:
    """The table in the eigenbasis of its Gram matrix."""
    gram, basis = jnp.linalg.eigh(table.T @ table)
    return Fixed(table @ basis, jnp.maximum(gram, 0.0), basis)


def gather(table: Array, slices: Slices, start: Array | int, length: int) -> Array:
    """X [B, length, D]: the fixed side's vectors of `length` interactions from number `start` of each row."""
    index = slices.first[:, None] + start + jnp.arange(length)
    others = slices.others[jnp.minimum(index, len(slices.others) - 1)]
    return table[jnp.where(index < slices.end[:, None], others, len(table) - 1)]


def over_chunks(add: Callable[[Array, Any], Any], table: Array, slices: Slices, total: Any) -> Any:
    """`add` each X [B, CHUNK, D] of the rows to the total; as many as the longest row has."""
    chunks = -(-jnp.max(slices.end - slices.first) // CHUNK)
    return jax.lax.fori_loop(0, chunks, lambda n, so_far: add(gather(table, slices, n * CHUNK, CHUNK), so_far), total)


def solve(table: Array, m: Array, slices: Slices) -> Array:
    """w [B, D] of (X^T X + M) w = X^T 1, for m [B, D] the diagonal of M."""
    rows, width = m.shape
    half = width // 2  # below the diagonal nothing is needed, so a quarter of X^T X is left out

    def add(x: Array, total: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        top, corner, right = total
        top = top + jnp.einsum("bhd,bhe->bde", x[..., :half], x)
        return top, corner + jnp.einsum("bhd,bhe->bde", x[..., half:], x[..., half:]), right + x.sum(1)

    shapes = ((rows, half, width), (rows, width - half, width - half), (rows, width))
    top, corner, right = over_chunks(add, table, slices, tuple(map(jnp.zeros, shapes)))
    matrix = jnp.concatenate([top, jnp.pad(corner, ((0, 0), (0, 0), (half, 0)))], axis=1)
    return cholesky_solve(matrix + m[:, None] * jnp.eye(width), right)


def solve_short(table: Array, m: Array, slices: Slices, length: int) -> Array:
    """The same for rows of at most `length` interactions: M^-1 X^T z where (1 + X M^-1 X^T) z = 1."""
    x = gather(table, slices, 0, length)
    scaled = x / m[:, None]
    z = cholesky_solve(jnp.einsum("bhd,bkd->bhk", x, scaled) + jnp.eye(length), jnp.ones(x.shape[:2]))
    return jnp.einsum("bh,bhd->bd", z, scaled)


def cholesky_solve(matrix: Array, right: Array) -> Array:
    """A^-1 b for symmetric positive definite A [B, n, n], given on and above the diagonal, and b [B, n]."""
    # LAPACK wants columns one after another: the transpose is what it reads without a copy.
    factor = jax.lax.linalg.cholesky(jnp.swapaxes(matrix, 1, 2), symmetrize_input=False)
    return jax.scipy.linalg.cho_solve((factor, True), right[..., None])[..., 0]


def descend(table: Array, m: Array, slices: Slices, length: int | None, w: Array, steps: int) -> Array:
    """From `w` [B, D] towards the solution by steps of conjugate gradients, preconditioned with M.

    Rows of at most `length` interactions gather their vectors once for all steps, rows of any length in every step.
    """
    whole = None if length is None else gather(table, slices, 0, length)

    def over(add: Callable[[Array, Array], Array], total: Array) -> Array:
        return over_chunks(add, table, slices, total) if whole is None else add(whole, total)

    def pull(v: Array, target: float) -> Array:
        """X^T (target - X v) - M v."""
        return over(lambda x, sums: sums + jnp.einsum("bh,bhd->bd", target - jnp.einsum("bhd,bd->bh", x, v), x), -m * v)

    def bend(v: Array) -> Array:
        """v^T (X^T X + M) v [B], for less than `pull` costs."""
        return over(lambda x, sums: sums + jnp.sum(jnp.einsum("bhd,bd->bh", x, v) ** 2, 1), jnp.sum(m * v**2, 1))

    def ratio(a: Array, b: Array) -> Array:
        return (a / jnp.where(b > 0, b, 1.0))[:, None]  # 0 where there is nothing left to descend

    def step(_: Array, state: tuple) -> tuple:
        w, residual, direction, size = state
        image = pull(direction, 0.0)
        rate = ratio(size, -jnp.sum(direction * image, 1))
        residual = residual + rate * image
        left = jnp.sum(residual**2 / m, 1)
        return w + rate * direction, residual, residual / m + ratio(left, size) * direction, left

    residual = pull(w, 1.0)
    start = (w, residual, residual / m, jnp.sum(residual**2 / m, 1))
    w, _, direction, size = jax.lax.fori_loop(0, steps - 1, step, start)
    return w + ratio(size, bend(direction)) * direction  # of the last step, no residual is asked
