"""Recommenders that count, the floor of every table: what all did, and what the user did.

    popularity   score(u, i) = number of training interactions of item i
    personal     score(u, i) = how often i is in the user's history, plus item i's share of all training interactions
    recent       score(u, i) = sum over the training interactions of item i of 2^(-age / half-life)
    random       score(u, i) = a uniform number in [0, 1) for each user and item

An interaction's age is how many places of the whole log, in the order of time, lie between it and the latest one
(popularity that decays: Ji, Sun, Zhang & Li, A Re-visit of the Popularity Baseline in Recommender Systems, 2020). Where
repeats are kept, a user's own frequencies are hard to beat, and personal ranks by them first (GP-TopFreq, in Li,
Jullien, Ariannezhad & de Rijke, A Next Basket Recommendation Reality Check, 2023); without repeats it is popularity.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import recency, whole_history
from ancf_jax.types import Array, ClosedForm, Data, Given, Interactions, Params, Query, Recommender, as_they_are

SEARCH: Space = {"half_life": Range(0.003, 1.0, log=True)}


@dataclass(frozen=True)
class Config:
    """Popularity has nothing to set."""


@dataclass(frozen=True)
class Recent:
    """Recent popularity."""

    half_life: float = field(0.1, "age at which an interaction counts half, as a fraction of the log", above=0)


@dataclass(frozen=True)
class Personal:
    """Personal popularity has nothing to set."""


@dataclass(frozen=True)
class Random:
    """Random scores have nothing to set: their seed is --seed."""


def make(config: Config, data: Data) -> Recommender:
    """The most popular items."""
    return _counted(data, lambda train: jnp.ones(len(train.items)))._replace(unit="number of interactions")


def make_recent(config: Recent, data: Data) -> Recommender:
    """The items that are popular now."""

    def weigh(train: Interactions) -> Array:
        return jnp.asarray(recency(jnp.asarray(train.order), config.half_life))

    return _counted(data, weigh)._replace(unit="number of interactions, older ones counting less", order="yes")


def make_personal(config: Personal, data: Data) -> Recommender:
    """What the user did most often, then what all did."""
    num_items = data.num_items
    counted = _counted(data, lambda train: jnp.full(len(train.items), 1 / (len(train.items) + 1)))

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        rows = jnp.arange(len(query.users))[:, None]
        own = jnp.zeros((len(query.users), num_items)).at[rows, query.history].add(1.0, mode="drop")
        shares = counted.score(params, query, items)
        return shares + (own if items is None else jnp.take_along_axis(own, items, axis=1))

    def contribute(params: Params, query: Query, items: Array) -> Array:
        return (query.history[:, None] == items[:, :, None]).astype(jnp.float32)

    unit = "number of the user's interactions with it, then its share of all"
    model = counted._replace(score=score, embed=None, history=whole_history(data), unit=unit, narrow=1)
    return model._replace(contribute=contribute, additive=True)


def make_random(config: Random, data: Data) -> Recommender:
    """Chance: a score depends on the seed, the user and the item alone; all unknown users are user U."""
    num_items = data.num_items

    def init(key: Array, given: Given) -> Params:
        return {"tables": {}, "net": {"key": jax.random.key_data(key)}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        return params

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        key = jax.random.wrap_key_data(params["net"]["key"])
        scores = jax.vmap(lambda user: jax.random.uniform(jax.random.fold_in(key, user), (num_items,)))(query.users)
        return scores if items is None else jnp.take_along_axis(scores, items, axis=1)

    return Recommender(ClosedForm(1, init, sweep), Given(data.train), 0, as_they_are, score, unit="random number")


def _counted(data: Data, weigh: Callable[[Interactions], Array]) -> Recommender:
    """Items by the sum of the weights [R] of their interactions."""
    num_items = data.num_items

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"item": jnp.zeros((num_items + 1, 1))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        counts = jnp.zeros((num_items + 1, 1)).at[given.train.items, 0].add(weigh(given.train))
        return {"tables": {"item": counts}, "net": {}}

    def embed(params: Params, query: Query) -> tuple[Array, Array]:
        return jnp.ones((query.users.shape[0], 1)), params["tables"]["item"][:num_items]

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        counts = params["tables"]["item"][:, 0]
        if items is None:
            return jnp.broadcast_to(counts[:num_items], (query.users.shape[0], num_items))
        return counts[items]

    return Recommender(ClosedForm(1, init, sweep), Given(data.train), 0, as_they_are, score, embed)
