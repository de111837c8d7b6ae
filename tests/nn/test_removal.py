"""Falls of scores without each past item, against loops in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.nn import removal
from ancf_jax.types import Query

ITEMS = 7
TABLE = np.random.default_rng(0).normal(size=(ITEMS + 1, ITEMS)).astype(np.float32)
TABLE[-1] = 0
PASTS = ([0, 1, 2], [3, 1, 4, 0], [5, 2, 5, 6, 5], [1, 4, 1, 4, 4])


def score_of(past, items, reads):
    """tanh of a sum over the latest, and a term of which item is last: neither additive nor order-free."""
    last = TABLE[past[-1]] if past else 0 * TABLE[0]
    return (np.tanh(TABLE[past[-reads:]].sum(0)) + 0.5 * last)[items]


@pytest.mark.parametrize("reads", [5, 2, 3])
@pytest.mark.parametrize("block", [2, 64])  # of 2 the last block overlaps the one before
def test_falls_are_of_the_score_without_each(monkeypatch, reads, block):
    """Of repeated items without all of them, and of items before the latest that are read."""
    monkeypatch.setattr(removal, "BLOCK", block)
    items = np.array([[5, 6], [2, 5], [0, 1], [2, 0]])
    history = jnp.array([[ITEMS] * (5 - len(past)) + past for past in PASTS])
    query = Query(np.full(4, 4), history, (history < ITEMS).astype(jnp.float32))

    def score(query, items):
        table = jnp.asarray(TABLE)
        scores = jnp.tanh(table[query.history[:, -reads:]].sum(1)) + 0.5 * table[query.history[:, -1]]
        return jnp.take_along_axis(scores, items, axis=1)

    found = jax.jit(lambda items: removal.falls(score, ITEMS, query, items, reads))(items)
    assert found.shape == (4, 2, 5)
    for b, past in enumerate(PASTS):
        assert not found[b, :, : 5 - len(past)].any()
        for n, item in enumerate(past):
            without = [j for j in past if j != item]
            fall = score_of(past, items[b], reads) - score_of(without, items[b], reads)
            np.testing.assert_allclose(found[b, :, 5 - len(past) + n], fall, rtol=1e-4, atol=1e-6)
