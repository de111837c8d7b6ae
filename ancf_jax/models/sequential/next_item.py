"""What models share that predict the next item after each column of a window, in one pass over it.

A training row is a window of one user's interactions: states [B, H, D] of its columns, of which column p has seen
j_1..j_p alone, are held against the item that came next.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from ancf_jax.data.samplers import next_items, shared_negatives
from ancf_jax.nn.layers import inner_products
from ancf_jax.types import Array, Given, Gradient, Params, Query, Recommender, as_they_are

TOKENS = 8192  # columns of all windows in a step


class Batch(NamedTuple):
    """Windows of one user each: target p follows the history up to column p."""

    history: Array  # [B, H]
    targets: Array  # [B, H], padded with I
    negatives: Array  # [B, N] of all targets, [B, H] of each of them, or [B, 0]
    absent: Array  # of the same shape, bool: a negative that the user has in training, not to be counted


def sampler(length: int, num_items: int, count: int) -> Callable[[Array, Given, Array], Batch]:
    """The `sample` of windows of `length` whose columns share `count` uniform negatives."""

    def sample(key: Array, given: Given, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        users, ends = given.own.at(index)
        history, targets = next_items(pick, given.train, users, ends, length, num_items)
        return Batch(history, targets, *shared_negatives(draw, given.train, users, count, num_items))

    return sample


def states_of(net: nn.Module, params: Params, history: Array, key: Array | None = None) -> Array:
    """The states [B, H, D] of histories [B, H]; with a key, in training."""
    item = params["tables"]["item"]
    mode: dict[str, Any] = {} if key is None else {"deterministic": False, "rngs": {"dropout": key}}
    return net.apply({"params": params["net"]}, item[history], history < item.shape[0] - 1, **mode)


def over_next_items(
    given: Given,
    length: int,
    net: nn.Module,
    init: Callable[[Array, Given], Params],
    sample: Callable[[Array, Given, Array], Any],
    loss: Callable[[Params, Given, Any, Array], tuple[Array, dict[str, Array]]],
    *,
    prepare: Callable[[Params, Given], Any] = as_they_are,
    vectors: str = "item",
    extend: Callable[[Array], Array] = lambda state: state,
) -> Recommender:
    """The recommender whose score is <extend(state of the last column), vector_i>, of the table called `vectors`."""

    def embed(ready: Any, query: Query) -> tuple[Array, Array]:
        state = states_of(net, ready, query.history)[:, -1]
        return extend(state), ready["tables"][vectors][:-1]

    learn = Gradient(len(given.own.users), init, sample, loss, batch=max(TOKENS // length, 1))
    return Recommender(learn, given, length, prepare, inner_products(embed), embed)
