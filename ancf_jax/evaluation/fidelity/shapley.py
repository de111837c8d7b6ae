"""Shapley values of a history's interactions, for any model that reads one."""

from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.nn.removal import over_latest, without
from ancf_jax.types import Array, Query, Recommender


def shapley(
    model: Recommender, num_items: int, ready: Any, query: Query, items: Array, key: Array, pairs: int
) -> Array:
    """The Shapley values of a history's columns, by `pairs` of a random order and its reverse: [B, K, H].

    phi_h = E over orders of s(those before h, and h) - s(those before h), in the score of items [B, K]. They sum to
    s(history) - s(no history), whatever the orders. Source: J. Castro, D. Gomez & J. Tejada, 2009, "Polynomial
    calculation of the Shapley value based on sampling".
    """
    present, length = query.history < num_items, query.history.shape[1]
    most = present.sum(axis=1).max()
    lottery = jax.vmap(lambda key: jax.random.uniform(key, present.shape))(jax.random.split(key, pairs))

    def of_order(lottery: Array) -> Array:
        place = jnp.argsort(jnp.argsort(jnp.where(present, lottery, 2.0), axis=1), axis=1)

        def first(column: Array) -> Array:
            """The scores of the first `length - column` of the order."""
            return model.score(ready, without(query, place >= length - column, num_items), items)

        nothing = first(jnp.int32(length))
        scores = jnp.flip(over_latest(first, nothing, length, most), axis=2)  # [B, K, H] of the first 1, 2, ...
        steps = jnp.diff(jnp.concatenate([nothing[..., None], scores], axis=2), axis=2)
        return jnp.take_along_axis(steps, place[:, None], axis=2)

    values = jax.lax.map(of_order, jnp.concatenate([lottery, 1 - lottery])).mean(axis=0)
    return jnp.where(present[:, None], values, 0.0)
