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
