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
def test_full_ranks_agree_with_enumeration_in_any_item_order(example, permutation):
    scores, hidden, held = example
    better, tied = map(np.asarray, full(scores, hidden, held))
    for user in range(3):
        visible = scores[user][~hidden[user]]
        for place, item in enumerate(held[user]):
            if item == 7:
                assert (better[user, place], tied[user, place]) == (INF, 1)
            else:
                assert better[user, place] == (visible > scores[user, item]).sum()
                assert tied[user, place] == (visible == scores[user, item]).sum()
    moved = np.append(np.argsort(permutation), 7)[held].astype(np.int32)
    again = full(scores[:, permutation], hidden[:, permutation], moved)
    np.testing.assert_array_equal(again, (better, tied))


@pytest.mark.parametrize(
    ("scores", "hidden", "expected"),
    [
        ([0, 0, 0, 0], [3], (0, 3)),  # a constant model's items have every place
        ([NAN, 1, 2, 3], [], (3, 1)),  # an item without a score comes last
        ([NAN, NAN, NAN, NAN], [], (3, 1)),  # also where no item has one
        ([1, NAN, 2, NAN], [], (1, 1)),  # and passes nothing
        ([-INF, -INF, 5, 6], [], (2, 2)),  # the lowest score is a score
        ([-INF, -INF, 5, 6], [1], (2, 1)),  # and ties with no hidden item
        ([INF, INF, 5, 6], [], (0, 2)),
    ],
)
def test_full_ranks_of_unusual_scores(scores, hidden, expected):
    mask = np.isin(np.arange(4), hidden)[None]
    found = full(np.array([scores], np.float32), mask, np.array([[0]]))
    assert (found.better, found.tied) == expected


def test_held_out_items_without_a_score_take_the_last_places():
    found = full(np.array([[NAN, 1, NAN, 2]], np.float32), np.zeros((1, 4), bool), np.array([[0, 2]]))
    np.testing.assert_array_equal(found.better, [[3, 2]])
    np.testing.assert_array_equal(found.tied, [[1, 1]])


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
