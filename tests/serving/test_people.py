"""Whom lists are for: histories that go on after the log, in their own units, and users that only later rows know."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.data.targets import Target
from ancf_jax.serving.people import Rows, joined, known_person, later_rows, new_person
from ancf_jax.types import ClosedForm, Data, Given, InputError, Recommender, as_they_are

# User 2 has no training row; user 0 has items 3, 1, 4, the last after training.
TRAIN = build(np.array([0, 0, 1]), np.array([3, 1, 5]), np.array([2.0, 4.0, 9.0]), np.arange(3), 3)
LOG = build(np.array([0, 0, 1, 0, 2]), np.array([3, 1, 5, 4, 2]), np.array([2.0, 4.0, 9.0, 1.0, 1.0]), np.arange(5), 3)
DATA = Data(3, 6, TRAIN)
LATER = Rows(np.array([5, 3, 5], np.int32), np.array([1.0, 2.0, 3.0]))


def shop(**more):
    ids = {"user_ids": np.array([7, 8, 9]), "item_ids": np.array(list("abcdef"), object)}
    return SimpleNamespace(**ids | {"repeats": False, "target": Target("value")} | more)


def model(history=4, alone=False):
    return Recommender(ClosedForm(1, None, None), Given(TRAIN), history, as_they_are, lambda *_: None, alone=alone)


def person(name, later=None, dataset=None, **kind):
    return known_person(dataset or shop(), DATA, model(**kind), LOG, name, later)


def test_what_comes_later_follows_the_log_and_what_comes_again_is_there_once():
    found = person("7", LATER)
    assert found.name == 7 and found.user == 0
    assert found.items.tolist() == [1, 4, 3, 5] and found.values.tolist() == [4, 1, 2, 3]
    assert person("7", LATER, shop(repeats=True)).items.tolist() == [3, 1, 4, 5, 3, 5]
    assert person("7").items.tolist() == [3, 1, 4]


def test_values_are_what_the_model_learnt():
    dataset = shop(target=Target("user", 0.0, np.array([2.0, 9.0, 5.0, 4.0])))
    assert person("7", Rows(np.array([0], np.int32), np.array([6.0])), dataset).values[-1] == 3
    assert person("nobody", Rows(np.array([0], np.int32), np.array([6.0])), dataset).values[-1] == 1.5


def test_a_row_of_ones_own_is_left_for_a_history_where_that_alone_tells_what_is_new():
    assert person("7", LATER, alone=True).user == 3 and person("7", alone=True).user == 0
    assert person("7", LATER, alone=True, history=0).user == 0  # its row is all that such a model reads
    assert person("9").user == 3  # without a training row


def test_users_that_later_rows_alone_know():
    found = person("new", LATER)
    assert (found.name, found.user) == ("new", 3) and found.items.tolist() == [3, 5]
    with pytest.raises(InputError, match="unknown user 'new'"):
        person("new")
    assert new_person(shop(), DATA, ["c", "a"]).items.tolist() == [2, 0]
    assert new_person(shop(), DATA, ["c"]).values.tolist() == [4]  # the median of training


def test_new_rows_by_user_in_the_order_of_time():
    frame = pd.DataFrame(
        {
            "user": ["7", "new", "7", "7", None],
            "item": ["b", "c", "zzz", "a", "a"],
            "value": [1.0, 2, 3, 4, 5],
            "time": [9, 1, 2, 3, 4],
        }
    )
    found, added = later_rows(shop(), frame)
    assert {user: rows.items.tolist() for user, rows in found.items()} == {"7": [0, 1], "new": [2]}
    assert added == (3, 2, 1, 2)
    assert joined({"7": LATER}, found)["7"].items.tolist() == [5, 3, 5, 0, 1]
