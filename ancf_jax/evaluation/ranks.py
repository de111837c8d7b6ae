"""Ranks of held-out items, by comparison counts, never by a sort: they do not depend on the order of the items."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.nn.layers import items_at_once
from ancf_jax.types import Array, ArrayLike


class Ranks(NamedTuple):
    """Where the P held-out items of each user stand: each has one of `tied` places in a random order of equal scores.

    They are better, better + 1, ..., better + tied - 1, from 0. Held-out items that tie have both numbers alike.
    """

    better: Array  # [..., P] how many items score higher; +inf at padding
    tied: Array  # [..., P] how many items score the same, itself included; 1 at padding


def untied(ranks: ArrayLike) -> Ranks:
    """Ranks of the places [..., P], padded with +inf, of items of which no two tie."""
    return Ranks(jnp.asarray(ranks, jnp.float32), jnp.ones(np.shape(ranks), jnp.float32))


def full_ranks(scores: Array, hidden: Array, held: Array) -> tuple[Ranks, Array]:
    """Ranks [B, P] of the `held` items [B, P] by `scores` [B, I] among the [B] items that are not `hidden` [B, I].

    better_p = #{i : s_i > s_p}, tied_p = #{i : s_i = s_p}. `held` names an item once and no hidden one, and is padded
    with I. An item whose score is NaN stands behind every item whose score is not; held-out items without a score take
    the last places of all.
    """
    rows, (users, width), num_items = jnp.arange(len(held))[:, None], held.shape, scores.shape[1]
    present = held < num_items  # [B, P]
    own = scores.at[rows, held].get(mode="fill", fill_value=jnp.nan).astype(jnp.float32)  # [B, P]
    # A block costs as many passes over its scores as its own largest number of held-out items asks for.
    first = jnp.argmax(present.any(axis=0))
    block = min(items_at_once(users), num_items)

    def count(n: Array, counts: tuple[Array, Array]) -> tuple[Array, Array]:
        """Add the next block of items to the numbers of better and of equal visible items [2, B, P], and of all [B]."""
        start = jnp.minimum(n * block, num_items - block)  # the last block overlaps the one before
        away = jax.lax.dynamic_slice_in_dim(hidden, start, block, axis=1) | (start + jnp.arange(block) < n * block)
        # NaN compares false with everything, so it takes items out of both counts; -inf may be a model's own score.
        part = jax.lax.dynamic_slice_in_dim(scores, start, block, axis=1).astype(jnp.float32)
        part = jnp.where(away, jnp.nan, part)  # [B, block]

        def count_column(p: Array, numbers: Array) -> Array:
            score = jax.lax.dynamic_slice_in_dim(own, p, 1, axis=1)  # [B, 1]
            return numbers.at[:, :, p].add(jnp.stack([(part > score).sum(axis=1), (part == score).sum(axis=1)]))

        return jax.lax.fori_loop(first, width, count_column, counts[0]), counts[1] + (~away).sum(axis=1)

    nothing = (jnp.zeros((2, users, width), jnp.int32), jnp.zeros(users, jnp.int32))
    (better, equal), visible = jax.lax.fori_loop(0, -(-num_items // block), count, nothing)

    worst = present & jnp.isnan(own)  # [B, P]
    last = visible[:, None] - jnp.cumsum(worst, axis=1)
    better = jnp.where(present, jnp.where(worst, last, better), jnp.inf)
    return Ranks(better, jnp.maximum(equal, 1).astype(jnp.float32)), visible


def candidate_ranks(scores: Array, others: Array) -> Array:
    """Ranks [B] of the last of K candidates by `scores` [B, K] among those of the first K - 1 in `others` [B, K - 1].

    rank = #{c in others : s_c >= s_K}, so that the held-out item loses ties. A NaN loses against any number, and the
    held-out item loses against every other if its own score is NaN.
    """
    rivals, own = scores[:, :-1], scores[:, -1:]
    return (others & ((rivals >= own) | jnp.isnan(own))).sum(axis=1)
