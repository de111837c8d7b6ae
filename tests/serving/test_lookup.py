"""Dense ids from ids as people write them, and what is said of those that are unknown."""

from types import SimpleNamespace

import numpy as np
import pytest

from ancf_jax.serving.lookup import item_of, title_of, user_of
from ancf_jax.types import InputError


def test_ids_as_people_write_them():
    numbers = SimpleNamespace(user_ids=np.array([3, 10, 12]), item_ids=np.array([1]), titles=["One"])
    texts = SimpleNamespace(user_ids=np.array(["anna", "bob"]), item_ids=np.array([1]), titles=None)
    assert user_of(numbers, "10") == 1 and user_of(texts, "bob") == 1 and item_of(texts, "1") == 0
    assert title_of(numbers, 0) == "One" and title_of(texts, 0) == "1"
    for dataset, text, hint in (
        (numbers, "11", "unknown user '11'; ids are whole numbers from 3 to 12, the nearest is 10; a new user"),
        (numbers, "x", "unknown user 'x'; ids are whole numbers from 3 to 12; a new user is given by --history"),
        (texts, "ana", "unknown user 'ana'; the nearest ids are anna; a new"),
        (texts, "zoe", "unknown user 'zoe'; ids are written like anna and bob; a new"),
    ):
        with pytest.raises(InputError, match=hint):
            user_of(dataset, text)
    with pytest.raises(InputError, match=r"unknown item '9'; ids are whole numbers from 1 to 1, the nearest is 1$"):
        item_of(numbers, "9")
