"""An epoch's order: every row once, and in strata of like length the fewest columns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax.training import batches
from ancf_jax.training.batches import batch_of, mean_over, order_of, sampled, steps_of, steps_per_epoch, widths_of
from ancf_jax.types import Gradient


def learner(rows, lengths=None):
    return Gradient(rows, *[lambda *args: None] * 3, lengths=lengths)


@pytest.fixture
def few_rows(monkeypatch):
    """Strata of 4 rows and more."""
    monkeypatch.setattr(batches, "MANY", 4)


@pytest.mark.parametrize(
    ("rows", "batch_size", "shape"), [(10, 4, (3, 4)), (12, 4, (3, 4)), (3, 8, (1, 3)), (1, 1, (1, 1))]
)
def test_every_epoch_visits_every_row(rows, batch_size, shape):
    learn = learner(rows)
    assert steps_per_epoch(learn, batch_size) == shape[0]
    order = order_of(learn, batch_size, seed=3, epoch=2)
    assert order.keys() == {0} and order[0].shape == shape and order[0].dtype == np.int32
    flat = order[0].ravel()
    assert sorted(flat[:rows]) == list(range(rows))
    assert flat[rows:].tolist() == flat[: len(flat) - rows].tolist()  # filled up from the first rows


@pytest.mark.parametrize("lengths", [None, np.repeat([2, 30], 25)])
def test_the_order_depends_on_seed_and_epoch_alone(few_rows, lengths):
    learn = learner(50, lengths)

    def of(seed, epoch):
        return tuple(np.concatenate([rows.ravel() for rows in order_of(learn, 8, seed, epoch).values()]))

    orders = {pair: of(*pair) for pair in [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1)]}
    assert len(set(orders.values())) == len(orders)
    assert of(0, 1) == orders[0, 1]


@given(st.lists(st.integers(1, 40), min_size=30, max_size=80), st.integers(1, 12), st.sampled_from([1, 2, 4]))
def test_every_stratum_holds_the_rows_that_fit_it(lengths, batch_size, parts):
    lengths = np.array(lengths)
    learn = learner(len(lengths), lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "MANY", 4)
        order = order_of(learn, batch_size, seed=0, epoch=1, parts=parts)
    widths = sorted(order)
    assert widths[-1] == lengths.max() and steps_of(order) == steps_per_epoch(learn, batch_size)
    for less, width in zip([0, *widths], widths, strict=False):
        fits = np.flatnonzero((lengths > less) & (lengths <= width))
        flat = order[width].ravel()
        assert sorted(set(flat)) == fits.tolist()
        assert np.bincount(flat, minlength=len(lengths))[fits].min() >= 1
        assert len(order) == 1 or order[width].shape[1] % parts == 0
    columns = sum(width * rows.shape[1] for width, rows in order.items())
    assert columns <= lengths.max() * batch_of(learn, batch_size)


def test_of_two_widths_the_ones_with_the_fewest_columns_are_taken(few_rows, monkeypatch):
    monkeypatch.setattr(batches, "STRATA", 2)
    lengths = np.concatenate([np.full(60, 3), np.full(30, 9), np.full(10, 32)])
    learn = learner(100, lengths)
    columns = {cut: cut * (lengths <= cut).sum() + 32 * (lengths > cut).sum() for cut in range(2, 32, 2)}
    best = min(columns, key=columns.get)
    assert widths_of(learn, 100) == (best, 32) and best == 10


def test_one_stratum_where_more_leave_little_away_or_rows_are_few():
    assert widths_of(learner(2000, np.full(2000, 7)), 10) == (7,)
    assert widths_of(learner(2000, np.repeat([30, 32], 1000)), 10) == (32,)
    assert widths_of(learner(400, np.repeat([2, 32], 200)), 10) == (32,)
    assert widths_of(learner(600, np.repeat([2, 32], 300)), 10) == (2, 32)


def test_strata_are_sampled_apart_and_cut_to_their_width():
    learn = Gradient(
        4,
        lambda *args: None,
        lambda key, given, rows: (rows, jax.random.uniform(key, (len(rows), 5))),
        lambda *args: None,
        narrow=lambda batch, width: (batch[0], batch[1][:, -width:]),
    )
    rows = {2: jnp.array([3, 1]), 5: jnp.array([0, 2])}
    first, second = sampled(learn, (), rows, jax.random.key(0))
    assert first[0].tolist() == [3, 1] and first[1].shape == (2, 2)
    assert second[0].tolist() == [0, 2] and second[1].shape == (2, 5)
    assert not np.allclose(first[1], second[1][:, -2:])


def test_the_loss_of_strata_is_the_mean_over_all_that_they_count():
    rng = np.random.default_rng(0)
    parts = [rng.normal(size=size) for size in (3, 5, 1)]
    mean, sums = mean_over([(part.mean(), {"loss": part.sum(), "count": np.int32(len(part))}) for part in parts])
    every = np.concatenate(parts)
    np.testing.assert_allclose((mean, sums["loss"], sums["count"]), (every.mean(), every.sum(), 9), rtol=1e-6)
