"""The best K of a catalogue of any size, exactly, without holding the scores [B, I] of all items at once.

Items stand in groups of consecutive ids. One pass over the catalogue, in blocks, keeps each group's greatest score. The
best K items (of equal ones, those of the lowest ids) all lie in the best K groups by these scores (of equal ones, those
of the lowest ids):

    Were x a best item in a group J that is not chosen, then each of the K chosen groups would hold an item with the
    group's greatest score m >= m_J >= s_x, and where m = m_J the chosen group has the lower ids. So K items would come
    before x, one in each chosen group.

No item in `seen` [B, S] is ever listed, nor one whose score is not finite. `seen` is padded with I; so are the lists
where fewer than K items are left, with scores of -inf. What is hidden may also be given as bits, as `bits_of` packs
them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.nn.layers import inner, items_at_once
from ancf_jax.types import Array, Query, Recommender

GROUP = 64  # items; more make fewer groups to sort but more items to look at one by one
WORD = 32  # bits
SCORES = 1 << 25  # held at once for a model that has no vectors


def top_k(scores: Array, k: int) -> tuple[Array, Array]:
    """The k best of each row of scores [B, n] and their columns, both [B, k]: jax.lax.top_k, but several times as fast.

    Equal scores come in the order of their columns. NaN is not a legal score.
    """
    if scores.shape[1] <= k * GROUP:
        return jax.lax.top_k(scores, k)
    columns = _in_best_groups(_group_maxima(scores), k)  # [B, k GROUP]
    rows = jnp.arange(len(scores))[:, None]
    best, place = jax.lax.top_k(scores.at[rows, columns].get(mode="fill", fill_value=-jnp.inf), k)
    return best, jnp.take_along_axis(columns, place, axis=1)


def top_k_inner(user: Array, item: Array, seen: Array, k: int, approximate: bool = False) -> tuple[Array, Array]:
    """The K best items by <user, item> and their scores, both [B, K], K = min(k, I), from [B, D] and [I, D].

    Memory: a block of scores, O(B I / 64) for maxima and marks, and O(K D) for one user's items. The items of the best
    groups are scored again, user by user, and these scores decide; products of two shapes may round differently, so
    items that come within rounding of the K-th score may take each other's places. `approximate`: see top_k_blocks.
    """
    (users, width), num_items = user.shape, len(item)
    block = items_at_once(4 * (users + width))  # rows, marks, scores and those of fit items share the cache
    if approximate:
        return top_k_blocks(lambda ids: inner(user, item[ids]), num_items, seen, k, block, approximate=True)
    marks, k = _mark(seen, num_items), min(k, num_items)
    if num_items <= items_at_once(users):  # all scores are few
        best, ids = top_k(_fit(inner(user, item), marks), k)
        return jnp.where(jnp.isfinite(best), ids, num_items), best
    block = _whole(block, GROUP)
    full = num_items // block * block

    def maxima(item: Array, marks: Array) -> Array:
        return _group_maxima(_fit(inner(user, item), marks))

    def maxima_of_block(start: Array) -> Array:
        rows = jax.lax.dynamic_slice_in_dim(item, start, block)
        return maxima(rows, jax.lax.dynamic_slice_in_dim(marks, start // WORD, block // WORD, axis=1))

    parts = []
    if full:
        blocks = jax.lax.map(maxima_of_block, jnp.arange(0, full, block))  # [I / block, B, block / GROUP]
        parts.append(jnp.moveaxis(blocks, 0, 1).reshape(users, -1))
    if full < num_items:
        parts.append(maxima(item[full:], marks[:, full // WORD :]))
    ids = _in_best_groups(jnp.concatenate(parts, axis=1), k)  # [B, k GROUP]
    words = jnp.take_along_axis(marks, jnp.minimum(ids // WORD, marks.shape[1] - 1), axis=1)
    absent = (ids >= num_items) | ((words >> (ids % WORD).astype(jnp.uint32)) & 1).astype(bool)

    def score(one: tuple[Array, Array]) -> Array:
        vector, ids = one
        return inner(vector[None], item[jnp.minimum(ids, num_items - 1)])[0]

    scores = jax.lax.map(score, (user, ids))  # [B, k GROUP]
    best, place = jax.lax.top_k(jnp.where(absent | ~jnp.isfinite(scores), -jnp.inf, scores), k)
    return jnp.where(jnp.isfinite(best), jnp.take_along_axis(ids, place, axis=1), num_items), best


def top_k_blocks(
    score_block: Callable[[Array], Array],
    num_items: int,
    seen: Array,
    k: int,
    block: int,
    approximate: bool = False,
) -> tuple[Array, Array]:
    """The K best items and their scores, both [B, K], K = min(k, I), by any score_block: ids [n] -> scores [B, n].

    It is asked for `block` ids at a time, rounded to a whole number of words of 32; memory is O(B block).
    `approximate` takes XLA's approx_max_k of each block, which a TPU computes faster, finding 95% of the items on
    average or more; elsewhere it is exact but for the order of equal scores (Chern et al., TPU-KNN: K Nearest Neighbor
    Search at Peak FLOP/s, 2022).
    """
    k, block = min(k, num_items), min(_whole(block, WORD), num_items)
    blocks = -(-num_items // block)
    marks = _mark(seen, blocks * block)
    select = jax.lax.approx_max_k if approximate else top_k

    def merge(n: Array, lists: tuple[Array, Array]) -> tuple[Array, Array]:
        ids = n * block + jnp.arange(block)
        words = jax.lax.dynamic_slice_in_dim(marks, n * (block // WORD), -(-block // WORD), axis=1)
        scores = _fit(score_block(jnp.minimum(ids, num_items - 1)).astype(jnp.float32), words)
        best, place = select(jnp.where(ids < num_items, scores, -jnp.inf), min(k, block))
        # What was found before has the lower ids, so it comes first and wins ties.
        items = jnp.concatenate([lists[0], jnp.where(jnp.isfinite(best), ids[place], num_items)], axis=1)
        best, place = jax.lax.top_k(jnp.concatenate([lists[1], best], axis=1), k)
        return jnp.take_along_axis(items, place, axis=1), best

    nothing = (jnp.full((len(seen), k), num_items), jnp.full((len(seen), k), -jnp.inf))
    return jax.lax.fori_loop(0, blocks, merge, nothing)


def best_items(
    model: Recommender, ready: Any, query: Query, seen: Array, top_k: int, approximate: bool = False
) -> tuple[Array, Array]:
    """The best items [B, k] of each query and their scores [B, k], best first; k = min(top_k, I).

    Never an item in `seen` [B, S], which is padded with I, nor one whose score is not finite. Where fewer than k are
    left, the list ends in padding: item I with score -inf. Items with equal scores come in the order of their ids.
    Scores are never held for more than a block of items; `approximate` as in top_k_blocks.
    """
    if model.embed is not None:
        return top_k_inner(*model.embed(ready, query), seen, top_k, approximate)
    users, num_items = jax.eval_shape(model.score, ready, query).shape

    def score_block(ids: Array) -> Array:
        if len(ids) == num_items:
            return model.score(ready, query)
        return model.score(ready, query, jnp.broadcast_to(ids, (users, len(ids))))

    return top_k_blocks(score_block, num_items, seen, top_k, max(SCORES // users, 1), approximate)


def items_for(
    model: Recommender, ready: Any, wanted: Array, seen: Array, top_k: int, approximate: bool = False
) -> tuple[Array, Array]:
    """As `best_items`, for whom only the features [B, F] of a wanted item are known; `model` has `retrieve`."""
    assert model.retrieve is not None
    return top_k_inner(*model.retrieve(ready, wanted), seen, top_k, approximate)


def recall_of_approximate(model: Recommender, ready: Any, query: Query, seen: Array, top_k: int) -> Array:
    """The share of the items in the exact lists of these queries that the approximate lists hold: [], in [0, 1]."""
    found, _ = best_items(model, ready, query, seen, top_k, approximate=True)
    exact, scores = best_items(model, ready, query, seen, top_k)
    listed = jnp.isfinite(scores)
    again = (exact[:, :, None] == found[:, None, :]).any(axis=2)
    return (again & listed).sum() / jnp.maximum(listed.sum(), 1)


def _group_maxima(scores: Array) -> Array:
    """The greatest of every GROUP columns [B, n / GROUP] of scores [B, n]; the last group may be smaller."""
    padded = jnp.pad(scores, ((0, 0), (0, -scores.shape[1] % GROUP)), constant_values=-jnp.inf)
    return padded.reshape(len(scores), -1, GROUP).max(axis=2)


def _in_best_groups(maxima: Array, k: int) -> Array:
    """The columns of the k groups with the greatest maxima [B, G], ascending: [B, min(k, G) GROUP]."""
    groups = jnp.sort(jax.lax.top_k(maxima, min(k, maxima.shape[1]))[1], axis=1)
    return (groups[:, :, None] * GROUP + jnp.arange(GROUP)).reshape(len(maxima), -1)


def bits_of(hidden: np.ndarray) -> np.ndarray:
    """What is hidden of each row, bool [B, I], as bits uint32 [B, I / 32], which may stand for `seen`."""
    padded = np.pad(hidden, ((0, 0), (0, -hidden.shape[1] % WORD)))
    return np.packbits(padded, axis=1, bitorder="little").view("<u4")


def _mark(seen: Array, num_items: int) -> Array:
    """The items of each row [B, S], padded with anything from num_items on, as bits [B, num_items / 32]."""
    if seen.dtype == jnp.uint32:
        return jnp.pad(seen, ((0, 0), (0, max(-(-num_items // WORD) - seen.shape[1], 0))))
    ordered = jnp.sort(seen, axis=1)
    first = jnp.diff(ordered, axis=1, prepend=-1) != 0  # an item may be given several times
    bits = jnp.where(first, jnp.uint32(1) << (ordered % WORD).astype(jnp.uint32), 0)
    words = jnp.zeros((len(seen), -(-num_items // WORD)), jnp.uint32)
    return words.at[jnp.arange(len(seen))[:, None], ordered // WORD].add(bits, mode="drop")


def _fit(scores: Array, marks: Array) -> Array:
    """Scores [B, n], -inf for an item that is marked in bits [B, n / 32] or whose score is not finite."""
    marked = (marks[:, :, None] >> jnp.arange(WORD, dtype=jnp.uint32)) & 1
    marked = marked.reshape(len(marks), -1)[:, : scores.shape[1]].astype(bool)
    return jnp.where(marked | ~jnp.isfinite(scores), -jnp.inf, scores)


def _whole(count: int, unit: int) -> int:
    """`count` rounded down to units, at least one."""
    return max(count // unit, 1) * unit
