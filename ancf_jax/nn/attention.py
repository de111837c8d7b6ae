"""Attention of candidate items over a history, after all of it or after each of its columns at once.

Order-aware training scores N candidates after every column t of a window: [B, heads, L, N, H] weights if done naively.
But the logit of candidate n on interaction h does not depend on t; only which h <= t are seen, and how recent they are,
does. With w_nh = exp(f_nh) and E_th = exp(recency_(t-h)) for h <= t, else 0,

    sum over h of a_tnh x_nh = (sum over h of E_th w_nh x_nh) / (sum over h of E_th w_nh)^smoothing

so one exponential per (candidate, interaction) and two products with E give the scores after every column.
Exponentials and denominators are taken in float32, products in the type of the logits.
"""

import jax
import jax.numpy as jnp

from ancf_jax.types import Array

TINY = 1e-18  # its square is still a normal float32, which the gradient of a quotient needs


def split_heads(x: Array, heads: int) -> Array:
    """[..., D] to [..., heads, d]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def candidate_weights(logits: Array, mask: Array, smoothing: float) -> Array:
    """exp(f) / (sum exp f)^smoothing over the last axis where mask; 0 elsewhere, and everywhere if all is masked."""
    masked = jnp.where(mask, logits.astype(jnp.float32), -jnp.inf)
    top = jnp.maximum(jax.lax.stop_gradient(masked.max(-1, keepdims=True)), -1e9)
    weights = jnp.exp(masked - top)
    return (weights / normaliser(weights.sum(-1, keepdims=True), top, smoothing)).astype(logits.dtype)


def normaliser(total: Array, top: Array, smoothing: float) -> Array:
    """(total e^top)^smoothing / e^top: the denominator when both sides of the fraction were scaled by e^-top."""
    total = jnp.where(total > TINY, total, 1.0).astype(jnp.float32)  # nothing to attend to: the numerator is 0 too
    return total if smoothing == 1.0 else total**smoothing * jnp.exp((smoothing - 1.0) * jnp.maximum(top, -80.0))


def recency_matrix(recency: Array) -> Array:
    """E [heads, T, H] from recency [heads, H], whose entry d belongs to the interaction d steps before the latest."""
    length = recency.shape[1]
    steps = jnp.arange(length)[:, None] - jnp.arange(length)[None]  # t - h
    powers = jnp.exp(recency.astype(jnp.float32)).astype(recency.dtype)
    return jnp.where(steps >= 0, powers[:, jnp.maximum(steps, 0)], 0.0)


def scaled(logits: Array, mask: Array) -> tuple[Array, Array]:
    """exp(f - top) [B, heads, K, H], 0 at padding, and top [B, heads, K]."""
    masked = jnp.where(mask[:, None, None], logits.astype(jnp.float32), -jnp.inf)
    top = jnp.maximum(jax.lax.stop_gradient(masked.max(-1)), -1e9)
    return jnp.exp(masked - top[..., None]).astype(logits.dtype), top


def causal_contributions(logits: Array, along: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Sum over heads and h of a_tnh x_nh: [B, T, N] from logits and along (x), both [B, heads, N, H].

    recency [heads, H] and mask [B, H] as in the module's equation; T = H.
    """
    weights, top = scaled(logits, mask)
    matrix = recency_matrix(recency)
    upper = jnp.einsum("nth,bnkh->nbtk", matrix, weights * along)
    lower = normaliser(jnp.einsum("nth,bnkh->nbtk", matrix, weights), jnp.moveaxis(top, 1, 0)[:, :, None], smoothing)
    return sum(up / low for up, low in zip(upper, lower, strict=True))  # a sum over an axis of 2 would not vectorise


def causal_mixtures(
    logits: Array, values: Array, recency: Array, mask: Array, smoothing: float, *, own_column: bool
) -> Array:
    """c_tn = concatenation over heads of sum over h of a_tnh v_h; logits [B, heads, N, H], values [B, H, heads, d].

    With `own_column`, candidate t is scored after column t alone: [B, T, D]; else every candidate after every column:
    [B, T, N, D].
    """
    weights, top = scaled(logits, mask)
    matrix = recency_matrix(recency)
    if own_column:
        weights = weights * matrix  # [B, heads, T, H]
        mixed = jnp.einsum("bnth,bhnd->btnd", weights, values)
        lower = normaliser(weights.sum(-1), top, smoothing)
        mixed = (mixed / jnp.moveaxis(lower, 1, 2)[..., None]).astype(values.dtype)
        return mixed.reshape(*mixed.shape[:2], -1)
    mixed = jnp.einsum("nth,bnkh,bhnd->btknd", matrix, weights, values)
    lower = normaliser(jnp.einsum("nth,bnkh->btkn", matrix, weights), jnp.moveaxis(top, 1, 2)[:, None], smoothing)
    return (mixed / lower[..., None]).astype(values.dtype).reshape(*mixed.shape[:3], -1)
