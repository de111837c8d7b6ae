"""Sampling on the device: windows over a user's interactions and negatives that the user does not know.

Drawn inside the jitted epoch from a key, so an epoch needs no host round trip and can be replayed from its number.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.nn.bits import hashed, integers, random_words, uniform
from ancf_jax.types import Array, ArrayLike, Data, Given, Interactions


class Windows(NamedTuple):
    """Consecutive interactions of one user each."""

    users: ArrayLike  # [W] int32
    ends: ArrayLike  # [W] int32, one past the last interaction

    def at(self, index: Array) -> tuple[Array, Array]:
        """Users and ends [B] of the windows `index` [B]."""
        return jnp.asarray(self.users)[index], jnp.asarray(self.ends)[index]


def over_windows(data: Data, length: int) -> Given:
    """What a model is given whose training row is a window of at most `length` interactions: `own` is the Windows."""
    return Given(data.train, windows(np.asarray(data.train.offsets), length))


def windows(offsets: np.ndarray, length: int) -> Windows:
    """Cut every user's row, from its end, into windows of at most `length` interactions; offsets [U + 1].

    Each interaction lies in exactly one window; only a user's earliest window may be shorter.
    """
    counts = np.diff(offsets)
    pieces = -(-counts // length)
    users = np.repeat(np.arange(len(counts)), pieces)
    first = np.repeat(np.cumsum(pieces) - pieces, pieces)
    ends = offsets[users + 1] - (np.arange(len(users)) - first) * length
    return Windows(users.astype(np.int32), ends.astype(np.int32))


def lengths_of(windows: Windows, train: Interactions, length: int, *, shifted: bool) -> np.ndarray:
    """The most interactions [W] that each window may hold, at most `length`, with its end `shifted` or as it is."""
    offsets, users = np.asarray(train.offsets), np.asarray(windows.users)
    held = (offsets[users + 1] if shifted else np.asarray(windows.ends)) - offsets[users]
    return np.minimum(held, length)


def shift_ends(key: Array, train: Interactions, users: Array, ends: Array, length: int) -> Array:
    """Move window ends [B] later by 0 to length - 1 interactions, at most to the end of the user's row.

    So an interaction is not always seen after the same context, and a user's latest ones are seen most.
    """
    shift = integers(random_words(key, ends.shape), length)
    return jnp.minimum(ends + shift, jnp.asarray(train.offsets)[users + 1])


def take_window(train: Interactions, users: Array, ends: Array, length: int, padding: int) -> tuple[Array, Array]:
    """The `length` interactions before row `ends` [B] of each user: items, values [B, length], padded on the left."""
    index = ends[:, None] - length + jnp.arange(length)  # [B, length]
    inside = index >= jnp.asarray(train.offsets)[users][:, None]
    items = jnp.asarray(train.items)[jnp.maximum(index, 0)]
    values = jnp.asarray(train.values)[jnp.maximum(index, 0)]
    return jnp.where(inside, items, padding), jnp.where(inside, values, 0.0)


def next_items(
    key: Array, train: Interactions, users: Array, ends: Array, length: int, padding: int
) -> tuple[Array, Array]:
    """The windows that end at `ends` [B], shifted, as histories and the item that follows each of their columns.

    Both [B, length]. Padding follows padding: a first interaction has no history, and so is no target.
    """
    ends = shift_ends(key, train, users, ends, length)
    items, _ = take_window(train, users, ends, length + 1, padding)
    history = items[:, :-1]
    return history, jnp.where(history < padding, items[:, 1:], padding)


def hold_out(key: Array, window: Array, count: int, padding: int) -> tuple[Array, Array, Array]:
    """Split windows [B, L] at random into a history [B, L] and targets [B, count], at least one of each where L > 1.

    At most half of a window's interactions become targets; what is taken out is `padding` in the history. The third
    array has the columns [B, count] of the targets, and any where a target is `padding`.
    """
    present = window < padding
    size = present.sum(1, keepdims=True)  # [B, 1]
    lottery = jnp.where(present, uniform(key, window.shape), 2.0)
    place = jnp.argsort(jnp.argsort(lottery, axis=1), axis=1)  # of each column in the draw
    drawn = (place < jnp.minimum(count, (size + 1) // 2)) & present
    _, columns = jax.lax.top_k(-lottery, count)
    targets = jnp.where(jnp.take_along_axis(drawn, columns, 1), jnp.take_along_axis(window, columns, 1), padding)
    return jnp.where(drawn, padding, window), targets, columns


def knows(train: Interactions, users: Array, items: Array) -> Array:
    """Whether each user [B] has each of the items [B, N] in training: bool [B, N].

    By its bit, or, in a log too large for bits, by bisection of the user's row.
    """
    if train.bits is not None:
        word = jnp.asarray(train.bits)[users[:, None], items >> 5]
        return (word >> (items & 31).astype(jnp.uint32)) & 1 > 0
    known, offsets = jnp.asarray(train.known), jnp.asarray(train.offsets)
    first, last = offsets[users][:, None], jnp.int32(known.shape[0] - 1)
    count = offsets[users + 1][:, None] - first

    def halve(state: tuple[Array, Array]) -> tuple[Array, Array]:
        below, step = state  # how many of the row's items are smaller, so far
        further = below + step
        smaller = known[jnp.minimum(first + further - 1, last)] < items
        return jnp.where((further <= count) & smaller, further, below), step >> 1

    widest = jnp.int32(1) << (31 - jax.lax.clz(jnp.max(count, initial=1)))  # the last power of 2 in the longest row
    below, _ = jax.lax.while_loop(lambda state: state[1] > 0, halve, (jnp.zeros_like(items), widest))
    return (below < count) & (known[jnp.minimum(first + below, last)] == items)


def negatives(key: Array, train: Interactions, users: Array, count: int, num_items: int) -> Array:
    """Uniform items [B, count] that the users [B] do not have in training, int32.

    A known item is drawn again once, so that a fraction q of known items leaves about q^2 of the draws known; an
    exact rejection loop would cost more than that noise (Rendle et al., Neural Collaborative Filtering vs. Matrix
    Factorization Revisited, 2020, do not reject at all).
    """
    words = random_words(key, (users.shape[0], count))
    first, again = integers(words, num_items), integers(hashed(words), num_items)
    return jnp.where(knows(train, users, first), again, first)


def shared_negatives(
    key: Array, train: Interactions, users: Array, count: int, num_items: int, popular: int = 0
) -> tuple[Array, Array]:
    """Items [B, count] for all targets of a window, and whether the window's user [B] has them in training.

    The first `popular` of them are drawn as often as they occur in the log, the others uniformly. Those that the user
    has are not to be counted.
    """
    words = random_words(key, (users.shape[0], count))
    by_log = jnp.asarray(train.items)[integers(words[:, :popular], train.items.shape[0])]
    items = jnp.concatenate([by_log, integers(words[:, popular:], num_items)], axis=1)
    return items, knows(train, users, items)
