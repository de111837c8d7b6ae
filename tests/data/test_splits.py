import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.data import splits
from ancf_jax.data.interactions import build
from ancf_jax.types import InputError

USERS = 6
user_lists = st.lists(st.integers(0, USERS - 1), max_size=40)


def log_of(users, seed=0):
    """A log with one distinct item a row, so that items name rows, in a random order of time."""
    order = np.random.default_rng(seed).permutation(len(users))
    return build(np.array(users, int), np.arange(len(users)), np.ones(len(users)), order, USERS)


def pairs(part):
    return list(zip(np.asarray(part.users).tolist(), np.asarray(part.items).tolist(), strict=True))


def assert_partition(log, parts):
    assert sorted(pairs(parts.train) + pairs(parts.valid) + pairs(parts.test)) == sorted(pairs(log))


@settings(max_examples=25, deadline=None)
@given(user_lists, st.integers(0, 9))
def test_leave_one_out(users, seed):
    log = log_of(users, seed)
    parts = splits.leave_one_out(log)
    assert_partition(log, parts)
    for user in range(USERS):
        own = [pair for pair in pairs(log) if pair[0] == user]
        held_out = own[-2:] if len(own) >= 3 else []
        assert [pair for pair in pairs(parts.valid) + pairs(parts.test) if pair[0] == user] == held_out


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 6)), max_size=30),
    st.sampled_from([(0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (0.5, 0.5, 0.0), (1.0, 0.0, 0.0)]),
)
def test_time_cuts_between_two_times_next_to_the_fractions(rows, fractions):
    users, times = (np.array([row[n] for row in rows], int) for n in (0, 1))
    times.sort()
    log = build(users, np.arange(len(rows)), np.ones(len(rows)), np.arange(len(rows)), USERS)
    wanted = [fraction > 0 for fraction in fractions]
    if len(set(times)) < sum(wanted) - (not rows and wanted == [True, False, False]):
        with pytest.raises(InputError, match="flag --split: time cuts between two times, and"):
            splits.by_time(log, times, fractions)
        return
    parts = splits.by_time(log, times, fractions)
    assert_partition(log, parts)
    inside = [times[np.sort(part.order)] for part in parts]
    assert [len(part) > 0 for part in inside] == wanted or not rows
    for before, after in ((0, 1), (1, 2), (0, 2)):
        assert not len(inside[before]) or not len(inside[after]) or inside[before].max() < inside[after].min()
    if sum(wanted) == 2:  # a single cut, which no other is nearer to the fraction than
        changes = [place for place in range(1, len(times)) if times[place] > times[place - 1]]
        border = round(fractions[0] * len(times))
        assert abs(len(inside[0]) - border) == min(abs(place - border) for place in changes)


def test_a_day_is_never_on_both_sides_of_a_cut():
    log = log_of(np.arange(100) % USERS)
    parts = splits.by_time(log, np.repeat([1, 2, 3, 4], 25), (0.6, 0.2, 0.2))
    assert [len(part.users) for part in parts] == [50, 25, 25]


def test_distinct_times_are_cut_at_the_fractions():
    log = log_of(np.arange(40) % USERS)
    assert [len(part.users) for part in splits.by_time(log, np.arange(40), (0.6, 0.2, 0.2))] == [24, 8, 8]


@pytest.mark.parametrize(("times", "told"), [([5] * 9, "all 9 rows have one time"), ([5, 5, 6], "there are 2 times")])
def test_too_few_times_for_a_split(times, told):
    with pytest.raises(InputError, match=f"{told}, too few for 3 parts"):
        splits.by_time(log_of([0] * len(times)), np.array(times), (0.6, 0.2, 0.2))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=30))
