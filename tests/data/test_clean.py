"""Each rule on tables small enough to see through, and all of them against plain Python."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data.clean import Changed, Removed, Rules, clean, clean_rows, match_returns, rules_of, time_baskets
from ancf_jax.data.dataset import cleaning, load
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "value", "time"])


def rows_of(frame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def test_clean_rows_stay_as_they_are():
    frame = table((2, 1, 1.0, 9), (1, 1, 0.0, 3), (1, 1, 4.0, 3))
    kept, removed, changed = clean(frame)
    pd.testing.assert_frame_equal(kept, frame)
    assert removed == [] and changed == []


def test_rows_without_ids_or_values_are_dropped():
    frame = table((None, "a", 1.0, 0), ("u", None, 1.0, 1), ("u", "b", None, 2), ("u", "c", 1.0, 3), (None, None, 1, 4))
    kept, removed, _ = clean(frame)
    assert rows_of(kept) == [("u", "c", 1.0, 3)]
    assert removed == [Removed("no item", 2), Removed("no value", 1), Removed("anonymous user", 1)]


USERS = {  # by type: the users of a log, ids that stand for many, and the one that a missing id alone becomes
    "Int64": ([7, -1, None, 0, -1, 8], ("-1", "0"), -1),
    "string": (["al", "guest", None, "x1", "guest", "bo"], ("guest", "x1"), "anonymous"),
}


@pytest.mark.parametrize("kind", USERS)
def test_anonymous_users(kind):
    users, ids, alone = USERS[kind]
    frame = table(*((user, item, 1.0, item) for item, user in enumerate(users))).astype({"user": kind})
    dropped = clean(frame, Rules(anonymous_ids=ids))
    assert dropped.frame["user"].tolist() == [users[0], users[5]]
    assert dropped.removed == [Removed("anonymous user", 4)]
    kept = clean(frame, Rules(anonymous="keep", anonymous_ids=ids))
    assert kept.frame["user"].tolist() == [users[0], *[users[1]] * 4, users[5]] and kept.frame["user"].dtype == kind
    assert kept.removed == [] and kept.changed == [Changed(f"anonymous users made user {users[1]}", 4)]
    unlisted = clean(frame, Rules(anonymous="keep")).frame["user"].tolist()
    assert unlisted == [alone if user is None else user for user in users]


def test_anonymous_ids_that_no_user_can_have():
    with pytest.raises(InputError, match="flag --anonymous_ids: 'guest' is no whole number, as the users' ids are"):
        clean(table((1, 1, 1.0, 0)), Rules(anonymous_ids=("-1", "guest")))


def test_items_that_are_no_products():
    items = ["POST", "post", "POSTER", "A POST", "Bank Charges", "85123A", "gift_0001_20"]
    frame = table(*((1, item, 1.0, 0) for item in items))
    kept, removed, _ = clean(frame, Rules(drop_items=r"post|bank charges|gift_\d+_\d+"))
    assert kept["item"].tolist() == ["POSTER", "A POST", "85123A"] and [rule.rows for rule in removed] == [4]
    numbers = table((1, 7, 1.0, 0), (1, 70, 1.0, 0), (2, 7, 1.0, 0))
    assert clean(numbers, Rules(drop_items="7")).frame["item"].tolist() == [70]


def test_returns_take_back_the_latest_purchases_before_them():
    frame = table(
        (1, "a", 5.0, 1),
        (1, "a", 3.0, 2),
        (1, "a", -4.0, 3),  # all of the 3, and 1 of the 5
        (1, "a", 2.0, 4),
        (2, "a", -1.0, 5),  # nobody else's
        (1, "b", -9.0, 6),
        (1, "b", 9.0, 7),  # after it
        (3, "c", 2.0, 8),
        (3, "c", -7.0, 9),  # more than there was
        (3, "c", 0.0, 10),
    )
    kept, removed, changed = clean(frame.sample(frac=1, random_state=0), Rules())
    assert sorted(rows_of(kept)) == [(1, "a", 2.0, 4), (1, "a", 4.0, 1), (1, "b", 9.0, 7), (3, "c", 0.0, 10)]
    assert removed[:3] == [
        Removed("return of an earlier purchase", 2),
        Removed("return without an earlier purchase", 2),
        Removed("purchase that was returned", 2),
    ]
    assert changed == [Changed("purchase that was returned in part", 1)]


def test_at_equal_times_the_order_of_the_file_decides_what_was_earlier():
    assert match_returns(table((1, 1, -2.0, 5), (1, 1, 2.0, 5))).frame["value"].tolist() == [2.0]
    assert match_returns(table((1, 1, 2.0, 5), (1, 1, -2.0, 5))).frame.empty


def test_rounding_leaves_nothing_of_what_was_returned():
    frame = table((1, 1, 0.1, 0), (1, 1, 0.2, 1), (1, 1, -0.3, 2), (1, 2, 0.3, 3), (1, 2, -0.1, 4), (1, 2, -0.2, 5))
    assert match_returns(frame).frame.empty


def test_returns_that_are_dropped_or_kept():
    frame = table((1, 1, 5.0, 0), (1, 2, -1.0, 1), (1, 3, 0.0, 2))
    kept, removed, _ = clean(frame, Rules(returns="drop"))
    assert kept["value"].tolist() == [5.0, 0.0] and removed == [Removed("return", 1)]
    assert clean(frame, Rules(returns="keep")).frame["value"].tolist() == [5.0, -1.0, 0.0]


@pytest.mark.parametrize(("min_value", "items"), [(0, [1, 2, 3]), (-1, [2, 3]), (0.5, [2, 3]), (4, [3])])
def test_min_value(min_value, items):
    rules = Rules(returns="keep", min_value=min_value)
    kept, _, _ = clean(table((1, 1, -2.0, 0), (1, 2, 3.5, 1), (1, 3, 4.0, 2)), rules)
    assert kept["item"].tolist() == items


def test_clipped_rows_stay():
    values = np.random.default_rng(0).lognormal(size=200)
    frame = table(*((1, item, value, 0) for item, value in enumerate(values)))
    kept, removed, changed = clean(frame, Rules(clip_quantile=0.95))
    limit = np.quantile(values, 0.95)
    np.testing.assert_allclose(kept["value"], np.minimum(values, limit))
    assert removed == [] and changed == [Changed(f"value clipped to {limit:g}, the 0.95-quantile", 10)]
    assert frame["value"].tolist() == values.tolist()  # a rule leaves its input alone
    ties = table(*((1, item, value, 0) for item, value in enumerate([1.0, 2.0, 2.0, 2.0, 9.0])))
    assert clean(ties, Rules(clip_quantile=0.5)).changed == [Changed("value clipped to 2, the 0.5-quantile", 1)]


def test_core_is_repeated_until_nothing_changes():
    # User 3 has two rows, but loses item 9, then falls, then takes item 8 below two, then user 4 falls.
    pairs = [(1, 1), (1, 2), (2, 1), (2, 2), (3, 9), (3, 8), (4, 8), (4, 1)]
    frame = table(*((user, item, 1.0, 0) for user, item in pairs))
    kept, removed, _ = clean(frame, Rules(user_core=2, item_core=2))
    assert list(zip(kept["user"], kept["item"], strict=True)) == pairs[:4]
    assert [rule.rows for rule in removed] == [4]


def test_core_counts_a_repeated_pair_once_unless_repeats_count():
    frame = table((1, 1, 1.0, 0), (1, 1, 1.0, 1), (1, 2, 1.0, 2), (2, 2, 1.0, 3), (2, 2, 1.0, 4))
    assert rows_of(clean(frame, Rules(user_core=2)).frame) == rows_of(frame[:3])
    assert len(clean(frame, Rules(user_core=2, repeats="keep")).frame) == 5


def test_rows_without_a_basket_are_dropped():
    frame = table((1, 1, 1.0, 0), (1, 2, 1.0, 1)).assign(basket=pd.array(["b", None], dtype="string"))
    kept, removed, _ = clean(frame)
    assert kept["item"].tolist() == [1] and removed == [Removed("no basket", 1)]


def test_a_basket_has_one_time_and_one_user():
    rows = [(1, 1, 1.0, 7), (2, 1, 1.0, 3), (1, 2, 1.0, 5), (1, 3, 1.0, 6)]
    kept = time_baskets(table(*rows).assign(basket=["x", "x", "x", "y"]))
    assert kept.frame["time"].tolist() == [5, 3, 5, 6]
    assert kept.changed == [Changed("time made that of the first row of its basket", 1)]


def test_nothing_left_names_the_worst_rule():
    frame = table((1, 1, 1.0, 0), (1, 2, 1.0, 0), (None, 1, 1.0, 0))
    with pytest.raises(InputError, match=r"'value below 3' \(2 rows\)"):
        clean(frame, Rules(min_value=3))


def test_flags_come_before_the_rules_of_a_data_set():
    own = Rules(drop_items="POST", returns="match", duplicates="sum", min_value=1.0, clip_quantile=0.9, user_core=5)
    assert rules_of(DataConfig(), own) == own
    given_by_flags = rules_of(DataConfig(returns="keep", min_value=2.0, user_core=3), own)
    assert given_by_flags == own._replace(returns="keep", min_value=2.0, user_core=3)
    assert rules_of(DataConfig()) == Rules()
    off = DataConfig(drop_items="", min_value=0.0, clip_quantile=0.0, user_core=0, anonymous_ids=())
    assert rules_of(off, own) == Rules(duplicates="sum")


@pytest.mark.parametrize(
    ("field", "value", "legal"),
    [
        ("returns", "match", "--returns=drop or --returns=keep"),
        ("clip_quantile", 0.9, "none"),
        ("duplicates", "sum", "none"),
        ("duplicates", "latest", "none"),
        ("repeats", "merge", "--repeats=keep"),
        ("target", "z-score", "--target=value or --target=log"),
    ],
)
def test_rules_that_need_the_whole_log_are_refused_with_stream(field, value, legal):
    DataConfig(**{field: value})
    with pytest.raises(InputError) as error:
        DataConfig(stream=True, **{field: value})
    assert str(error.value) == f"flag --{field}: needs the whole log in memory; legal with --stream is {legal}"


LOG = {
    "user": [1, None, 2, -1, 1, 2, 3, 1, 3, 2],
    "item": ["a", "a", "POST", "b", "c", "c", None, "d", "a", "d"],
    "value": [1.0, 2.0, 1.0, 4.0, -2.0, 3.0, 1.0, 6.0, 2.0, 8.0],
}


@pytest.mark.parametrize("anonymous", ["drop", "keep"])
def test_a_streamed_log_is_cleaned_as_one_in_memory_is(tmp_path, anonymous):
    path = tmp_path / "log.parquet"
    pd.DataFrame(LOG).astype({"user": "Int64"}).to_parquet(path, row_group_size=3)
    columns = {"value_column": "value", "split": "time", "fractions": (0.6, 0.2, 0.2)}
    rules = {"anonymous": anonymous, "anonymous_ids": ("-1",), "drop_items": "post", "returns": "drop", "target": "log"}
    config = DataConfig(dataset=str(path), **columns, **rules)
    whole, streamed = load(config), load(DataConfig(**vars(config) | {"stream": True}))
    done = cleaning(streamed)
    assert done["read"] == 10 and done["kept"] + sum(done["removed"].values()) == 10
    assert cleaning(whole)["removed"] == done["removed"]
    assert done["changed"] == ({"anonymous users made user -1": 2} if anonymous == "keep" else {})
    np.testing.assert_array_equal(streamed.user_ids, whole.user_ids)
    np.testing.assert_allclose(streamed.test.values, np.log1p([2.0, 8.0])[[1, 0]], rtol=1e-6)  # sorted by user


def reference(log, rules: Rules) -> list[tuple]:
    """The rules in plain Python, on rows of user, item, value and time."""
    rows = [row for row in log if row[1] is not None and row[2] is not None]
    if rules.anonymous == "keep":
        rows = [(0, *row[1:]) if row[0] in (None, 0, 1) else row for row in rows]
    else:
        rows = [row for row in rows if row[0] not in (None, 0, 1)]
    rows = [row for row in rows if not (rules.drop_items and re.fullmatch(rules.drop_items, str(row[1])))]
    if rules.returns == "match":
        rows = matched(rows)
    rows = [row for row in rows if row[2] >= (0 if rules.returns == "drop" else -99)]
    rows = [row for row in rows if not rules.min_value or row[2] >= rules.min_value]
    if rules.clip_quantile and rows:
        limit = np.quantile([row[2] for row in rows], rules.clip_quantile)
        rows = [(*row[:2], min(row[2], limit), row[3]) for row in rows]
    while True:
        counted = [row[:2] for row in rows] if rules.repeats == "keep" else {row[:2] for row in rows}
        users, items = ([pair[n] for pair in counted] for n in (0, 1))
        core = [r for r in rows if users.count(r[0]) >= rules.user_core and items.count(r[1]) >= rules.item_core]
        if core == rows:
            return rows
        rows = core


def matched(rows: list[tuple]) -> list[tuple]:
    """Returns taken off earlier purchases, one unit of a quarter after another."""
    in_time = sorted(range(len(rows)), key=lambda place: rows[place][3])
    left = [row[2] for row in rows]
    for n, place in enumerate(in_time):
        for _ in range(int(-4 * rows[place][2])):
            for earlier in reversed(in_time[:n]):
                if rows[earlier][:2] == rows[place][:2] and left[earlier] > 0:
                    left[earlier] -= 0.25
                    break
    return [
        (*row[:2], rest, row[3])
        for row, rest in zip(rows, left, strict=True)
        if not (row[2] < 0 or (row[2] > 0 and rest == 0))
    ]


logs = st.lists(
    st.tuples(
        st.sampled_from([None, 0, 1, 2, 2, 3, 3]),
        st.sampled_from([None, 1, 1, 2, 2, 3]),
        st.sampled_from([None, -1.25, -1.0, 0.0, 0.5, 1.0, 1.75, 2.0]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=30,
)
all_rules = st.builds(
    Rules,
    anonymous=st.sampled_from(["drop", "keep"]),
    anonymous_ids=st.just(("0", "1")),
    drop_items=st.sampled_from(["", "3"]),
    returns=st.sampled_from(["match", "drop", "keep"]),
    min_value=st.sampled_from([0.0, 1.0]),
    clip_quantile=st.sampled_from([0.0, 0.5]),
    repeats=st.sampled_from(["merge", "keep"]),
    user_core=st.integers(0, 2),
    item_core=st.integers(0, 2),
)


@settings(max_examples=40, deadline=None)
@given(logs, all_rules)
def test_the_rules_do_what_plain_python_does_and_lose_no_row_in_silence(log, rules):
    frame = table(*log).astype({"user": "Int64", "item": "Int64", "value": "float64"})
    expected = reference(log, rules)
    by_row = clean_rows(frame, rules)
    assert len(by_row.frame) + sum(rule.rows for rule in by_row.removed) == len(log)
    try:
        kept, removed, changed = clean(frame, rules)
    except InputError:
        assert not expected
        return
    assert rows_of(kept) == expected
    assert len(kept) + sum(rule.rows for rule in removed) == len(log)
    assert all(rule.rows > 0 for rule in (*removed, *changed)) and len({rule.rule for rule in removed}) == len(removed)
