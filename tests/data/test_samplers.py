"""Windows, membership and negatives against plain Python over the rows of a log."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ancf_jax.data import interactions, samplers
from ancf_jax.data.interactions import build, with_bits
from ancf_jax.data.samplers import shift_ends, windows

ITEMS = 40
known = jax.jit(samplers.knows)
take_window = jax.jit(samplers.take_window, static_argnums=(3, 4))
next_items = jax.jit(samplers.next_items, static_argnums=(4, 5))
hold_out = jax.jit(samplers.hold_out, static_argnums=(2, 3))
negatives = jax.jit(samplers.negatives, static_argnums=(3, 4))
shared_negatives = jax.jit(samplers.shared_negatives, static_argnums=(3, 4, 5))


def log_of(rows):
    """A log from each user's items in order; row r has value r + 1."""
    users = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    items = np.array([item for row in rows for item in row], np.int32)
    return build(users, items, np.arange(1, len(items) + 1), np.arange(len(items)), len(rows))


@pytest.fixture(scope="module")
def rows():
    """Users with no, one and many items; user 3 has one item again and again."""
    rng = np.random.default_rng(0)
    return [[7], [], rng.permutation(ITEMS)[:30].tolist(), [5] * 6, rng.permutation(ITEMS)[:9].tolist(), [0, ITEMS - 1]]


@settings(max_examples=60)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(1, 6))
def test_windows_partition_every_interaction(counts, length):
    offsets = np.concatenate([[0], np.cumsum(counts)])
    users, ends = windows(offsets, length)
    starts = np.maximum(ends - length, offsets[users])
    covered = [(u, row) for u, start, end in zip(users, starts, ends, strict=True) for row in range(start, end)]
    everything = [(u, row) for u in range(len(counts)) for row in range(offsets[u], offsets[u + 1])]
    assert sorted(covered) == everything
    assert users.dtype == ends.dtype == np.int32
    short = [(u, start) for u, start, end in zip(users, starts, ends, strict=True) if end - start < length]
    assert all(start == offsets[u] for u, start in short)  # only the earliest window of a user is short


def test_take_window_is_what_came_before_the_end(rows):
    train, length = log_of(rows), 5
    users = [u for u, row in enumerate(rows) for _ in range(len(row) + 1)]
    before = [n for row in rows for n in range(len(row) + 1)]  # every prefix, the empty one too
    ends = jnp.asarray([train.offsets[u] + n for u, n in zip(users, before, strict=True)])
    items, values = take_window(train, jnp.asarray(users), ends, length, ITEMS)
    for place, (u, n) in enumerate(zip(users, before, strict=True)):
        taken = rows[u][max(n - length, 0) : n]
        padding = length - len(taken)
        numbers = [float(train.offsets[u] + k + 1) for k in range(max(n - length, 0), n)]
        assert items[place].tolist() == [ITEMS] * padding + taken
        assert values[place].tolist() == [0.0] * padding + numbers


def test_shifted_windows_stay_in_the_users_row_and_reach_its_end(rows):
    train, length = log_of(rows), 4
    users, ends = map(jnp.asarray, windows(train.offsets, length))
    shift = jax.jit(lambda key: shift_ends(key, train, users, ends, length))
    moved = np.stack([shift(jax.random.key(seed)) for seed in range(40)])
    last = np.asarray(train.offsets)[users + 1]
    assert (moved >= ends).all() and (moved <= last).all()
    np.testing.assert_array_equal(moved.max(0), np.minimum(ends + length - 1, last))  # every shift is drawn
    np.testing.assert_array_equal(moved.min(0), ends)


def test_next_items_are_the_shifted_windows_and_what_follows_each_column(rows):
    train, length, key = log_of(rows), 4, jax.random.key(0)
    users, ends = map(jnp.asarray, windows(train.offsets, length))
    found = next_items(key, train, users, ends, length, ITEMS)
    for user, end, history, targets in zip(users, shift_ends(key, train, users, ends, length), *found, strict=True):
        taken = rows[user][: end - train.offsets[user]][-length - 1 :]
        padding = [ITEMS] * (length + 1 - len(taken))  # a first interaction is nobody's target
        assert history.tolist() == (padding + taken)[-length - 1 : -1]
        assert targets.tolist() == [*padding, ITEMS, *taken[1:]][-length:]


def test_shared_negatives_say_which_the_user_has(rows):
    users = jnp.array([2, 0, 1])
    items, absent = shared_negatives(jax.random.key(0), log_of(rows), users, 50, ITEMS)
    assert items.shape == (3, 50) and set(np.unique(items)) <= set(range(ITEMS)) and len(np.unique(items)) > 30
    assert absent.tolist() == [[item in rows[u] for item in row] for u, row in zip(users, items.tolist(), strict=True)]


