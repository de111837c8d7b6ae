"""Lists that were computed lately, by all that a list hangs on, so that none is ever out of date."""

import hashlib
from collections import OrderedDict
from contextlib import suppress
from typing import Any

import numpy as np

from ancf_jax.serving.people import Person

KEPT = 10_000  # lists, of about a kilobyte each


class Kept:
    """Lists by key. Those that were not asked for longest make room for others."""

    def __init__(self) -> None:
        self.lists: OrderedDict[bytes, tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self.taken = 0  # lists that were not computed again

    def get(self, key: bytes) -> tuple[np.ndarray, np.ndarray] | None:
        """The items and scores of a list, if it is there."""
        found = self.lists.get(key)
        if found is not None:
            self.taken += 1
            with suppress(KeyError):  # another thread may have dropped it
                self.lists.move_to_end(key)
        return found

    def put(self, key: bytes, items: np.ndarray, scores: np.ndarray) -> None:
        """Keep a list."""
        self.lists[key] = (items.copy(), scores.copy())  # not the block that they are rows of
        if len(self.lists) > KEPT:
            self.lists.popitem(last=False)


def key_of(stamp: Any, history: int, person: Person, hidden: np.ndarray) -> bytes:
    """Of a checkpoint, what a model that reads `history` interactions reads of a person, and what is hidden from it."""
    digest, first = hashlib.blake2b(f"{stamp} {person.user}".encode(), digest_size=16), len(person.items) - history
    for part in (person.items[max(first, 0) :], person.values[max(first, 0) :], hidden):
        digest.update(np.ascontiguousarray(part).data)
    return digest.digest()
