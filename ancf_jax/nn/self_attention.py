"""Self-attention over a history, causal or not, of several heads."""

from collections.abc import Callable
from itertools import pairwise

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.nn.attention import split_heads
from ancf_jax.nn.layers import Dropout
from ancf_jax.types import Array

COLUMNS = 100  # that attend at once if causal, and not to what is later than all of them


def multi_head(
    qkv: Array, mask: Array, causal: bool, heads: int, drop: Callable[[Array], Array], last: int = 0
) -> Array:
    """Over heads, drop(softmax(Q K^T / sqrt(d))) V side by side [B, H, D]; qkv [B, H, 3 D].

    A column attends where `mask` [B, H], and if causal, not to later ones. Of the `last` columns alone, [B, last, D],
    if that is not 0.
    """
    length = qkv.shape[1]
    parts = tuple(jnp.moveaxis(split_heads(part, heads), 2, 1) for part in jnp.split(qkv, 3, axis=-1))
    # [B, heads, H, d] in memory too: on a CPU, products over heads that lie side by side take longer.
    q, k, v = jax.lax.optimization_barrier(parts)

    def mixed(start: int, end: int) -> Array:
        seen = end if causal else length
        allowed = mask[:, None, None, :seen]
        if causal:
            allowed = allowed & (jnp.arange(start, end)[:, None] >= jnp.arange(seen))
        logits = jnp.einsum("bnqd,bnkd->bnqk", q[:, :, start:end], k[:, :, :seen]) / jnp.sqrt(q.shape[-1])
        logits = jnp.where(allowed, logits, -1e9).astype(jnp.float32)
        weights = drop(jax.nn.softmax(logits, axis=-1).astype(qkv.dtype))
        return jnp.einsum("bnqk,bnkd->bnqd", weights, v[:, :, :seen])

    first = length - (last or length)
    pieces = max(-(-(length - first) // COLUMNS), 1) if causal else 1
    edges = [first + (length - first) * piece // pieces for piece in range(pieces + 1)]
    found = jnp.concatenate([mixed(*edge) for edge in pairwise(edges)], axis=2)
    return jnp.moveaxis(found, 1, 2).reshape(len(qkv), length - first, -1)


class SelfAttention(nn.Module):
    """Pre-norm Transformer blocks over a history [B, H, D] (Vaswani et al., Attention Is All You Need, 2017).

    x <- x + MultiHead(norm(x));  x <- x + W_2 activation(W_1 norm(x)), then one last norm; W_1 is [D, feed], and 2 D
    wide if that is 0. `mask` [B, H] is False at padding, which nothing attends to; `causal` hides what comes later. The
    output at padding carries no meaning. With `last`, the states of so many last columns are all that the last block
    computes: [B, last, D].
    """

    layers: int
    heads: int
    dropout: float
    causal: bool
    feed: int = 0
    activation: Callable[[Array], Array] = nn.gelu

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: int = 0) -> Array:
        width = x.shape[-1]
        feed = self.feed or 2 * width

        def drop(values: Array) -> Array:
            return Dropout(self.dropout)(values, deterministic=deterministic)

        for n in range(self.layers):
            normed = nn.LayerNorm(name=f"norm_attention_{n}")(x)
            qkv = nn.Dense(3 * width, use_bias=False, name=f"qkv_{n}")(normed)
            asked = last if n == self.layers - 1 else 0
            mixed = multi_head(qkv, mask, self.causal, self.heads, drop, asked)
            x = x[:, -asked:] + drop(nn.Dense(width, use_bias=False, name=f"out_{n}")(mixed))
            normed = nn.LayerNorm(name=f"norm_feed_{n}")(x)
            inner = self.activation(nn.Dense(feed, name=f"feed_in_{n}")(normed))
            x = x + drop(nn.Dense(width, name=f"feed_out_{n}")(inner))
        return nn.LayerNorm(name="norm")(x)
