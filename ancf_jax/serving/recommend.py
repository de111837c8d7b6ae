"""Top-N lists from any model, for users it was trained on and for new users given by a history.

Serving predicts the future, so all that is known of a user is history: the training, validation and test parts. A new
user is the unknown-user row U with a history, so no parameter changes and nothing is retrained.
"""

import difflib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.dataset import Dataset, find_item, find_user, known_interactions
from ancf_jax.data.interactions import merge
from ancf_jax.evaluation import topk
from ancf_jax.types import Array, Data, InputError, Interactions, Query, Recommender

SCORES = 1 << 25  # held at once for a model that has no vectors


def recommend(
    model: Recommender, ready: Any, query: Query, seen: Array, top_k: int, approximate: bool = False
) -> tuple[Array, Array]:
    """The best items [B, k] of each query and their scores [B, k], best first; k = min(top_k, I).

    Never an item in `seen` [B, S], which is padded with I, nor one whose score is not finite. Where fewer than k are
    left, the list ends in padding: item I with score -inf. Items with equal scores come in the order of their ids.
    Scores are never held for more than a block of items; `approximate` as in topk.py.
    """
    if model.embed is not None:
        return topk.top_k_inner(*model.embed(ready, query), seen, top_k, approximate)
    users, num_items = jax.eval_shape(model.score, ready, query).shape

    def score_block(ids: Array) -> Array:
        if len(ids) == num_items:
            return model.score(ready, query)
        return model.score(ready, query, jnp.broadcast_to(ids, (users, len(ids))))

    return topk.top_k_blocks(score_block, num_items, seen, top_k, max(SCORES // users, 1), approximate)


def retrieve(
    model: Recommender, ready: Any, wanted: Array, seen: Array, top_k: int, approximate: bool = False
) -> tuple[Array, Array]:
    """As `recommend`, for whom only the features [B, F] of a wanted item are known; `model` has `retrieve`."""
    assert model.retrieve is not None
    return topk.top_k_inner(*model.retrieve(ready, wanted), seen, top_k, approximate)


def recall_of_approximate(model: Recommender, ready: Any, query: Query, seen: Array, top_k: int) -> Array:
    """The share of the items in the exact lists of these queries that the approximate lists hold: [], in [0, 1]."""
    found, _ = recommend(model, ready, query, seen, top_k, approximate=True)
    exact, scores = recommend(model, ready, query, seen, top_k)
    listed = jnp.isfinite(scores)
    again = (exact[:, :, None] == found[:, None, :]).any(axis=2)
    return (again & listed).sum() / jnp.maximum(listed.sum(), 1)


def known(dataset: Dataset) -> Interactions:
    """All that is known of each user."""
    return merge(known_interactions(dataset), dataset.test, len(dataset.user_ids))


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


def query_text(dataset: Dataset, text: str) -> Array:
    """The features [1, F] of an item of which `text` is all that is known. Raises InputError where it says nothing."""
    if dataset.features is None or dataset.features.encode is None:
        raise InputError(f"flag --query: the items of {dataset.name} have no text; --item_text names columns of it")
    found = dataset.features.encode(text)
    if not found.any():
        raise InputError(f"flag --query: none of the words of {text!r} is in the text of an item of {dataset.name}")
    return jnp.asarray(found[None])


def user_of(dataset: Dataset, text: str) -> int:
    """The dense id of the user whose own id is written `text`. Raises InputError with the nearest ids there are."""
    user = find_user(dataset, text)
    if user is None:
        hint = _nearest(dataset.user_ids, text)
        raise InputError(f"unknown user {text!r}; {hint}; a new user is given by --history")
    return user


def item_of(dataset: Dataset, text: str) -> int:
    """The dense id of the item whose own id is written `text`. Raises InputError with the nearest ids there are."""
    item = find_item(dataset, text)
    if item is None:
        raise InputError(f"unknown item {text!r}; {_nearest(dataset.item_ids, text)}")
    return item


def title_of(dataset: Dataset, item: int) -> str:
    """What people call an item, by dense id: its title, or its own id where there are no titles."""
    return dataset.titles[item] if dataset.titles else str(dataset.item_ids[item])


def _query(
    length: int, num_items: int, users: np.ndarray, items: list[np.ndarray], values: list[np.ndarray]
) -> tuple[Query, Array]:
    """The query [B] and all items [B, S] of users with these histories, each oldest first and of any length."""
    # A power of two, so that users of many lengths share few compiled programs.
    width = 1 << max(max(map(len, items)) - 1, 0).bit_length()
    history = _pad(items, length, num_items).astype(np.int32)
    query = Query(
        jnp.asarray(users, jnp.int32), jnp.asarray(history), jnp.asarray(_pad(values, length, 0.0), jnp.float32)
    )
    return query, jnp.asarray(_pad(items, width, num_items), jnp.int32)


def _pad(rows: list[np.ndarray], length: int, padding: float) -> np.ndarray:
    """The last `length` numbers of each row [B, length], padded on the left."""
    last = [row[max(len(row) - length, 0) :] for row in rows]
    return np.array([np.pad(row, (length - len(row), 0), constant_values=padding) for row in last])


def _nearest(ids: np.ndarray, text: str) -> str:
    """A hint at what ids there are: the range and the closest number, or ids of a similar spelling."""
    if ids.dtype.kind != "i":
        close = difflib.get_close_matches(text, ids.tolist(), 3)
        return f"the nearest ids are {', '.join(close)}" if close else f"ids are written like {ids[0]} and {ids[-1]}"
    span = f"ids are whole numbers from {ids[0]} to {ids[-1]}"
    try:
        return f"{span}, the nearest is {min(ids.tolist(), key=lambda id: abs(id - int(text)))}"
    except ValueError:
        return span
