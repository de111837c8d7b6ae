"""What a score loses where interactions are taken out of a history: exact reasons for any model that reads one."""

from collections.abc import Callable
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


def falls(model: Recommender, num_items: int, ready: Any, query: Query, items: Array) -> Array:
    """The fall of the scores of items [B, K] without the item of each column of the history: [B, K, H], 0 at padding.

    An item that occurs several times is taken out wherever it does.
    """
    whole = model.score(ready, query, items)

    def fall(column: Array) -> Array:
        gone = query.history == query.history[:, column, None]
        return whole - model.score(ready, without(query, gone, num_items), items)

    present = (query.history < num_items)[:, None]
    return jnp.where(present, _over_latest(fall, whole, *_lengths(query, num_items)), 0.0)


def shapley(
    model: Recommender, num_items: int, ready: Any, query: Query, items: Array, key: Array, pairs: int
) -> Array:
    """The Shapley values of a history's columns, by `pairs` of a random order and its reverse: [B, K, H].

    phi_h = E over orders of s(those before h, and h) - s(those before h), in the score of items [B, K]. They sum to
    s(history) - s(no history), whatever the orders. Source: J. Castro, D. Gomez & J. Tejada, 2009, "Polynomial
    calculation of the Shapley value based on sampling".
    """
    present, (length, most) = query.history < num_items, _lengths(query, num_items)
    lottery = jax.vmap(lambda key: jax.random.uniform(key, present.shape))(jax.random.split(key, pairs))

    def of_order(lottery: Array) -> Array:
        place = jnp.argsort(jnp.argsort(jnp.where(present, lottery, 2.0), axis=1), axis=1)

        def first(column: Array) -> Array:
            """The scores of the first `length - column` of the order."""
            return model.score(ready, without(query, place >= length - column, num_items), items)

        nothing = first(jnp.int32(length))
        scores = jnp.flip(_over_latest(first, nothing, length, most), axis=2)  # [B, K, H] of the first 1, 2, ...
        steps = jnp.diff(jnp.concatenate([nothing[..., None], scores], axis=2), axis=2)
        return jnp.take_along_axis(steps, place[:, None], axis=2)

    values = jax.lax.map(of_order, jnp.concatenate([lottery, 1 - lottery])).mean(axis=0)
    return jnp.where(present[:, None], values, 0.0)


def _lengths(query: Query, num_items: int) -> tuple[int, Array]:
    """H, and how many interactions the longest history has."""
    return query.history.shape[1], jnp.sum(query.history < num_items, axis=1).max()


def _over_latest(function: Callable[[Array], Array], like: Array, length: int, most: Array) -> Array:
    """function(column), like `like` [B, K], of at least the latest `most` of `length` columns: [B, K, length]."""
    block = min(BLOCK, length)

    def add(n: Array, found: Array) -> Array:
        start = jnp.maximum(length - (n + 1) * block, 0)
        part = jax.vmap(function)(start + jnp.arange(block))
        return jax.lax.dynamic_update_slice_in_dim(found, part, start, axis=0)

    found = jax.lax.fori_loop(0, -(-most // block), add, jnp.zeros((length, *like.shape), like.dtype))
    return jnp.moveaxis(found, 0, 2)
