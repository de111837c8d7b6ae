"""From people's words to dense ids, and back: users, items and titles by the data's own ids, needs by their words."""

import difflib

import jax.numpy as jnp
import numpy as np

from ancf_jax.data.dataset import Dataset, find_item, find_user
from ancf_jax.data.features import encoded
from ancf_jax.types import Array, InputError

LONG = 60  # characters of an id that an error shows
MANY = 5000  # ids that are compared with one that is unknown


def features_of(dataset: Dataset, text: str) -> Array:
    """The features [1, F] of an item of which `text` is all that is known. Raises InputError where it says nothing."""
    if dataset.features is None or dataset.features.words is None:
        raise InputError(f"flag --query: the items of {dataset.name} have no text; --item_text names columns of it")
    found = encoded(dataset.features, text)
    if not found.any():
        raise InputError(f"flag --query: none of the words of {text!r} is in the text of an item of {dataset.name}")
    return jnp.asarray(found[None])


class UnknownId(InputError):
    """An id of a user or an item that the model does not know."""


def user_of(dataset: Dataset, text: str) -> int:
    """The dense id of the user whose own id is written `text`. Raises UnknownId with the nearest ids there are."""
    user = find_user(dataset, text)
    if user is None:
        hint = _nearest(dataset.user_ids, text)
        raise UnknownId(f"unknown user {_shown(text)}; {hint}; a new user is given by --history")
    return user


def item_of(dataset: Dataset, text: str) -> int:
    """The dense id of the item whose own id is written `text`. Raises UnknownId with the nearest ids there are."""
    item = find_item(dataset, text)
    if item is None:
        raise UnknownId(f"unknown item {_shown(text)}; {_nearest(dataset.item_ids, text)}")
    return item


def title_of(dataset: Dataset, item: int) -> str:
    """What people call an item, by dense id: its title, or its own id where there are no titles."""
    return dataset.titles[item] if dataset.titles else str(dataset.item_ids[item])


def _shown(text: str) -> str:
    return repr(text) if len(text) <= LONG else f"{text[:LONG]!r}..."


def _nearest(ids: np.ndarray, text: str) -> str:
    """A hint at what ids there are: the range and the closest number, or ids of a similar spelling."""
    if ids.dtype.kind != "i":
        place = int(np.searchsorted(ids, text))  # of very many ids only those beside it are looked at
        some = ids if len(ids) <= MANY else ids[max(place - MANY // 2, 0) : place + MANY // 2]
        close = difflib.get_close_matches(text[:LONG], some.tolist(), 3)
        return f"the nearest ids are {', '.join(close)}" if close else f"ids are written like {ids[0]} and {ids[-1]}"
    span = f"ids are whole numbers from {ids[0]} to {ids[-1]}"
    try:
        return f"{span}, the nearest is {ids[int(np.argmin(np.abs(ids.astype(float) - int(text[:LONG]))))]}"
    except (ValueError, OverflowError):
        return span
