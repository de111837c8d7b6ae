"""Popularity: score(u, i) = number of training interactions of item i, for every user."""

from dataclasses import dataclass

import jax.numpy as jnp

from ancf_jax.types import Array, ClosedForm, Data, Interactions, Params, Query, Recommender


@dataclass(frozen=True)
class Config:
    """Popularity has nothing to set."""


def make(config: Config, data: Data) -> Recommender:
    """The most popular items, the floor of every table."""
    num_items = data.num_items

    def init(key: Array) -> Params:
        return {"tables": {"item": jnp.zeros((num_items + 1, 1))}, "net": {}}

    def sweep(params: Params, train: Interactions, key: Array) -> Params:
        counts = jnp.zeros((num_items + 1, 1)).at[train.items, 0].add(1.0)
        return {"tables": {"item": counts}, "net": {}}

    def embed(params: Params, query: Query) -> tuple[Array, Array]:
        return jnp.ones((query.users.shape[0], 1)), params["tables"]["item"][:num_items]

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        counts = params["tables"]["item"][:, 0]
        if items is None:
            return jnp.broadcast_to(counts[:num_items], (query.users.shape[0], num_items))
        return counts[items]

    return Recommender(ClosedForm(1, init, sweep), 0, lambda params: params, score, embed)
