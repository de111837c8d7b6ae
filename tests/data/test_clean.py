import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.clean import Removed, clean
from ancf_jax.types import InputError


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "value", "time"])


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def test_clean_rows_stay_as_they_are():
    frame = table((2, 1, 1.0, 9), (1, 1, 0.0, 3), (1, 2, -4.0, 3))
    kept, removed = clean(frame)
    pd.testing.assert_frame_equal(kept, frame)
    assert removed == []


def test_rows_without_ids_or_values_are_dropped():
    frame = table((None, "a", 1.0, 0), ("u", None, 1.0, 1), ("u", "b", None, 2), ("u", "c", 1.0, 3))
    kept, removed = clean(frame)
    assert rows_of(kept) == [("u", "c", 1.0, 3)]
    assert removed == [Removed("no user or item", 2), Removed("no value", 1)]


@pytest.mark.parametrize(("min_value", "items"), [(0, [1, 2, 3]), (0.5, [2, 3]), (4, [3])])
def test_min_value(min_value, items):
    kept, _ = clean(table((1, 1, -2.0, 0), (1, 2, 3.5, 1), (1, 3, 4.0, 2)), min_value=min_value)
    assert kept["item"].tolist() == items


def test_of_repeated_rows_the_latest_stays_and_the_last_of_a_tie():
    frame = table((1, 1, 1.0, 5), (1, 2, 2.0, 5), (1, 1, 3.0, 4), (1, 2, 4.0, 5), (2, 1, 5.0, 1))
    kept, removed = clean(frame)
    assert kept["value"].tolist() == [1.0, 4.0, 5.0]
    assert removed == [Removed("repeated user and item", 2)]


def test_ties_fall_the_same_way_in_a_long_log():
    log = [(1, n % 50, float(n), n % 3) for n in range(600)]  # short arrays are sorted stably by any method
    latest = {row[1]: row for row in sorted(log, key=lambda row: row[3])}
    kept, _ = clean(table(*log))
    assert rows_of(kept) == sorted(latest.values(), key=lambda row: row[2])


def test_core_is_repeated_until_nothing_changes():
    # User 3 has two rows, but loses item 9, then falls, then takes item 8 below two, then user 4 falls.
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 9), (3, 8), (4, 8), (4, 1)]
    kept, removed = clean(table(*((user, item, 1.0, 0) for user, item in pairs)), user_core=2, item_core=2)
    assert list(zip(kept["user"], kept["item"], strict=True)) == pairs[:4]
    assert [rule.rows for rule in removed] == [4]


def test_nothing_left_names_the_worst_rule():
    frame = table((1, 1, 1.0, 0), (1, 2, 1.0, 0), (None, 1, 1.0, 0))
    with pytest.raises(InputError, match=r"'value below 3' \(2 rows\)"):
        clean(frame, min_value=3)


def core_by_sets(pairs: set, user_core: int, item_core: int) -> set:
    while True:
        users, items = [user for user, _ in pairs], [item for _, item in pairs]
        kept = {(u, i) for u, i in pairs if users.count(u) >= user_core and items.count(i) >= item_core}
        if kept == pairs:
            return kept
        pairs = kept


ids = st.one_of(st.none(), st.integers(0, 4))
logs = st.lists(
    st.tuples(ids, ids, st.sampled_from([None, -1.0, 1.0, 2.0]), st.integers(0, 3)), min_size=1, max_size=40
)


@settings(max_examples=25, deadline=None)
@given(logs, st.sampled_from([0.0, 1.5]), st.integers(0, 3), st.integers(0, 3))
def test_kept_and_removed_add_up_and_the_rest_is_the_core(log, min_value, user_core, item_core):
    valid = [row for row in log if None not in row and (min_value == 0 or row[2] >= min_value)]
    expected = core_by_sets({row[:2] for row in valid}, user_core, item_core)
    frame = table(*log).astype({"user": "Int64", "item": "Int64", "value": "float64"})
    try:
        kept, removed = clean(frame, min_value=min_value, user_core=user_core, item_core=item_core)
    except InputError:
        assert not expected
        return
    assert len(kept) + sum(rule.rows for rule in removed) == len(log)
    assert len(kept) == len(expected)
    assert set(zip(kept["user"], kept["item"], strict=True)) == expected
    latest = {row[:2]: row for row in sorted(valid, key=lambda row: row[3])}
    assert all(row == latest[row[:2]] for row in rows_of(kept))
