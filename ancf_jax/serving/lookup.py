"""From people's words to dense ids, and back: users, items and titles by the data's own ids, needs by their words."""

import difflib

import jax.numpy as jnp
import numpy as np

from ancf_jax.data.dataset import Dataset, find_item, find_user
from ancf_jax.types import Array, InputError


def features_of(dataset: Dataset, text: str) -> Array:
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
