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


def falls(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, width: int) -> Array:
    """The fall of the scores of items [B, K] without the item of each of the latest `width` columns: [B, K, width].

    An item that occurs several times is taken out wherever it does.
    """
    whole = model.score(ready, query, items)

    def fall(column: Array) -> Array:
        gone = query.history == query.history[:, column, None]
        return whole - model.score(ready, without(query, gone, num_items), items)

    length = query.history.shape[1]
    found = jax.lax.map(fall, jnp.arange(length - width, length), batch_size=BLOCK)  # [width, B, K]
    return jnp.moveaxis(found, 0, 2)


def shapley(
    model: Recommender, num_items: int, ready: Any, query: Query, items: Array, width: int, key: Array, pairs: int
) -> Array:
    """The Shapley values of the latest `width` columns, by `pairs` of a random order and its reverse: [B, K, width].

    phi_h = E over orders of s(those before h, and h) - s(those before h), in the score of items [B, K]. They sum to
    s(history) - s(no history), whatever the orders. Source: J. Castro, D. Gomez & J. Tejada, 2009, "Polynomial
    calculation of the Shapley value based on sampling".
    """
    length = query.history.shape[1]
    present = query.history[:, length - width :] < num_items  # [B, width]

    def over(order: Callable[[Array], Array]) -> Callable[[Array], Array]:
        def of_order(key: Array) -> Array:
            lottery = order(jax.random.uniform(key, present.shape))
            place = jnp.argsort(jnp.argsort(jnp.where(present, lottery, 2.0), axis=1), axis=1)

            def first(count: Array) -> Array:
                gone = jnp.pad(place >= count, ((0, 0), (length - width, 0)), constant_values=True)
                return model.score(ready, without(query, gone, num_items), items)

            scores = jax.lax.map(first, jnp.arange(width + 1), batch_size=BLOCK)  # [width + 1, B, K]
            return jnp.take_along_axis(jnp.moveaxis(jnp.diff(scores, axis=0), 0, 2), place[:, None], axis=2)

        return of_order

    keys = jax.random.split(key, pairs)
    sums = [jax.lax.map(over(order), keys).mean(axis=0) for order in (lambda x: x, lambda x: 1 - x)]
    return jnp.where(present[:, None], sum(sums) / 2, 0.0)
