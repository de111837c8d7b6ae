"""Lists that are kept: of equal questions alone, and no more than there is room for."""

import numpy as np
import pytest

pytest.importorskip("fastapi")

from ancf_jax.serving.people import Person
from ancf_jax.serving.service import kept as module
from ancf_jax.serving.service import programs
from ancf_jax.serving.service.answers import recommend
from ancf_jax.serving.service.bodies import RecommendBody
from ancf_jax.serving.service.kept import Kept, key_of


def person(items, values=None, user=3):
    items = np.array(items, np.int32)
    return Person("c03", user, items, np.ones(len(items), np.float32) if values is None else np.array(values, "f4"))


def test_a_list_hangs_on_checkpoint_user_what_is_read_and_what_is_hidden():
    nothing, stamp = np.zeros(1, np.uint32), ("run", 1)
    keys = [
        key_of(stamp, 2, person([5, 6, 7]), nothing),
        key_of(("run", 2), 2, person([5, 6, 7]), nothing),
        key_of(stamp, 2, person([5, 6, 7], user=4), nothing),
        key_of(stamp, 2, person([5, 7, 6]), nothing),
        key_of(stamp, 2, person([5, 6, 7], [1, 1, 2]), nothing),
        key_of(stamp, 2, person([5, 6, 7]), np.ones(1, np.uint32)),
        key_of(stamp, 3, person([5, 6, 7]), nothing),
        key_of(stamp, 0, person([5, 6, 7]), nothing),
    ]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key_of(stamp, 2, person([9, 6, 7]), nothing)  # which is before what the model reads


def test_the_list_that_was_not_asked_for_longest_makes_room(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 2)
    kept, row = Kept(), (np.arange(3), np.zeros(3))
    for key in (b"a", b"b"):
        kept.put(key, *row)
    assert kept.get(b"a") is not None
    kept.put(b"c", *row)
    assert kept.get(b"b") is None and kept.get(b"a") is not None and kept.get(b"c") is not None


def test_what_was_computed_once_is_answered_alike_and_not_computed_again(live, monkeypatch):
    computed, compute, kept = [], programs.lists, Kept()
    monkeypatch.setattr(programs, "lists", lambda *asked: computed.append(len(asked[2])) or compute(*asked))
    jobs = [(live, RecommendBody(user=f"c{n:02}", top_k=3)) for n in range(6)]
    first, again = recommend(jobs, None, kept), recommend(jobs, None, kept)
    assert first == again and computed == [4, 1, 1]
    assert recommend([(live, RecommendBody(user="c00", top_k=2, exclude=["p01"]))], None, kept)[0]["items"]
    assert computed == [4, 1, 1, 1]
