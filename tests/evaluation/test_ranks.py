"""Ranks against plain enumeration."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.evaluation.ranks import candidate_ranks, full_ranks

NAN, INF = np.nan, np.inf
full = jax.jit(lambda *arrays: full_ranks(*arrays)[0])
given_ranks = jax.jit(candidate_ranks)


@st.composite
def ranked_users(draw):
    """Scores [3, 7] with many ties, hidden items [3, 7] and held-out items [3, 4] that are not hidden."""
    numbers = st.lists(st.integers(0, 2), min_size=21, max_size=21)
    scores = np.array(draw(numbers), np.float32).reshape(3, 7)
    orders = np.array([draw(st.permutations(range(7))) for _ in range(3)])
    count = draw(st.integers(1, 4))
    hidden = np.zeros((3, 7), bool)
    np.put_along_axis(hidden, orders[:, 4 : draw(st.integers(4, 7))], True, axis=1)
    return scores, hidden, np.concatenate([np.full((3, 4 - count), 7), orders[:, :count]], axis=1).astype(np.int32)


@settings(max_examples=25, deadline=None)
@given(ranked_users(), st.permutations(range(7)))
def test_full_ranks_agree_with_enumeration_in_any_item_order(enumerated_ranks, example, permutation):
    scores, hidden, held = example
    ranks = np.asarray(full(scores, hidden, held))
    for user in range(3):
        present = held[user] < 7
        expected = enumerated_ranks(scores[user], np.flatnonzero(~hidden[user]), held[user][present])
        np.testing.assert_allclose(np.sort(ranks[user][present]), expected, rtol=1e-6)
        assert np.isinf(ranks[user][~present]).all()
    moved = np.append(np.argsort(permutation), 7)[held].astype(np.int32)
    again = full(scores[:, permutation], hidden[:, permutation], moved)
    np.testing.assert_array_equal(again, ranks)


def test_full_ranks_of_a_constant_model_are_the_middle():
    hidden = np.zeros((1, 7), bool)
    hidden[0, 6] = True
    assert full(np.zeros((1, 7), np.float32), hidden, np.array([[2]])) == 2.5  # of the six places 0..5


def test_tied_held_out_items_take_places_of_their_own():
    ranks = full(np.zeros((1, 5), np.float32), np.zeros((1, 5), bool), np.array([[0, 1, 2, 3, 4]]))
    np.testing.assert_allclose(ranks[0], range(5))


@pytest.mark.parametrize(
    ("scores", "hidden", "expected"),
    [
        ([NAN, 1, 2, 3], [], 3),  # an item without a score comes last
        ([NAN, NAN, NAN, NAN], [], 3),  # also where no item has one
        ([1, NAN, 2, NAN], [], 1),  # and passes nothing
        ([-INF, -INF, 5, 6], [], 2.5),  # the lowest score is a score
        ([-INF, -INF, 5, 6], [1], 2),  # and ties with no hidden item
        ([INF, INF, 5, 6], [], 0.5),
    ],
)
def test_full_ranks_of_unusual_scores(scores, hidden, expected):
    mask = np.isin(np.arange(4), hidden)[None]
    assert full(np.array([scores], np.float32), mask, np.array([[0]])) == expected


def test_held_out_items_without_a_score_take_the_last_places():
    ranks = full(np.array([[NAN, 1, NAN, 2]], np.float32), np.zeros((1, 4), bool), np.array([[0, 2]]))
    np.testing.assert_array_equal(ranks, [[3, 2]])


@pytest.mark.parametrize(
    ("scores", "others", "expected"),
    [
        ([3, 1, 2, 2], [1, 1, 1], 2),  # one better, one tie that is lost
        ([3, 1, 2, 2], [1, 1, 0], 1),
        ([0, 0, 0, 0], [1, 1, 1], 3),
        ([NAN, 1, NAN, 2], [1, 1, 1], 0),
        ([NAN, 1, 2, NAN], [1, 1, 1], 3),
    ],
)
def test_candidate_ranks(scores, others, expected):
    assert given_ranks(np.array([scores], np.float32), np.array([others], bool)) == expected
