"""EASE against its closed form in float64."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ancf_jax.models.linear import ease


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Blocks of which there are several here, the last one not full."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("PIVOT", 4), ("SLAB", 5)):
            patch.setattr(ease, name, size)
        yield


def test_ease_is_its_closed_form(log, learned):
    x, data = log
    items = data.num_items
    weight = learned(ease.make(ease.Config(l2=3.0), data))["tables"]["weight"]
    p = np.linalg.inv(x.T @ x + 3.0 * np.eye(items))
    np.testing.assert_allclose(weight, np.eye(items) - p / np.diag(p), rtol=1e-4, atol=1e-5)
    assert not np.diag(weight).any()


def test_frequent_items_are_penalised_and_active_users_count_less(log, learned):
    x, data = log
    items, counts = data.num_items, x.sum(1)
    w = np.maximum(counts, 1.0) ** -0.5
    w *= x.sum() / (counts * w).sum()
    g = x.T @ (w[:, None] * x)
    frequency = np.maximum(np.diag(g), 1.0)
    p = np.linalg.inv(g + np.diag(3.0 * (frequency / frequency.mean()) ** 0.25))
    model = ease.make(ease.Config(l2=3.0, exponent=0.25, activity=0.5), data)
    weight = learned(model)["tables"]["weight"]
    np.testing.assert_allclose(weight, np.eye(items) - p / np.diag(p), rtol=1e-4, atol=1e-5)
    # The same as EASE of rows and columns that are scaled, by the square roots of weights and penalties.
    scale = (frequency / frequency.mean()) ** -0.125
    scaled = np.sqrt(w)[:, None] * x * scale
    q = np.linalg.inv(scaled.T @ scaled + 3.0 * np.eye(items))
    np.testing.assert_allclose(weight, scale[:, None] * (np.eye(items) - q / np.diag(q)) / scale, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def invert():
    """The inverse of matrices [9, 9], compiled."""
    return jax.jit(ease.invert)


@settings(max_examples=30)
@given(st.integers(1, 9), st.integers(0, 1000), st.floats(-3, 3))
def test_the_inverse_is_as_exact_as_the_condition_allows(invert, size, seed, spread):
    basis = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    a = np.eye(9)
    a[:size, :size] = (basis * 10 ** np.linspace(0, spread, size)) @ basis.T
    a = a.astype(np.float32)
    expected = np.linalg.inv(a.astype(np.float64))
    error = np.linalg.norm(invert(a) - expected, 2) / np.linalg.norm(expected, 2)
    assert error < 4 * np.finfo(np.float32).eps * np.linalg.cond(a)
