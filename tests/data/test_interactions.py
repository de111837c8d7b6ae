import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.interactions import (
    build,
    encode,
    from_latest,
    longest,
    merge,
    select,
    vocabulary,
    whole_history,
)
from ancf_jax.types import Data, InputError

USERS, ITEMS = 5, 7
logs = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.floats(-9, 9, width=32)), max_size=30
)


def columns(log, seed):
    users, items, values = (np.array(column) for column in zip(*log, strict=True)) if log else ([], [], [])
    return (
        np.array(users, int),
        np.array(items, int),
        np.array(values),
        np.random.default_rng(seed).permutation(len(log)),
    )


def rows_of(part):
    return list(zip(*(np.asarray(column).tolist() for column in part[:4]), strict=True))


@settings(max_examples=25, deadline=None)
@given(logs, st.integers(0, 9))
def test_build_sorts_by_user_and_order(log, seed):
    users, items, values, order = columns(log, seed)
    part = build(users, items, values, order, USERS)
    expected = sorted(zip(users, items, values, order, strict=True), key=lambda row: (row[0], row[3]))
    assert rows_of(part) == expected
    assert [column.dtype.name for column in part[:6]] == ["int32", "int32", "float32", "int32", "int32", "int32"]
    assert part.bits is None
    assert part.offsets.tolist() == [int((users < user).sum()) for user in range(USERS + 1)]
    for user in range(USERS):
        rows = slice(part.offsets[user], part.offsets[user + 1])
        assert part.known[rows].tolist() == sorted(items[users == user])


@settings(max_examples=25, deadline=None)
@given(logs, st.integers(0, 9))
def test_parts_selected_and_merged_are_the_whole(log, seed):
    whole = build(*columns(log, seed), USERS)
    mask = np.random.default_rng(seed).random(len(log)) < 0.5
    a, b = select(whole, mask), select(whole, ~mask)
    assert sorted(rows_of(a) + rows_of(b)) == sorted(rows_of(whole))
    for one, other in zip(merge(b, a, USERS), whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_from_latest_counts_down_to_zero():
    part = build([0, 2, 0, 2, 2], [0, 1, 2, 3, 4], [1] * 5, [0, 1, 2, 3, 4], 4)
    assert from_latest(part).tolist() == [1, 0, 2, 1, 0]


def test_vocabulary_of_integers_and_strings():
    numbers = vocabulary(pd.Series([30, 7], dtype="Int64"), np.array([7, 1]))
    assert numbers.dtype == np.int64 and numbers.tolist() == [1, 7, 30]
    words = vocabulary(pd.Series(["b", "abc", "b"], dtype="string"))
    assert words.dtype == object and words.tolist() == ["abc", "b"]


def test_whole_numbers_beside_text_are_text():
    words = vocabulary(pd.Series([30, 7], dtype="Int64"), pd.Series(["b", "7"], dtype="string"))
    assert words.tolist() == ["30", "7", "b"]
    assert encode(pd.Series([7, 30], dtype="Int64"), words).tolist() == [1, 0]


def test_one_long_id_does_not_widen_the_others():
    words = vocabulary(pd.Series([*map(str, range(40_000)), "x" * 60_000, "y"], dtype="string"))
    assert words.nbytes <= 40_002 * 8 and len(words) == 40_002 and words[-2] == "x" * 60_000
    assert encode(["y", "x" * 60_000], words).tolist() == [40_001, 40_000]


@pytest.mark.parametrize("dtype", ["Int64", "int64", "string"])
def test_encode(dtype):
    ids = pd.Series([30, 7, 30, 111]).astype(dtype)
    words = vocabulary(ids)
    places = encode(ids, words)
    assert places.dtype == np.int32
    assert words[places].astype(str).tolist() == ["30", "7", "30", "111"]


@pytest.mark.parametrize(("known", "unknown"), [([1, 2], 3), (["a", "bc"], "bcd")])
def test_encode_names_an_unknown_id(known, unknown):
    with pytest.raises(InputError, match=f"unknown id '{unknown}'"):
        encode([known[0], unknown], vocabulary(known))


def test_a_whole_history_has_room_for_what_training_lacks():
    part = build([0, 2, 2, 2], [3, 1, 4, 5], np.ones(4), np.arange(4), 4)
    assert longest(part) == 3 and longest(build([], [], [], [], 4)) == 1
    assert whole_history(Data(4, 7, part)) == 6 and whole_history(Data(4, 5, part)) == 5


def test_more_rows_than_int32_counts_are_refused_before_any_memory_is_taken():
    column = np.broadcast_to(np.int32(0), 2**31)
    with pytest.raises(InputError, match=r"2,147,483,648 rows are too many for one part in memory"):
        build(column, column, column, column, 1)
