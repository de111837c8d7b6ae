"""ANCF's rows: windows of one user each, what is asked of them and held against it, samples of histories."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.samplers import Windows, hold_out, lengths_of, shared_negatives, shift_ends, take_window
from ancf_jax.nn.bits import hashed
from ancf_jax.types import Array, ArrayLike, Given, Interactions


class Own(NamedTuple):
    """What ANCF makes of the data."""

    windows: Windows
    odds: ArrayLike  # [I + 1] the log-q correction of `popular` negatives
    prior: Any  # what the closed form knows of the data, or ()
    trend: Any  # [I + 1] w_r r_i, or ()
    log: Any = ()  # the training part in its order, where a closed form learns from that and windows are shuffled


class Batch(NamedTuple):
    """Windows of one user each. Order-aware, P = H and target p follows the history up to column p."""

    users: Array  # [B]
    history: Array  # [B, H]
    targets: Array  # [B, P], padded with I
    negatives: Array  # [B, N]
    absent: Array  # [B, N] bool: a negative that the user has in training, not to be counted


def sampler(config: Any, num_items: int, popular: int) -> Callable[[Array, Given, Array], Batch]:
    """The `sample` of ANCF's settings (ancf.Config), of whose negatives `popular` are drawn by popularity."""
    span = span_of(config)

    def sample(key: Array, given: Given, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        train = given.train
        users, ends = given.own.windows.at(index)
        if config.ordered:
            ends = shift_ends(pick, train, users, ends, config.history)
        window, _ = take_window(train, users, ends, span, num_items)
        if config.ordered:
            history, targets = window[:, :-1], window[:, 1:]
            targets = jnp.where(history < num_items, targets, num_items)  # a first interaction has no history
        elif not config.targets:
            history = targets = window
        else:
            history, targets, _ = hold_out(pick, window, min(config.targets, span), num_items)
        if config.loss == "full_softmax" and is_inner(config):
            none = jnp.zeros((len(users), 0), int)
            return Batch(users, history, targets, none, none == 0)  # the loss has all items
        if config.loss == "full_softmax":
            others = jnp.broadcast_to(jnp.arange(num_items), (len(users), num_items))
            return Batch(users, history, targets, others, jnp.zeros_like(others, bool))
        others, absent = shared_negatives(draw, train, users, config.negatives, num_items, popular)
        return Batch(users, history, targets, others, absent)

    return sample


def is_inner(config: Any) -> bool:
    """Whether what is learnt of a score is an inner product with the item, and an item's bias."""
    return config.ordered and not config.heads and not config.tower and not (config.prior and config.joint)


def span_of(config: Any) -> int:
    """The interactions in a window: the history and, order-aware, what follows its last."""
    return config.history + 1 if config.ordered else max(config.history, 1)


def lengths_in(windows: Windows, config: Any, train: Interactions) -> np.ndarray:
    """The columns [W] of a history that each window may fill."""
    held = lengths_of(windows, train, span_of(config), shifted=config.ordered)
    return np.maximum(held - int(config.ordered), 1)


def last_columns(beside: bool, batch: Batch, width: int) -> Batch:
    """The batch without all but the last columns of histories, and of targets if these stand beside them."""
    wide = ("history", "targets") if beside else ("history",)
    return batch._replace(**{name: getattr(batch, name)[:, -width:] for name in wide})


def shuffled(train: Interactions) -> Interactions:
    """Every user's interactions in a random order, so that windows over them are random samples."""
    rows = np.lexsort((np.random.default_rng(0).random(len(train.users)), train.users))
    return train._replace(**{name: np.asarray(getattr(train, name))[rows] for name in ("items", "values", "order")})


def sample_of(history: Array, count: int, padding: int) -> tuple[Array, Array]:
    """`count` of the interactions of each history [B, H], and their columns: all, or those of the least hashed ids.

    So the sample of a set is always the same, whatever the order of the history.
    """
    if history.shape[1] > count:
        lottery = as_floats((hashed(history.astype(jnp.uint32)) >> 1).astype(jnp.int32) - 2**30)
        columns = jax.lax.top_k(jnp.where(history < padding, -lottery, -jnp.inf), count)[1]
    else:
        columns = jnp.broadcast_to(jnp.arange(history.shape[1]), history.shape)
    return jnp.take_along_axis(history, columns, axis=1), columns


def as_floats(words: Array) -> Array:
    """Floats in the order of int32 words in [-2^30, 2^30), none of them denormal.

    XLA finds the best of floats on a CPU without the sort that it makes of integers, a fifth of a ranking's time.
    """
    size = jnp.where(words < 0, -1 - words, words) + 2**23  # bits of positive floats, which are in their order
    floats = jax.lax.bitcast_convert_type(size, jnp.float32)
    return jnp.where(words < 0, -floats, floats)


def into_columns(found: Array, columns: Array | None, length: int) -> Array:
    """What was found [B, ..., h] of the `columns` [B, h] of histories, in these [B, ..., length]; None is all."""
    if columns is None:
        return found
    every = jnp.zeros((len(found), length, *found.shape[1:-1]))
    every = every.at[jnp.arange(len(found))[:, None], columns].set(jnp.moveaxis(found, -1, 1))
    return jnp.moveaxis(every, 1, -1)
