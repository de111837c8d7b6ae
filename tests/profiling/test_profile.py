"""Costs against counts by hand, rates, compile time, and synthetic logs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.profiling import profile

N = 16
PRODUCT = 2 * N**3  # flops


def multiply(times):
    return lambda x: jax.lax.scan(lambda y, _: (y @ x, None), x, None, length=times)[0]


def nested(x):
    return jax.lax.scan(lambda y, _: (jax.jit(multiply(3))(y), None), x, None, length=5)[0]


def unknown_length(x):
    return jax.lax.while_loop(lambda y: y.sum() < 100, lambda y: y @ x, x)


@pytest.mark.parametrize(
    ("fn", "products"),
    [(lambda x: x @ x, 1), (multiply(1), 1), (multiply(7), 7), (nested, 15), (unknown_length, 1)],
    ids=["straight", "once", "scan", "nested", "while"],
)
def test_flops_are_those_of_the_products(fn, products):
    cost = profile.cost(fn, jnp.ones((N, N)))
    assert products * PRODUCT <= cost.flops < (products + 0.5) * PRODUCT
    assert cost.bytes >= products * 2 * 4 * N**2  # a matrix in and one out, float32


def test_cost_does_not_run_the_function():
    shape = jax.ShapeDtypeStruct((10**6, 10**5), jnp.float32)  # 400 GB
    assert profile.cost(lambda x: x[0, :4] * 2, shape).flops >= 4


def test_rates_are_positive():
    rates = profile.machine_rates(size=64, copied=2**16)
    assert rates.flops > 0 and rates.bytes > 0


def test_the_clock_runs_while_jax_compiles():
    clock = profile.compile_clock()
    double = jax.jit(lambda x: x * 2.5)
    double(1.0)
    compiled = clock()
    assert compiled > 0
    double(2.0)
    assert clock() == compiled


def test_a_synthetic_log():
    dataset = profile.synthetic(50, 40, 1000)
    parts = (dataset.train, dataset.valid, dataset.test)
    users, items = (np.concatenate([getattr(part, name) for part in parts]) for name in ("users", "items"))
    pairs = users * 40 + items
    assert len(np.unique(pairs)) == len(pairs) <= 1000
    assert users.max() < 50 and items.max() < 40
    for ids, size in ((users, 50), (items, 40)):  # the first half holds sqrt(1/2) of what is drawn
        assert np.mean(ids < size / 2) > 0.55
    again = profile.synthetic(50, 40, 1000)
    np.testing.assert_array_equal(again.train.items, dataset.train.items)
