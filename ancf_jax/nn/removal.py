"""What a score loses where interactions are taken out of a history: exact reasons for any score that reads one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.types import Array, Query, Recommender

BLOCK = 64  # histories scored at once for a user


def without(query: Query, gone: Array, num_items: int) -> Query:
    """The query whose histories [B, H] lack the columns `gone` [B, H]; what is left moves up, padding stays left."""
    kept = ~gone & (query.history < num_items)
    place = jnp.argsort(kept, axis=1, stable=True)
    history = jnp.take_along_axis(jnp.where(kept, query.history, num_items), place, axis=1)
    values = jnp.take_along_axis(jnp.where(kept, query.values, 0.0), place, axis=1)
    return Query(query.users, history, values)


def leave_one_out(model: Recommender, num_items: int, ready: Any, query: Query, items: Array) -> Array:
    """The fall of the scores of items [B, K] without the item of each column of the history: [B, K, H], 0 at padding.

    An item that occurs several times is taken out wherever it does.
    """
    if model.falls is not None:
        return model.falls(ready, query, items)
    return falls(partial(model.score, ready), num_items, query, items, query.history.shape[1])


def falls(score: Callable[..., Array], num_items: int, query: Query, items: Array, reads: int) -> Array:
    """The same for score: query, items [B, K] -> [B, K], of which no more than the latest `reads` columns are read."""
    whole, history = score(query, items), query.history
    width, length = history.shape[1], min(history.shape[1], reads)
    latest, present = history[:, width - length :], (history < num_items)[:, None]

    def fall(column: Array) -> Array:
        gone = history == latest[:, column, None]
        return whole - score(without(query, gone, num_items), items)

    most = jnp.minimum(jnp.sum(history < num_items, axis=1).max(), length)
    found = over_latest(fall, whole, length, most)
    if width > length:  # what comes before counts where the same item is among the latest
        early = history[:, : width - length, None] == latest[:, None]  # [B, width - length, length]
        place = jnp.argmax(early, axis=2)[:, None]
        before = jnp.where(early.any(axis=2)[:, None], jnp.take_along_axis(found, place, axis=2), 0.0)
        found = jnp.concatenate([before, found], axis=2)
    return jnp.where(present, found, 0.0)


def over_latest(function: Callable[[Array], Array], like: Array, length: int, most: Array) -> Array:
    """function(column), like `like` [B, K], of at least the latest `most` of `length` columns: [B, K, length]."""
    block = min(BLOCK, length)

    def add(n: Array, found: Array) -> Array:
        start = jnp.maximum(length - (n + 1) * block, 0)
        part = jax.vmap(function)(start + jnp.arange(block))
        return jax.lax.dynamic_update_slice_in_dim(found, part, start, axis=0)

    found = jax.lax.fori_loop(0, -(-most // block), add, jnp.zeros((length, *like.shape), like.dtype))
    return jnp.moveaxis(found, 0, 2)
