"""Ids to dense int32 and back, and the arrays of one part of the data."""

import numpy as np
import pandas as pd

from ancf_jax.types import ArrayLike, Data, InputError, Interactions

MOST = 2**31 - 1  # rows of a part, which are counted in int32
MOST_BITS = 2**29  # pairs of user and item that have a bit, 64 MiB


def vocabulary(*columns) -> np.ndarray:
    """The sorted distinct ids of some columns: int64 where all of them are, strings (object) otherwise.

    Strings are objects because NumPy's own have one width, that of the longest.
    """
    series = [pd.Series(column) for column in columns]
    if all(pd.api.types.is_integer_dtype(column) for column in series):
        return np.sort(np.asarray(pd.concat(series, ignore_index=True).unique(), np.int64))
    words = pd.concat([pd.Series(column.unique()).astype("str") for column in series], ignore_index=True).unique()
    return np.sort(np.asarray(words, object))


def encode(ids, vocabulary: np.ndarray | pd.Index) -> np.ndarray:
    """The places [R] int32 of `ids` in a sorted `vocabulary`. Raises InputError that names an id not in it.

    Whole numbers are found among strings as they are written. An Index keeps its hash table between calls.
    """
    ids = pd.Index(ids)
    index = vocabulary if isinstance(vocabulary, pd.Index) else pd.Index(vocabulary)
    if pd.api.types.is_integer_dtype(ids) and not pd.api.types.is_integer_dtype(index):
        ids = ids.astype("str")
    places = index.get_indexer(ids)
    if (places < 0).any():
        raise InputError(f"unknown id '{ids[places < 0][0]}'")
    return places.astype(np.int32)


def build(users, items, values, order, num_users: int) -> Interactions:
    """Interactions from unsorted columns [R], sorted by user and then by `order`, which is distinct.

    Raises InputError for more rows than int32 can count.
    """
    if len(users) > MOST:
        raise InputError(f"{len(users):,} rows are too many for one part in memory; legal are {MOST:,}, or --stream")
    rows = np.lexsort((order, users))
    return _pack([np.asarray(column)[rows] for column in (users, items, values, order)], num_users)


def select(part: Interactions, rows: np.ndarray) -> Interactions:
    """The rows of a part where the mask `rows` [R] is true."""
    return _pack([np.asarray(column)[rows] for column in part[:4]], len(part.offsets) - 1)


def merge(a: Interactions, b: Interactions, num_users: int) -> Interactions:
    """Two parts of the same log as one."""
    users, items, values, order = (np.concatenate(columns) for columns in zip(a[:4], b[:4], strict=True))
    return build(users, items, values, order, num_users)


def with_bits(part: Interactions, num_items: int) -> Interactions:
    """The part with a bit for each user and each item or padding, where there are at most MOST_BITS."""
    num_users, words = len(part.offsets) - 1, num_items // 32 + 1
    if num_users * words * 32 > MOST_BITS:
        return part
    bits = np.zeros((num_users, words), np.uint32)
    items = np.asarray(part.items).astype(np.uint32)
    np.bitwise_or.at(bits, (part.users, items // 32), np.uint32(1) << items % 32)
    return part._replace(bits=bits)


def longest(part: Interactions) -> int:
    """The most rows that one user has, at least 1."""
    return max(int(np.diff(np.asarray(part.offsets)).max(initial=0)), 1)


def whole_history(data: Data) -> int:
    """How many interactions a query carries for a model that is to see all of a user's: twice the longest of training.

    For a query may know more of a user than training did: the validation part, and the test part when serving.
    """
    return min(2 * longest(data.train), data.num_items)


def latest(data: Data, length: int) -> str:
    """What a model knows of the order that reads the latest `length` interactions as a set; see Recommender.order."""
    return "no" if length == 0 or length > longest(data.train) else f"latest {length}"


def from_latest(part: Interactions) -> np.ndarray:
    """How many later rows [R] the same user has: 0 for the user's latest."""
    users = np.asarray(part.users)
    return np.asarray(part.offsets)[users + 1] - 1 - np.arange(len(users))


def has_repeats(part: Interactions) -> bool:
    """Whether a user has an item more than once."""
    return bool(((np.diff(part.known) == 0) & (np.diff(part.users) == 0)).any())


def recency(order: ArrayLike, half_life: float) -> ArrayLike:
    """2^(-age / half-life) of interactions at places `order` [R] of the log; both are fractions of the whole log."""
    return 2.0 ** ((order - order.max()) / (half_life * (order.max() + 1)))


def _pack(columns: list[np.ndarray], num_users: int) -> Interactions:
    """Interactions from users, items, values and order that are sorted already."""
    users, items, values, order = columns
    return Interactions(
        users=users.astype(np.int32),
        items=items.astype(np.int32),
        values=values.astype(np.float32),
        order=order.astype(np.int32),
        offsets=np.searchsorted(users, np.arange(num_users + 1)).astype(np.int32),
        known=items[np.lexsort((items, users))].astype(np.int32),
    )
