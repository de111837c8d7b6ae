"""Blocks that two or more models use: tables, the NCF tower, self-attention over a history, scoring in item blocks."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.types import Array


def table(key: Array, rows: int, width: int, stddev: float) -> Array:
    """An embedding table [rows + 1, width], N(0, stddev^2), whose last row (padding, or the unknown user) is zero."""
    return jnp.pad(stddev * jax.random.normal(key, (rows, width)), ((0, 1), (0, 0)))


class Dropout(nn.Module):
    """Inverted dropout: x / (1 - rate) with probability 1 - rate, else 0, with bits from an integer hash of a counter.

    One word per call comes from JAX's generator and seeds the hash (the finaliser of Steele, Lea & Flood, Fast
    Splittable Pseudorandom Number Generators, 2014, on 32 bits): drawing every bit from threefry took a third of a
    training step on a CPU.
    """

    rate: float

    @nn.compact
    def __call__(self, x: Array, deterministic: bool = True) -> Array:
        if deterministic or self.rate == 0.0:
            return x
        bits = jax.lax.iota(jnp.uint32, x.size) * jnp.uint32(0x9E3779B9) + jax.random.bits(self.make_rng("dropout"))
        bits = (bits ^ (bits >> 16)) * jnp.uint32(0x85EBCA6B)
        bits = (bits ^ (bits >> 13)) * jnp.uint32(0xC2B2AE35)
        keep = (bits ^ (bits >> 16)) >= jnp.uint32(int(self.rate * 2**32))
        return jnp.where(keep.reshape(x.shape), x / (1.0 - self.rate), 0.0)


class Tower(nn.Module):
    """Fully connected layers with ReLU over the concatenation of parts: relu(W_n ... relu(sum_k W_1k x_k + b_1)).

    The parts [..., d_k] need only broadcast: a user part [B, 1, d] and an item part [1, I, d] meet after the first
    matrix product, which is therefore computed once per user and once per item, not once per pair.
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, parts: Sequence[Array], deterministic: bool = True) -> Array:
        fan_in = sum(part.shape[-1] for part in parts)
        inputs = []
        for k, part in enumerate(parts):
            scale = part.shape[-1] / fan_in  # variance of one dense layer over the concatenation
            init = nn.initializers.variance_scaling(2.0 * scale, "fan_in", "truncated_normal")
            inputs.append(nn.Dense(self.widths[0], use_bias=k == 0, kernel_init=init, name=f"input_{k}")(part))
        hidden = nn.relu(sum(inputs[1:], inputs[0]))
        for n, width in enumerate(self.widths[1:], start=1):
            hidden = Dropout(self.dropout)(hidden, deterministic=deterministic)
            hidden = nn.relu(nn.Dense(width, kernel_init=nn.initializers.he_normal(), name=f"layer_{n}")(hidden))
        return hidden


class SelfAttention(nn.Module):
    """Pre-norm Transformer blocks over a history [B, H, D] (Vaswani et al., Attention Is All You Need, 2017).

    x <- x + MultiHead(norm(x));  x <- x + W_2 gelu(W_1 norm(x)), then one last norm. `mask` [B, H] is False at
    padding, which nothing attends to; `causal` hides what comes later. The output at padding carries no meaning.
    """

    layers: int
    heads: int
    dropout: float
    causal: bool

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True) -> Array:
        batch, length, width = x.shape
        allowed = mask[:, None, None, :]  # [B, 1, 1, H]
        if self.causal:
            allowed = allowed & jnp.tril(jnp.ones((length, length), bool))
        for n in range(self.layers):
            normed = nn.LayerNorm(name=f"norm_attention_{n}")(x)
            qkv = nn.Dense(3 * width, use_bias=False, name=f"qkv_{n}")(normed)
            q, k, v = (part.reshape(batch, length, self.heads, -1) for part in jnp.split(qkv, 3, axis=-1))
            logits = jnp.einsum("bqnd,bknd->bnqk", q, k) / jnp.sqrt(q.shape[-1])
            weights = jax.nn.softmax(jnp.where(allowed, logits, -1e9), axis=-1)
            weights = Dropout(self.dropout)(weights, deterministic=deterministic)
            mixed = jnp.einsum("bnqk,bknd->bqnd", weights, v).reshape(batch, length, width)
            mixed = nn.Dense(width, use_bias=False, name=f"out_{n}")(mixed)
            x = x + Dropout(self.dropout)(mixed, deterministic=deterministic)
            normed = nn.LayerNorm(name=f"norm_feed_{n}")(x)
            fed = nn.Dense(width, name=f"feed_out_{n}")(nn.gelu(nn.Dense(2 * width, name=f"feed_in_{n}")(normed)))
            x = x + Dropout(self.dropout)(fed, deterministic=deterministic)
        return nn.LayerNorm(name="norm")(x)


def over_items(score: Callable[[Array], Array], num_items: int, block: int) -> Array:
    """Scores [B, I] from `score`: items [K] -> [B, K], called on one block of items after another to bound memory."""
    if num_items <= block:
        return score(jnp.arange(num_items))
    blocks = -(-num_items // block)
    ids = jnp.minimum(jnp.arange(blocks * block), num_items - 1).reshape(blocks, block)
    scores = jax.lax.map(score, ids)  # [blocks, B, block]
    return jnp.moveaxis(scores, 0, 1).reshape(scores.shape[1], -1)[:, :num_items]


def multi_hot(history: Array, num_items: int) -> Array:
    """The items of each history [B, H] as a 0/1 row [B, I]; padding I is dropped."""
    rows = jnp.arange(history.shape[0])[:, None]
    return jnp.zeros((history.shape[0], num_items)).at[rows, history].set(1.0, mode="drop")
