"""Hashed words against what uniform independent words would give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ancf_jax.nn.bits import hashed, integers, kept, random_words, uniform

WORDS = np.asarray(random_words(jax.random.key(0), (400, 500)))


@pytest.mark.parametrize("values", [WORDS >> 24, WORDS & 255, WORDS % 97], ids=["high", "low", "remainder"])
def test_words_are_uniform(values):
    counts = np.bincount(values.ravel())
    assert len(counts) in (97, 256) and stats.chisquare(counts).pvalue > 1e-3


def test_neighbours_and_rehashed_words_are_independent():
    for other in (
        np.roll(WORDS, 1),
        np.asarray(hashed(jnp.asarray(WORDS))),
        random_words(jax.random.key(1), WORDS.shape),
    ):
        pairs = np.histogram2d((WORDS >> 28).ravel(), (np.asarray(other) >> 28).ravel(), bins=16)[0]
        assert stats.chi2_contingency(pairs).pvalue > 1e-3


def test_hash_is_a_bijection_that_flips_half_the_bits():
    some = jnp.arange(1 << 16, dtype=jnp.uint32)
    for shift in (0, 8, 16):
        assert len(np.unique(hashed(some << shift))) == 1 << 16
    for bit in range(32):
        flipped = np.asarray(hashed(some) ^ hashed(some ^ jnp.uint32(1 << bit)))
        assert abs(np.bitwise_count(flipped).mean() - 16) < 0.2


def test_hash_is_the_finaliser_of_murmurhash3():
    """Its published words: fmix32(1), and of all ones."""
    assert [int(word) for word in hashed(jnp.array([0, 1, 2**32 - 1], jnp.uint32))] == [0, 0x514E28B7, 0x81F16F39]


def test_words_depend_on_the_key_alone():
    again = random_words(jax.random.key(0), WORDS.shape)
    assert (np.asarray(again) == WORDS).all() and again.dtype == jnp.uint32


def test_what_dropout_leaves():
    left = np.asarray(kept(jax.random.key(0), (100, 1000), 0.3))
    assert left.dtype == bool and abs(left.mean() - 0.7) < 0.01
    assert np.asarray(kept(jax.random.key(0), (10,), 0.0)).all()


def test_whole_numbers_and_fractions_are_uniform():
    numbers = np.asarray(integers(jnp.asarray(WORDS), 97))
    assert numbers.dtype == np.int32 and stats.chisquare(np.bincount(numbers.ravel(), minlength=97)).pvalue > 1e-3
    fractions = np.asarray(uniform(jax.random.key(0), WORDS.shape))
    assert fractions.dtype == np.float32 and fractions.min() >= 0 and fractions.max() < 1
    assert stats.kstest(fractions.ravel(), "uniform").pvalue > 1e-3
    np.testing.assert_array_equal(fractions, (WORDS >> 8) / 2**24)  # all of the 24 bits that float32 holds
