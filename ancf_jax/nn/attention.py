"""Attention of candidate items over a history, after all of it or after each of its columns at once.

Order-aware training scores N candidates after every column t of a window: [B, heads, L, N, H] weights if done naively.
But the logit of candidate n on interaction h does not depend on t; only which h <= t are seen, and how recent they are,
does. With w_nh = exp(f_nh) and E_th = exp(recency_(t-h)) for h <= t, else 0,

    sum over h of a_tnh x_nh = (sum over h of E_th w_nh x_nh) / (sum over h of E_th w_nh)^smoothing

so one exponential per (candidate, interaction) and two products with E give the scores after every column, all of them
at one scale: that of the largest w and E. A column may lie too far below it for float32. Where one does, every column
is taken by itself, at its own scale: as exact as the scores after a whole history, and several times as slow.
Exponentials and denominators are taken in float32, products in the type of the logits.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.nn.layers import unit_rows
from ancf_jax.types import Array

TINY = 1e-18  # its square is still a normal float32, which the gradient of a quotient needs
REACH = 40.0  # how far a column's exponents may lie below the largest: e^-REACH is above TINY


def split_heads(x: Array, heads: int) -> Array:
    """[..., D] to [..., heads, d]."""
    return x.reshape(*x.shape[:-1], heads, -1)


def candidate_weights(logits: Array, mask: Array, smoothing: float) -> Array:
    """exp(f) / (sum exp f)^smoothing over the last axis where mask; 0 elsewhere, and everywhere if all is masked."""
    masked = jnp.where(mask, logits.astype(jnp.float32), -jnp.inf)
    top = largest(masked)[..., None]
    weights = jnp.exp(masked - top)
    weights = weights / power(weights.sum(-1, keepdims=True), smoothing)
    return rescale(weights, top, smoothing).astype(logits.dtype)


def candidate_sums(logits: Array, along: Array, mask: Array, smoothing: float) -> Array:
    """The sum over h of `candidate_weights` times `along`, [..., K] of arrays [..., H, K]; float32.

    Where not `mask`, no logit may be above the largest where mask: so the largest is sought of what a product wrote,
    and nothing is written anew.
    """
    weights, top = over_history(logits, mask)
    total = jnp.sum(weights * along, axis=-2) / power(weights.sum(-2), smoothing)
    return rescale(total, top, smoothing)


def candidate_mixtures(logits: Array, values: Array, mask: Array, smoothing: float) -> Array:
    """The sum over h of `candidate_weights` times values [B, H, heads, d], of logits [heads, B, H, K].

    [heads, B, d, K], float32. Of the logits holds what `candidate_sums` says.
    """
    weights, top = over_history(logits, mask)
    mixed = jnp.einsum("nbhk,bhnd->nbdk", weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
    return rescale(mixed / power(weights.sum(-2), smoothing)[:, :, None], top[:, :, None], smoothing)


def candidate_cosines(mixed: Array, item: Array, own: Array) -> Array:
    """The cosines [B, K] of items [K, D] and vectors mixed [heads, B, d, K] + own [B, 1, D], float32.

    0 where one of the two is zeros.
    """
    heads = len(mixed)
    item = unit_rows(item.astype(jnp.float32))
    along = jnp.transpose(split_heads(item, heads), (1, 2, 0))[:, None]
    mixed = mixed + jnp.transpose(split_heads(own.astype(jnp.float32), heads), (2, 0, 3, 1))
    squares = jnp.sum(jnp.square(mixed), axis=(0, 2))
    return jnp.sum(mixed * along, axis=(0, 2)) / jnp.sqrt(jnp.where(squares > 0, squares, 1.0))


def over_history(logits: Array, mask: Array) -> tuple[Array, Array]:
    """exp(f - top) of logits [..., H, K] where mask, and top [..., K], both float32."""
    logits = logits.astype(jnp.float32)
    top = largest(logits, axis=-2)
    return jnp.exp(logits - top[..., None, :]) * mask, top


def largest(x: Array, axis: int = -1) -> Array:
    """The maximum over an axis, a constant to the gradient; a number where all are -inf."""
    return jnp.maximum(jax.lax.stop_gradient(x.max(axis)), -1e9)


def power(total: Array, smoothing: float) -> Array:
    """total^smoothing in float32; 1 where there is nothing to attend to, for the numerator is 0 there too."""
    total = jnp.where(total > TINY, total, 1.0).astype(jnp.float32)
    return total if smoothing == 1.0 else total**smoothing


def rescale(x: Array, top: Array, smoothing: float) -> Array:
    """x e^top / (e^top)^smoothing, for a fraction whose two sides were scaled by e^-top."""
    return x if smoothing == 1.0 else x * jnp.exp((1.0 - smoothing) * top)


def recency_after(recency: Array) -> Array:
    """recency_(t-h) [heads, T, H], float32, -inf where h > t; recency [heads, H] is d steps before the latest at d."""
    length = recency.shape[1]
    steps = jnp.arange(length)[:, None] - jnp.arange(length)[None]  # t - h
    return jnp.where(steps >= 0, jnp.asarray(recency, jnp.float32)[:, jnp.maximum(steps, 0)], -jnp.inf)


def at_one_scale(logits: Array, recency: Array, mask: Array) -> tuple[Array, Array, Array]:
    """w [B, heads, N, H], 0 at padding, and E [heads, T, H], over e^top, and that top [B, heads, N]."""
    masked = jnp.where(mask[:, None, None], logits.astype(jnp.float32), -jnp.inf)
    top, steepest = largest(masked), largest(recency.astype(jnp.float32))
    weights = jnp.exp(masked - top[..., None]).astype(logits.dtype)
    matrix = jnp.exp(recency_after(recency) - steepest[:, None, None]).astype(recency.dtype)
    return weights, matrix, top + steepest[:, None]


def one_scale_does(logits: Array, recency: Array, mask: Array) -> Array:
    """Whether no column lies further than REACH below the largest exponent: bool [].

    Every column that sees anything sees the first interaction, at one recency or another.
    """
    first = jnp.take_along_axis(logits, jnp.argmax(mask, axis=-1)[:, None, None, None], axis=-1)[..., 0]
    top = jnp.where(mask[:, None, None], logits, -jnp.inf).max(-1)
    below = top - first + jnp.ptp(recency, axis=-1)[:, None]  # [B, heads, N], -inf where all is masked
    return jnp.all(below < REACH)


def weights_after(t: Array, logits: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """a [B, heads, N, H] after column t."""
    with_recency = logits.astype(jnp.float32) + recency_after(recency)[:, t, None]
    return candidate_weights(with_recency, mask[:, None, None], smoothing)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def over_columns(
    at_once: Callable[..., Array],
    after: Callable[..., Array],
    smoothing: float,
    logits: Array,
    x: Array,
    recency: Array,
    mask: Array,
) -> Array:
    """at_once(logits, x, recency, mask, smoothing) [B, T, ...], or, where one scale does not do, column by column.

    Column t [B, ...] is after(t, logits, x, recency, mask, smoothing). The loops over columns, here and in the
    gradient, take no step in the usual case: a branch would cost it a tenth of a training step on a CPU.
    """
    return _forward(at_once, after, smoothing, logits, x, recency, mask)[0]


def _forward(at_once: Any, after: Any, smoothing: float, *inputs: Array) -> tuple[Array, Any]:
    *learnt, mask = inputs
    quick, back = jax.vjp(lambda *learnt: at_once(*learnt, mask, smoothing), *learnt)
    steps = jnp.where(one_scale_does(learnt[0], learnt[2], mask), 0, mask.shape[1])
    found = jax.lax.fori_loop(0, steps, lambda t, found: found.at[:, t].set(after(t, *inputs, smoothing)), quick)
    return found, (back, steps, inputs)


def _backward(at_once: Any, after: Any, smoothing: float, saved: Any, gradient: Array) -> tuple[Any, ...]:
    back, steps, (*learnt, mask) = saved

    def add(t: Array, total: Any) -> Any:
        back = jax.vjp(lambda *learnt: after(t, *learnt, mask, smoothing), *learnt)[1]
        return jax.tree.map(jnp.add, total, back(gradient[:, t]))

    start = back(jnp.where(steps > 0, 0.0, gradient))
    return *jax.lax.fori_loop(0, steps, add, start), None


over_columns.defvjp(_forward, _backward)


def causal_contributions(logits: Array, along: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Sum over heads and h of a_tnh x_nh: [B, T, N], float32, from logits and along (x), both [B, heads, N, H].

    recency [heads, H] and mask [B, H] as in the module's equation; T = H.
    """
    return over_columns(contributions_at_once, contributions_after, smoothing, logits, along, recency, mask)


