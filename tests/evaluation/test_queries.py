"""Queries of known and new users, and the items that they have."""

import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.evaluation import queries
from ancf_jax.evaluation.queries import query_history, query_users
from ancf_jax.types import ClosedForm, Data, Given, Interactions, Recommender, as_they_are

LEARN = ClosedForm(1, lambda key, given: None, lambda params, given, key: params)
NOTHING = Given(build(*np.zeros((4, 0), np.int32), num_users=0))  # which a table of scores does not look at


def model(history: int = 0) -> Recommender:
    """A model that asks for so many interactions."""
    return Recommender(LEARN, NOTHING, history, as_they_are, lambda *_: None)


def log(rows, num_users: int) -> Interactions:
    """Rows of user, item, value in the order of time."""
    users, items, values = zip(*rows, strict=True)
    return build(users, items, values, np.arange(len(rows)), num_users)


def test_queries_of_known_users():
    train = log([(0, 5, 2.0), (2, 1, 1.0), (0, 3, 4.0)], 3)
    whole = log([(0, 5, 2.0), (2, 1, 1.0), (0, 3, 4.0), (1, 6, 3.0), (0, 5, 1.0)], 3)
    query, seen = query_users(model(2), Data(3, 7, train), whole, [2, 0, 1])
    np.testing.assert_array_equal(query.users, [2, 0, 3])  # user 1 has no training row
    np.testing.assert_array_equal(query.history, [[7, 1], [3, 5], [7, 6]])
    np.testing.assert_array_equal(query.values, [[0, 1], [4, 1], [0, 3]])
    np.testing.assert_array_equal(seen, [[7, 7, 7, 1], [7, 5, 3, 5], [7, 7, 7, 6]])  # a power of two wide


@pytest.mark.parametrize(("history", "width"), [([6], 1), ([6, 2, 4], 4)])
def test_query_of_a_new_user(history, width):
    train = log([(0, 5, 2.0), (1, 1, 9.0), (0, 3, 3.0)], 2)
    query, seen = query_history(model(2), Data(2, 7, train), history)
    assert query.users.tolist() == [2] and seen.shape == (1, width)
    np.testing.assert_array_equal(query.history, [([7, *history])[-2:]])
    np.testing.assert_array_equal(query.values, [([0, 3, 3, 3])[: len(history) + 1][-2:]])  # the median of training


@pytest.mark.parametrize(("narrow", "expected"), [(0, [8]), (8, [2, 4, 8]), (2, [8]), (3, [2, 8])])
def test_widths_that_save_nothing_have_no_program_of_their_own(monkeypatch, narrow, expected):
    """Of histories of 1, 3 and 8 columns, where width costs up to `narrow` columns."""
    monkeypatch.setattr(queries, "SAVED", 1)
    found = queries.by_width(model(8)._replace(narrow=narrow), np.array([8, 1, 3]))
    assert [width for width, _ in found] == expected
    assert sorted(np.concatenate([places for _, places in found])) == [0, 1, 2]


def test_queries_are_no_wider_than_the_longest_history_needs():
    """Rounded up to 50; and where columns only are read, many of them are worth a program."""
    reads, lengths = model(4000)._replace(narrow=1), np.array([2310, 20, 160])
    assert [width for width, _ in queries.by_width(reads, lengths)] == [2350]
    assert [width for width, _ in queries.by_width(reads._replace(narrow=0), lengths)] == [4000]
    many = np.full(60_000, 900)
    many[7] = 3900
    (few, some), (most, all_else) = queries.by_width(reads, many)
    assert (few, most) == (900, 3900) and len(some) == 59_999 and all_else.tolist() == [7]


def test_a_model_without_histories_gets_none():
    train = log([(0, 5, 2.0)], 1)
    for query, seen in (
        query_history(model(), Data(1, 7, train), [4]),
        query_users(model(), Data(1, 7, train), train, [0]),
    ):
        assert query.history.shape == query.values.shape == (1, 0) and seen.shape == (1, 1)