def test_the_last_baskets_are_held_out_whole(rows):
    baskets = sorted(rows)  # of user and basket, in the order of time
    users = np.array([user for user, _ in baskets], int)
    log = build(users, np.arange(len(rows)), np.ones(len(rows)), np.arange(len(rows)), 3)
    numbers = np.array([5 * user + basket for user, basket in baskets], int)
    parts = splits.leave_last_out(log, splits.changes(numbers))
    assert_partition(log, parts)
    for user in range(3):
        own = sorted({basket for each, basket in baskets if each == user})
        for part, expected in ((parts.valid, own[-2:-1]), (parts.test, own[-1:])):
            found = {numbers[item] - 5 * user for item in part.items[part.users == user].tolist()}
            assert sorted(found) == (expected if len(own) >= 3 else [])
            size = sum(row in {(user, basket) for basket in found} for row in baskets)
            assert np.count_nonzero(part.users == user) == size


rows_of_parts = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(-2, 5), st.integers(0, 2)), max_size=30
)


@settings(max_examples=60, deadline=None)
@given(rows_of_parts, st.sampled_from(["latest", "sum"]))
def test_repeats_are_merged_in_the_first_part_that_has_them(rows, how):
    rows.sort(key=lambda row: row[3])  # the parts are in the order of time
    columns = np.array(rows, int).reshape(-1, 4).T
    log = build(*columns[:3], np.arange(len(rows)), 3)
    parts = splits.cut(log, columns[3][log.order], 1, 2)
    merged, removed, changed = splits.merge_repeats(parts, how)
    expected, again, sums = [[], [], []], 0, 0
    for pair in sorted({row[:2] for row in rows}):
        own = [(place, row) for place, row in enumerate(rows) if row[:2] == pair]
        part = own[0][1][3]
        inside = [(place, row[2]) for place, row in own if row[3] == part]
        value = inside[-1][1] if how == "latest" else sum(value for _, value in inside)
        expected[part].append((*pair, value, inside[-1][0]))
        again += len(own) - len(inside)
        sums += how == "sum" and len(inside) > 1
    for part, wanted in zip(merged, expected, strict=True):
        found = zip(*(column.tolist() for column in part[:4]), strict=True)
        assert sorted(found) == wanted
    counts = {rule.rule: rule.rows for rule in removed}
    assert counts.get("held out, but user and item of an earlier part", 0) == again
    assert sum(counts.values()) == len(rows) - sum(len(part.users) for part in merged)
    assert [rule.rows for rule in changed] == [sums] * (sums > 0)


@settings(max_examples=25, deadline=None)
@given(user_lists, st.integers(0, 5))
def test_random_has_the_fractions_and_repeats_with_its_seed(users, seed):
    log = log_of(users)
    parts = splits.at_random(log, (0.6, 0.2, 0.2), seed)
    assert_partition(log, parts)
    assert abs(len(parts.train.users) - 0.6 * len(users)) <= 0.5
    again = splits.at_random(log, (0.6, 0.2, 0.2), seed)
    assert [pairs(part) for part in parts] == [pairs(part) for part in again]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, USERS - 1), st.integers(0, 9)), min_size=1, max_size=40),
    st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.0, 0.5)]),
    st.integers(0, 5),
)
def test_cold_items_are_in_one_part_with_all_their_rows(rows, fractions, seed):
    users, items = np.array(rows).T
    log = build(users, items, np.ones(len(rows)), np.arange(len(rows)), USERS)
    parts = splits.cold_items(log, 10, fractions, seed)
    assert_partition(log, parts)
    train, valid, test = (set(part.items.tolist()) for part in parts)
    assert not train & valid and not train & test and not valid & test
    again = splits.cold_items(log, 10, fractions, seed)
    assert [pairs(part) for part in parts] == [pairs(part) for part in again]
    whole = splits.cold_items(log_of([0] * 10), 10, fractions, seed)  # the same items, each of which has a row
    assert [len(part.users) for part in whole] == [round(10 * share) for share in fractions]
    for found, part in zip((train, valid, test), whole, strict=True):
        assert found == set(items.tolist()) & set(part.items.tolist())