def contributions_at_once(logits: Array, along: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Of all columns, [B, T, N]."""
    weights, matrix, top = at_one_scale(logits, recency, mask)
    upper = jnp.einsum("nth,bnkh->nbtk", matrix, weights * along)
    lower = power(jnp.einsum("nth,bnkh->nbtk", matrix, weights), smoothing)
    upper = rescale(upper, jnp.moveaxis(top, 1, 0)[:, :, None], smoothing)
    return sum(up / low for up, low in zip(upper, lower, strict=True))  # a sum over an axis of 2 would not vectorise


def contributions_after(t: Array, logits: Array, along: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Of column t, [B, N]."""
    return jnp.sum(weights_after(t, logits, recency, mask, smoothing) * along, axis=(1, 3))


def causal_mixtures(
    logits: Array, values: Array, recency: Array, mask: Array, smoothing: float, *, own_column: bool
) -> Array:
    """c_tn = concatenation over heads of sum over h of a_tnh v_h; logits [B, heads, N, H], values [B, H, heads, d].

    With `own_column`, candidate t is scored after column t alone: [B, T, D]; else every candidate after every column:
    [B, T, N, D].
    """
    if own_column:
        with_recency = logits.astype(jnp.float32) + recency_after(recency)
        weights = candidate_weights(with_recency, mask[:, None, None], smoothing).astype(values.dtype)
        mixed = jnp.einsum("bnth,bhnd->btnd", weights, values)
    else:
        mixed = over_columns(mixtures_at_once, mixtures_after, smoothing, logits, values, recency, mask)
    return mixed.reshape(*mixed.shape[:-2], -1)


def mixtures_at_once(logits: Array, values: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Of all columns, [B, T, N, heads, d]."""
    weights, matrix, top = at_one_scale(logits, recency, mask)
    mixed = jnp.einsum("nth,bnkh,bhnd->btknd", matrix, weights, values)
    lower = power(jnp.einsum("nth,bnkh->btkn", matrix, weights), smoothing)
    mixed = mixed / lower[..., None]
    return rescale(mixed, jnp.moveaxis(top, 1, 2)[:, None, ..., None], smoothing).astype(values.dtype)


def mixtures_after(t: Array, logits: Array, values: Array, recency: Array, mask: Array, smoothing: float) -> Array:
    """Of column t, [B, N, heads, d]."""
    weights = weights_after(t, logits, recency, mask, smoothing).astype(values.dtype)
    return jnp.einsum("bnkh,bhnd->bknd", weights, values)
