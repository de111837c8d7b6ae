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


class Projections(nn.Module):
    """W [D, 3 D], of queries, keys and values side by side."""

    @nn.compact
    def __call__(self, width: int) -> Array:
        return self.param("kernel", nn.initializers.lecun_normal(), (width, 3 * width))


def multi_head(
    asking: Array,
    x: Array,
    kernel: Array,
    mask: Array,
    causal: bool,
    heads: int,
    drop: Callable[[Array], Array],
    nothing: Array | None = None,
) -> Array:
    """Over heads, drop(softmax(Q K^T / sqrt(d))) V side by side [B, H, D]; Q is asking W_q, K and V x W_k and x W_v.

    The kernel [D, 3 D] is W_q, W_k, W_v. A column attends where `mask` [B, H], and if causal, not to later ones, and to
    as many vectors of zeros as `nothing` [B] says.
    """
    length, width = x.shape[1:]
    if asking is x:
        projected = jnp.split(x @ kernel, 3, axis=-1)
    else:
        projected = [asking @ kernel[:, :width], *jnp.split(x @ kernel[:, width:], 2, axis=-1)]
    parts = tuple(jnp.moveaxis(split_heads(part, heads), 2, 1) for part in projected)
    # [B, heads, H, d] in memory too: on a CPU, products over heads that lie side by side take longer.
    q, k, v = jax.lax.optimization_barrier(parts)

    def mixed(start: int, end: int) -> Array:
        seen = end if causal else length
        allowed = mask[:, None, None, :seen]
        if causal:
            allowed = allowed & (jnp.arange(start, end)[:, None] >= jnp.arange(seen))
        logits = jnp.einsum("bnqd,bnkd->bnqk", q[:, :, start:end], k[:, :, :seen]) / jnp.sqrt(q.shape[-1])
        weights = drop(softmax_beside(logits, allowed, nothing).astype(x.dtype))
        return jnp.einsum("bnqk,bnkd->bnqd", weights, v[:, :, :seen])

    pieces = -(-length // COLUMNS) if causal else 1
    edges = [length * piece // pieces for piece in range(pieces + 1)]
    found = jnp.concatenate([mixed(*edge) for edge in pairwise(edges)], axis=2)
    return jnp.moveaxis(found, 1, 2).reshape(x.shape)


def multi_head_of_last(
    asking: Array,
    x: Array,
    kernel: Array,
    mask: Array,
    heads: int,
    drop: Callable[[Array], Array],
    nothing: Array | None = None,
) -> Array:
    """The last column of `multi_head`, [B, 1, D], without keys and values of every column.

    The logits of one query are <q, W_k x_h> = <W_k^T q, x_h>, and what is attended to is W_v sum over h of a_h x_h.
    """
    query, keys, values = (split_heads(part, heads) for part in jnp.split(kernel, 3, axis=-1))  # [D, heads, d]
    q = jnp.einsum("bd,dnk->bnk", asking[:, -1], query)
    logits = jnp.einsum("bnd,bhd->bnh", jnp.einsum("bnk,dnk->bnd", q, keys), x) / jnp.sqrt(q.shape[-1])
    weights = drop(softmax_beside(logits[:, :, None], mask[:, None, None], nothing)[:, :, 0].astype(x.dtype))
    pooled = jnp.einsum("bnh,bhd->bnd", weights, x)
    return jnp.einsum("bnd,dnk->bnk", pooled, values).reshape(len(x), 1, -1)


def softmax_beside(logits: Array, allowed: Array, nothing: Array | None) -> Array:
    """Over the last axis of logits [B, heads, Q, K] where allowed, beside `nothing` [B] logits of 0, in float32."""
    logits = jnp.where(allowed, logits, -1e9).astype(jnp.float32)
    if nothing is None:
        return jax.nn.softmax(logits, axis=-1)
    beside = jnp.broadcast_to(jnp.log(nothing)[:, None, None, None], (*logits.shape[:-1], 1))
    return jax.nn.softmax(jnp.concatenate([logits, beside], axis=-1), axis=-1)[..., :-1]


class SelfAttention(nn.Module):
    """Pre-norm Transformer blocks over a history [B, H, D] (Vaswani et al., Attention Is All You Need, 2017).

    x <- x + MultiHead(norm(x));  x <- x + W_2 activation(W_1 norm(x)), then one last norm; W_1 is [D, feed], and 2 D
    wide if that is 0. `mask` [B, H] is False at padding, which nothing attends to; `causal` hides what comes later. The
    output at padding carries no meaning. With `last`, the state of the last column is all that the last block computes:
    [B, 1, D].
    """

    layers: int
    heads: int
    dropout: float
    causal: bool
    feed: int = 0
    activation: Callable[[Array], Array] = nn.gelu

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        width = x.shape[-1]
        feed = self.feed or 2 * width

        def drop(values: Array) -> Array:
            return Dropout(self.dropout)(values, deterministic=deterministic)

        for n in range(self.layers):
            normed = nn.LayerNorm(name=f"norm_attention_{n}")(x)
            kernel = Projections(name=f"qkv_{n}")(width)
            if last and n == self.layers - 1:
                x, mixed = x[:, -1:], multi_head_of_last(normed, normed, kernel, mask, self.heads, drop)
            else:
                mixed = multi_head(normed, normed, kernel, mask, self.causal, self.heads, drop)
            x = x + drop(nn.Dense(width, use_bias=False, name=f"out_{n}")(mixed))
            normed = nn.LayerNorm(name=f"norm_feed_{n}")(x)
            inner = self.activation(nn.Dense(feed, name=f"feed_in_{n}")(normed))
            x = x + drop(nn.Dense(width, name=f"feed_out_{n}")(inner))
        return nn.LayerNorm(name="norm")(x)
