"""What may be recommended: lists of items, categories, and whether what a person has may come again."""

import difflib
from collections.abc import Sequence

import numpy as np

from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.topk import WORD, bits_of
from ancf_jax.serving.lookup import UnknownId, item_of
from ancf_jax.serving.people import Person


def hidden_from_all(
    dataset: Dataset, among: Sequence[str] | None = None, exclude: Sequence[str] = (), categories: Sequence[str] = ()
) -> np.ndarray:
    """The items that are recommended to nobody, as bits uint32 [I / 32].

    All but those of `among`, if it is given, those of `exclude`, and all that are of none of `categories`, if any are
    given. Raises UnknownId for an item or a category.
    """
    if among is None and not exclude and not categories:
        return np.zeros(-(-len(dataset.item_ids) // WORD), np.uint32)
    hidden = np.zeros(len(dataset.item_ids), bool)
    if among is not None:
        hidden[:] = True
        hidden[[item_of(dataset, item) for item in among]] = False
    hidden[[item_of(dataset, item) for item in exclude]] = True
    if categories:
        hidden |= ~_in_categories(dataset, categories)
    return bits_of(hidden[None])[0]


def hidden_from(hidden: np.ndarray, people: Sequence[Person], repeats: bool) -> np.ndarray:
    """The items [B, I / 32] that are not recommended to each, as bits: what is `hidden` from all, and what they have.

    With `repeats`, what they have may come again.
    """
    bits = np.repeat(hidden[None], len(people), axis=0)
    if not repeats:
        rows = np.repeat(np.arange(len(people)), [len(person.items) for person in people])
        items = np.concatenate([person.items for person in people])
        np.bitwise_or.at(bits, (rows, items // WORD), np.uint32(1) << (items % WORD).astype(np.uint32))
    return bits


def _in_categories(dataset: Dataset, categories: Sequence[str]) -> np.ndarray:
    """Whether each item [I] is of one of the categories."""
    known = dataset.categories
    if known is None:
        raise UnknownId(
            f"flag --categories: the items of {dataset.name} have none; --item_categories names columns of "
            "--items_path when a run is trained"
        )
    for name in categories:
        if name not in known.names:
            close = difflib.get_close_matches(name, known.names, 3) or known.names[:10]
            raise UnknownId(f"flag --categories: {name!r} is unknown; the nearest are {', '.join(close)}")
    places = [known.names.index(name) for name in categories]
    return np.asarray(known.of[:, places].sum(axis=1)).ravel() > 0
