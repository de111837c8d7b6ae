"""Ranks of held-out items, by comparison counts, never by a sort: they do not depend on the order of the items."""

import jax
import jax.numpy as jnp

from ancf_jax.nn.layers import items_at_once
from ancf_jax.types import Array


def full_ranks(scores: Array, hidden: Array, held: Array) -> tuple[Array, Array]:
    """Ranks [B, P] of the `held` items [B, P] by `scores` [B, I] among the [B] items that are not `hidden` [B, I].

    rank_p = #{i : s_i > s_p} + j (n + 1) / (g + 1) - 1, where p is the j-th of the g held-out items among the n items
    that score s_p, counted from 1. This is the expected place of the j-th of g in a random order of the n; for a single
    held-out item it is the number of better items plus half the number of other items with an equal score.
    `held` names an item once and no hidden one; it is padded with I, and its padding ranks +inf. An item whose score is
    NaN stands behind every item whose score is not; held-out items without a score take the last places of all.
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

    def rank_column(p: Array, ranks: Array) -> Array:
        tied = own == jax.lax.dynamic_slice_in_dim(own, p, 1, axis=1)  # [B, P]
        place = (tied & (jnp.arange(width) <= p)).sum(axis=1)  # [B]
        return ranks.at[:, p].set(better[:, p] + place * ((equal[:, p] + 1) / (tied.sum(axis=1) + 1)) - 1)

    ranks = jax.lax.fori_loop(first, width, rank_column, jnp.full(held.shape, jnp.inf))
    worst = present & jnp.isnan(own)  # [B, P]
    last = visible[:, None] - jnp.cumsum(worst, axis=1)
    return jnp.where(present, jnp.where(worst, last, ranks), jnp.inf), visible


def share_gains(scores: Array, held: Array, gains: Array) -> Array:
    """The gains [B, P] of the `held` items [B, P], where those of equal `scores` [B, I] have the mean of theirs each.

    So what a place among ties brings is its expectation in a random order of them. An item whose score is NaN has 0.
    """
    rows, present = jnp.arange(len(held))[:, None], held < scores.shape[1]
    own = scores.at[rows, held].get(mode="fill", fill_value=jnp.nan)  # [B, P]

    def share(p: Array, shared: Array) -> Array:
        tied = own == jax.lax.dynamic_slice_in_dim(own, p, 1, axis=1)  # [B, P]
        return shared.at[:, p].set(jnp.where(tied, gains, 0).sum(axis=1) / jnp.maximum(tied.sum(axis=1), 1))

    return jax.lax.fori_loop(jnp.argmax(present.any(axis=0)), held.shape[1], share, jnp.zeros_like(gains))


def candidate_ranks(scores: Array, others: Array) -> Array:
    """Ranks [B] of the last of K candidates by `scores` [B, K] among those of the first K - 1 in `others` [B, K - 1].

    rank = #{c in others : s_c >= s_K}, so that the held-out item loses ties. A NaN loses against any number, and the
    held-out item loses against every other if its own score is NaN.
    """
    rivals, own = scores[:, :-1], scores[:, -1:]
    return (others & ((rivals >= own) | jnp.isnan(own))).sum(axis=1)
