"""The trace of a run names what it did."""

import jax
import jax.numpy as jnp

from ancf_jax.profiling import trace


def test_a_runs_operations(tmp_path):
    x = jnp.ones((64, 64))

    @jax.jit
    def body(x):
        return jax.lax.fori_loop(0, 20, lambda _, x: jnp.tanh(x @ x) / 64, x)

    body(x).block_until_ready()
    seconds = trace.operations(lambda: body(x).block_until_ready(), tmp_path)
    assert set(seconds) >= {"total", "matrix products", "elementwise and others"}
    assert 0 < seconds["matrix products"] < seconds["total"]
    assert list(tmp_path.rglob("perfetto_trace.json.gz"))