@settings(max_examples=25, deadline=None)
@given(user_lists, st.integers(2, 7), st.integers(0, 5))
def test_folds_partition_the_log(users, folds, seed):
    log, tested = log_of(users), []
    for fold in range(folds):
        parts = splits.k_fold(log, folds, fold, seed)
        assert_partition(log, parts)
        assert abs(len(parts.test.users) - len(users) / folds) < 1
        rest = len(users) - len(parts.test.users)
        assert abs(len(parts.valid.users) - rest / 10) <= 0.5
        tested += pairs(parts.test)
    assert sorted(tested) == sorted(pairs(log))


def test_folds_depend_on_their_seed():
    log = log_of([0] * 40)
    first, second = (pairs(splits.k_fold(log, 4, 1, seed).test) for seed in (0, 1))
    assert first == pairs(splits.k_fold(log, 4, 1, 0).test) and first != second


def test_random_depends_on_its_seed():
    log = log_of([0] * 40)
    assert pairs(splits.at_random(log, (0.5, 0.2, 0.3), 1).train) != pairs(
        splits.at_random(log, (0.5, 0.2, 0.3), 2).train
    )


def test_parts_keep_every_user_in_their_offsets():
    parts = splits.by_time(log_of([0, 0, 3]), np.arange(3), (0.6, 0.2, 0.2))
    assert all(len(part.offsets) == USERS + 1 for part in parts)


def test_ncf_validation_is_the_last_row_of_train_against_99_unseen_items():
    log = log_of([0] * 30 + [1] * 20 + [2] + [4] * 2)
    train, valid, candidates = splits.ncf(log, 150, seed=3)
    assert pairs(valid) == [[pair for pair in pairs(log) if pair[0] == user][-1] for user in (0, 1, 4)]
    assert sorted(pairs(train) + pairs(valid)) == sorted(pairs(log))
    assert candidates.shape == (3, 100) and candidates.dtype == np.int32
    for row, (user, item) in zip(candidates.tolist(), pairs(valid), strict=True):
        seen = {other for owner, other in pairs(log) if owner == user}
        assert row[99] == item
        assert len(set(row[:99])) == 99
        assert not seen & set(row[:99]) and set(row) <= set(range(150))


def test_ncf_negatives_are_uniform_and_repeat_with_the_seed():
    log = log_of([0, 0])
    np.testing.assert_array_equal(splits.ncf(log, 200, 5)[2], splits.ncf(log, 200, 5)[2])
    drawn = np.concatenate([splits.ncf(log, 200, seed)[2][0, :99] for seed in range(400)])
    counts = np.bincount(drawn, minlength=200)
    assert counts[:2].tolist() == [0, 0]  # the user's own two
    expected = 400 * 99 / 198
    assert np.abs(counts[2:] - expected).max() < 5 * np.sqrt(expected * 0.5)  # five standard deviations


def test_ncf_needs_enough_unseen_items():
    with pytest.raises(InputError, match="one user has 98"):
        splits.ncf(log_of([0, 0]), 100, seed=0)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, USERS - 1), max_size=80), st.integers(0, 5))
def test_published_holds_out_a_tenth_of_each_user(users, seed):
    log = log_of(users)
    train, valid = splits.published(log, seed)
    assert sorted(pairs(train) + pairs(valid)) == sorted(pairs(log))
    for user in range(USERS):
        rows = users.count(user)
        assert np.count_nonzero(valid.users == user) == (max(rows // 10, 1) if rows > 1 else 0)
    assert pairs(splits.published(log, seed)[1]) == pairs(valid)


def test_published_holds_out_any_row_alike():
    log = log_of([1] + [2] * 20)
    held = np.bincount(np.concatenate([splits.published(log, seed)[1].items for seed in range(300)]), minlength=21)
    assert held[0] == 0 and held.sum() == 600
    assert np.abs(held[1:] - 30).max() < 5 * np.sqrt(30)