@pytest.mark.parametrize("popular", [0, 30, 40])
def test_shared_negatives_are_uniform_or_as_frequent_as_in_the_log(rows, popular):
    """Item 5 is six of the log's rows. The first `popular` columns are drawn from rows, the others from all items."""
    train, draws = log_of(rows), 1000
    users = jnp.zeros(draws, jnp.int32)
    items = np.asarray(shared_negatives(jax.random.key(0), train, users, 40, ITEMS, popular)[0])
    parts = ((items[:, :popular], np.bincount(train.items, minlength=ITEMS)), (items[:, popular:], np.ones(ITEMS)))
    for drawn, expected in parts:
        counts = np.bincount(drawn.ravel(), minlength=ITEMS)
        assert len(counts) == ITEMS and not counts[expected == 0].any()
        if drawn.size:
            wanted = drawn.size * expected / expected.sum()
            assert stats.chisquare(counts[wanted > 0], wanted[wanted > 0]).pvalue > 1e-3


@pytest.mark.parametrize("length", [2, 7])
def test_every_shift_is_as_likely(length):
    train = log_of([[0] * 50])
    ends = jnp.full(7000, 20)
    moved = np.asarray(shift_ends(jax.random.key(3), train, jnp.zeros_like(ends), ends, length)) - 20
    assert stats.chisquare(np.bincount(moved, minlength=length)).pvalue > 1e-3


@pytest.mark.parametrize("num_items", [ITEMS, 64])
@pytest.mark.parametrize("bits", [False, True])
def test_knows_is_membership_in_the_users_set(rows, num_items, bits):
    users = jnp.arange(len(rows))
    asked = jnp.broadcast_to(jnp.arange(num_items + 1), (len(rows), num_items + 1))  # padding is known to nobody
    rows = [*rows[:-1], [0, num_items - 1]]
    log = log_of(rows)
    found = known(with_bits(log, num_items) if bits else log, users, asked)
    assert found.tolist() == [[item in set(row) for item in range(num_items + 1)] for row in rows]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=11, max_size=11))
def test_knows_of_random_logs(pairs):
    rows = [[item for user, item in pairs if user == u] for u in range(3)]
    for log in (log_of(rows), with_bits(log_of(rows), 7)):
        found = known(log, np.arange(3), np.broadcast_to(np.arange(7), (3, 7)))
        assert found.tolist() == [[item in row for item in range(7)] for row in rows]


def test_a_large_log_has_no_bits(rows, monkeypatch):
    log = log_of(rows)
    assert with_bits(log, ITEMS).bits.shape == (len(rows), 2)
    monkeypatch.setattr(interactions, "MOST_BITS", len(rows) * 64 - 1)
    assert with_bits(log, ITEMS).bits is None


def test_negatives_are_uniform_over_unknown_items_and_mostly_unknown(rows):
    """Of items drawn uniformly a known one is drawn again once: P(known i) = q / I, P(unknown i) = (1 + q) / I."""
    train, draws = log_of(rows), 40_000
    users = jnp.array([2, 3, 1])
    found = np.asarray(negatives(jax.random.key(0), train, users, draws, ITEMS))
    assert found.shape == (3, draws) and found.dtype == np.int32
    for user, drawn in zip(users.tolist(), found, strict=True):
        own = set(rows[user])
        q = len(own) / ITEMS
        expected = np.array([q if item in own else 1 + q for item in range(ITEMS)]) / ITEMS
        error = np.sqrt(expected * (1 - expected) / draws)
        counts = np.bincount(drawn, minlength=ITEMS)
        assert len(counts) == ITEMS
        np.testing.assert_array_less(np.abs(counts / draws - expected), 4.5 * error + 1e-12)


def test_negatives_depend_on_the_key_alone(rows):
    train, users = log_of(rows), jnp.array([2, 3])
    first, again, other = (negatives(jax.random.key(seed), train, users, 20, ITEMS) for seed in (0, 0, 1))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.mark.parametrize("count", [1, 3, 7])
def test_hold_out_splits_windows(count):
    """Windows of 0 to 7 distinct or repeated items: at most half become targets, and nothing is lost or doubled."""
    rng, padding, length = np.random.default_rng(count), 5, 7
    sizes = np.repeat(np.arange(length + 1), 20)
    windows = np.full((len(sizes), length), padding)
    for row, size in zip(windows, sizes, strict=True):
        row[length - size :] = rng.integers(0, padding, size)
    history, targets, columns = map(np.asarray, hold_out(jax.random.key(count), jnp.asarray(windows), count, padding))
    assert history.shape == windows.shape and targets.shape == (len(sizes), count)
    for window, kept, taken, places, size in zip(windows, history, targets, columns, sizes, strict=True):
        out = (window < padding) & (kept == padding)
        np.testing.assert_array_equal(kept[~out], window[~out])  # what stays, stays in its place
        assert sorted(taken[taken < padding]) == sorted(window[out])  # what is taken out is what is asked for
        assert set(places[taken < padding]) == set(np.flatnonzero(out))
        np.testing.assert_array_equal(window[places[taken < padding]], taken[taken < padding])
        assert out.sum() == min(count, (size + 1) // 2)
        if size >= 2:
            assert out.sum() >= 1 and (kept < padding).sum() >= 1


def test_hold_out_takes_every_place_equally_often():
    window = jnp.broadcast_to(jnp.arange(6), (3000, 6))
    _, targets, _ = hold_out(jax.random.key(0), window, 2, 6)
    expected, error = 1 / 3, np.sqrt(1 / 3 * 2 / 3 / 3000)
    np.testing.assert_allclose(np.bincount(targets.ravel(), minlength=6) / 3000, expected, atol=4 * error)
