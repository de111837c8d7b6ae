"""Recommenders that know a mean value alone, the floor of every table of errors.

    global_mean   r_ui = mu
    item_mean     r_ui = mu + sum over u of (r_ui - mu) / (n_i + damping)

with mu the mean of the training values and n_i how many of them item i has: a damped mean stays near mu where there
are few (the item biases of Koren, Factorization Meets the Neighborhood, 2008, without the users').
"""

import math
from dataclasses import dataclass

import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.nn.value_heads import damped_means, moments
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

SEARCH: Space = {"damping": Range(0.5, 100.0, log=True)}


@dataclass(frozen=True)
class GlobalMean:
    """The mean of all values has nothing to set."""


@dataclass(frozen=True)
class ItemMean:
    """The mean of an item's values."""

    damping: float = field(5.0, "values at the mean of all that each item has besides its own", low=0)


def make_global_mean(config: GlobalMean, data: Data) -> Recommender:
    """Every value is predicted by the mean of all: what an infinite damping leaves."""
    return make_item_mean(ItemMean(math.inf), data)


def make_item_mean(config: ItemMean, data: Data) -> Recommender:
    """Every value is predicted by the damped mean of its item."""
    num_items = data.num_items
    mean, _ = moments(data.train.values)

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"item": jnp.zeros((num_items + 1, 1))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        values, items = jnp.asarray(given.train.values) - mean, jnp.asarray(given.train.items)
        return {"tables": {"item": damped_means(values, items, num_items + 1, config.damping)[:, None]}, "net": {}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        values = mean + params["tables"]["item"][:, 0]
        if items is None:
            return jnp.broadcast_to(values[:num_items], (len(query.users), num_items))
        return values[items]

    return Recommender(ClosedForm(1, init, sweep), Given(data.train), 0, as_they_are, score, rates=True)
