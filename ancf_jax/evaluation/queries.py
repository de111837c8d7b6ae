"""Queries: whom to score for, by the dense ids of users or of what a new user has, with the items that they have."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.samplers import take_window
from ancf_jax.types import Array, Data, Interactions, Query, Recommender

COLUMNS = 4096  # of histories, which are read at once
BLOCK = 256  # users at once, at most
FEW = 16  # and at least
SHORT = 50  # columns that are not halved more than twice
SAVED = 32 * COLUMNS  # columns less to read that are worth a program of their own
CHEAP = 400  # columns beyond `narrow` that cost as much as one of them


class Asked(NamedTuple):
    """What queries are made of."""

    trained: Array  # [U] whether a user has a training row; one without is asked for as the unknown user
    history: Interactions  # what a query carries of each user


def query_users(model: Recommender, data: Data, log: Interactions, users: Sequence[int]) -> tuple[Query, Array]:
    """The queries of users [B] by dense id, and the items [B, S] that they have, padded with I.

    Their histories are what `log` holds of them. A user without training rows is queried as the unknown user U.
    """
    offsets = np.asarray(log.offsets)
    rows = [slice(offsets[user], offsets[user + 1]) for user in users]
    trained = np.diff(np.asarray(data.train.offsets)) > 0
    ids = np.where(trained[list(users)], users, data.num_users)
    items, values = np.asarray(log.items), np.asarray(log.values)
    return _query(model.history, data.num_items, ids, [items[row] for row in rows], [values[row] for row in rows])


def query_history(model: Recommender, data: Data, history: Sequence[int]) -> tuple[Query, Array]:
    """The query of one new user with these items by dense id, oldest first, and the items [1, S], padded with I.

    Each interaction gets the median value of the training part: 1 for clicks, a usual rating or quantity otherwise.
    """
    items = np.asarray(history, np.int32)
    values = np.full(len(items), np.median(data.train.values), np.float32)
    return _query(model.history, data.num_items, np.array([data.num_users]), [items], [values])


def query_of(
    length: int, num_items: int, users: np.ndarray, items: Sequence[np.ndarray], values: Sequence[np.ndarray]
) -> Query:
    """The query [B] of users with these histories, each oldest first and of any length, of which `length` are read.

    Its arrays are on the host: a program that is asked once takes them from there fastest.
    """
    history: Any = _pad(items, length, num_items, np.int32)
    worth: Any = _pad(values, length, 0, np.float32)
    asked: Any = users.astype(np.int32)
    return Query(asked, history, worth)


def query_of_users(model: Recommender, data: Data, width: int, asked: Asked, users: Array) -> Query:
    known = jnp.where(asked.trained[users], users, data.num_users)
    return Query(known, *latest(asked.history, users, width, data.num_items))


def latest(part: Interactions, users: Array, length: int, padding: int) -> tuple[Array, Array]:
    return take_window(part, users, jnp.asarray(part.offsets)[users + 1], length, padding)  # [B, length] twice


def width_of(model: Recommender, items: Sequence[np.ndarray]) -> int:
    """How wide a query of these histories has to be: the least of the widths that leaves away no more than padding."""
    longest = max(map(len, items), default=0)
    return next((width for width in widths(model) if width >= longest), model.history)


def by_width(model: Recommender, lengths: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Histories of these `lengths` [E] by the width that queries of them have to have: widths, and places in [E].

    Histories that would save fewer than SAVED columns take a wider query with others, for a width costs a compilation.
    The widest is of the longest history, rounded up, for not all of these need be as long as the model reads.
    """
    found: list[tuple[int, np.ndarray]] = []
    places, every = np.zeros(0, int), widths(model)
    for less, width, wider in zip([-1, *every], every, [*every[1:], 0], strict=False):
        fits = (lengths > less) & ((lengths <= width) | (width == model.history))
        places = np.concatenate([places, np.flatnonzero(fits)])
        columns = min(wider, model.narrow) - min(width, model.narrow) + (wider - width) / CHEAP
        if len(places) and (width == model.history or len(places) * columns >= SAVED):
            longest = -(-int(lengths[places].max(initial=1)) // SHORT) * SHORT if model.narrow else width
            found.append((min(width, longest), np.sort(places)))
            places = places[:0]
    return found


def users_at_once(model: Recommender, width: int) -> int:
    """Users of this width whose scores are computed at once, so that what an encoder makes of them fits the cache."""
    return int(np.clip(COLUMNS // max(min(width, model.narrow or width), 1), FEW, BLOCK))


def widths(model: Recommender) -> list[int]:
    """The widths of queries, ascending, each twice the one before: users of many lengths share compiled programs."""
    length = model.history
    halvings = max(2, (length // SHORT).bit_length() - 1) if model.narrow else 0
    return sorted({-(-length >> n) for n in range(halvings + 1)})


def _query(
    length: int, num_items: int, users: np.ndarray, items: list[np.ndarray], values: list[np.ndarray]
) -> tuple[Query, Array]:
    """The query [B] and all items [B, S] of users with these histories."""
    query = jax.tree.map(jnp.asarray, query_of(length, num_items, users, items, values))
    return query, jnp.asarray(padded(items, num_items))


def padded(items: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    """All items of each row [B, S], padded with I."""
    # A power of two, so that users of many lengths share few compiled programs.
    return _pad(items, 1 << max(max(map(len, items)) - 1, 0).bit_length(), num_items, np.int32)


def _pad(rows: Sequence[np.ndarray], length: int, padding: float, kind: type) -> np.ndarray:
    """The last `length` numbers of each row [B, length], padded on the left."""
    found: np.ndarray = np.full((len(rows), length), padding, kind)
    for place, row in enumerate(rows):
        if kept := min(len(row), length):
            found[place, length - kept :] = row[len(row) - kept :]
    return found
