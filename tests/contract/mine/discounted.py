"""A model from outside: popularity that counts an active user's interactions for less.

score(u, i) = sum over the users v who have i of 1 / n_v^discount,    n_v: the interactions of v.
"""

from dataclasses import dataclass

import jax.numpy as jnp

from ancf_jax.config import field
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

CONTRACT = {"personal": False}


@dataclass(frozen=True)
class Config:
    """Discounted popularity."""

    discount: float = field(0.5, "exponent by which an active user counts for less", low=0, high=1)


def make(config: Config, data: Data) -> Recommender:
    """Discounted popularity, counted in one sweep."""

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"item": jnp.zeros((data.num_items + 1, 1))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        users, items = jnp.asarray(given.train.users), jnp.asarray(given.train.items)
        active = jnp.diff(jnp.asarray(given.train.offsets))[users]  # [R]
        weights = params["tables"]["item"].at[items, 0].add(active**-config.discount)
        return {"tables": {"item": weights}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        scores = params["tables"]["item"][:-1, 0]  # [I]
        return jnp.broadcast_to(scores, (len(query.users), len(scores))) if items is None else scores[items]

    return Recommender(ClosedForm(1, init, sweep), Given(data.train), 0, as_they_are, score)
