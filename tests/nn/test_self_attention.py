"""Self-attention against a Transformer written out, one query and one head at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.nn import self_attention
from ancf_jax.nn.self_attention import SelfAttention


def normed(x, weights):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * weights["scale"] + weights["bias"]


def transformer_block(x, weights, allowed, heads):
    """One pre-norm block over one history [H, D], one query and one head at a time."""
    q, k, v = np.split(normed(x, weights["norm_attention_0"]) @ weights["qkv_0"]["kernel"], 3, axis=1)
    mixed, width = np.zeros_like(x), x.shape[1] // heads
    for head in range(heads):
        columns = slice(head * width, (head + 1) * width)
        for row in range(len(x)):
            seen = np.flatnonzero(allowed[row])
            logits = np.array([q[row, columns] @ k[other, columns] / np.sqrt(width) for other in seen])
            softmax = np.exp(logits) / np.exp(logits).sum()
            mixed[row, columns] = softmax @ v[seen, columns]
    x = x + mixed @ weights["out_0"]["kernel"]
    inner = normed(x, weights["norm_feed_0"]) @ weights["feed_in_0"]["kernel"] + weights["feed_in_0"]["bias"]
    gelu = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    x = x + gelu @ weights["feed_out_0"]["kernel"] + weights["feed_out_0"]["bias"]
    return normed(x, weights["norm"])


@pytest.mark.parametrize(("heads", "causal", "columns"), [(1, False, 100), (2, True, 100), (2, True, 2)])
def test_self_attention_is_a_pre_norm_transformer(randomised, monkeypatch, heads, causal, columns):
    """Also where its columns attend a few at a time, here 1, 2 and 2 of them."""
    monkeypatch.setattr(self_attention, "COLUMNS", columns)
    length, width = 5, 6
    x = np.random.default_rng(0).normal(0, 1, (2, length, width)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], bool)
    encoder = SelfAttention(1, heads, 0.0, causal)
    variables = randomised(jax.eval_shape(encoder.init, jax.random.key(0), x, mask), seed=1)
    found = np.asarray(jax.jit(encoder.apply)(variables, x, mask))
    for row in range(2):
        allowed = np.broadcast_to(mask[row], (length, length))
        allowed = np.tril(allowed) if causal else allowed
        present = np.flatnonzero(mask[row])  # the output at padding carries no meaning
        sub = allowed[np.ix_(present, present)]
        expected = transformer_block(x[row, present].astype(np.float64), variables["params"], sub, heads)
        np.testing.assert_allclose(found[row, present], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("causal", [False, True])
def test_the_last_state_alone_is_that_of_all_states(randomised, causal):
    x = np.random.default_rng(0).normal(0, 1, (2, 5, 6)).astype(np.float32)
    mask = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]], bool)
    encoder = SelfAttention(2, 2, 0.0, causal)
    variables = randomised(jax.eval_shape(encoder.init, jax.random.key(0), x, mask), seed=1)
    every = encoder.apply(variables, x, mask)
    found = encoder.apply(variables, x, mask, last=True)
    np.testing.assert_allclose(found, every[:, -1:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("feed", "width"), [(0, 12), (5, 5)])
def test_the_feed_forward_layer_is_as_wide_as_asked_or_twice_the_state(feed, width):
    encoder = SelfAttention(1, 2, 0.0, causal=True, feed=feed)
    shapes = jax.eval_shape(encoder.init, jax.random.key(0), jnp.zeros((1, 4, 6)), jnp.ones((1, 4), bool))["params"]
    assert shapes["feed_in_0"]["kernel"].shape == (6, width) and shapes["feed_out_0"]["kernel"].shape == (width, 6)
