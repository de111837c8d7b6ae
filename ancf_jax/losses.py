"""Losses of a positive against its negatives, each `[...] x [..., N] -> [...]`: one loss per positive.

A row of negatives may be sampled (N of I items) or be the whole catalogue, the positive among them.
"""

import jax
import jax.numpy as jnp

from ancf_jax.types import Array

SAMPLED_LOSSES = ("bce", "bpr", "sampled_softmax")
PAIR_LOSSES = (*SAMPLED_LOSSES, "full_softmax")


def bce(positive: Array, negatives: Array, ratio: float) -> Array:
    """Binary cross-entropy: softplus(-s+) + ratio * mean_n softplus(s-_n).

    `ratio` is the weight of the negatives per positive: N for plain sums over sampled pairs (He et al., Neural
    Collaborative Filtering, 2017).

    >>> bool(jnp.allclose(bce(jnp.zeros(()), jnp.zeros(4), 4.0), 5 * jnp.log(2.0)))
    True
    """
    return jax.nn.softplus(-positive) + ratio * jnp.mean(jax.nn.softplus(negatives), axis=-1)


def bpr(positive: Array, negatives: Array) -> Array:
    """Bayesian personalised ranking: mean_n softplus(s-_n - s+) (Rendle et al., BPR, 2009)."""
    return jnp.mean(jax.nn.softplus(negatives - positive[..., None]), axis=-1)


def sampled_softmax(positive: Array, negatives: Array, num_items: int) -> Array:
    """-s+ + log(e^s+ + (I - 1) / N * sum_n e^s-_n): uniform negatives stand for all the others.

    The factor is the log-q correction of uniform sampling (Bengio & Senecal, Adaptive Importance Sampling, 2008), so
    the loss estimates the full softmax.
    """
    shift = jnp.log((num_items - 1) / negatives.shape[-1])
    return jnp.logaddexp(positive, jax.nn.logsumexp(negatives, axis=-1) + shift) - positive


def full_softmax(positive: Array, scores: Array) -> Array:
    """-s+ + log sum_i e^s_i over scores [..., I] of the whole catalogue, the positive among them."""
    return jax.nn.logsumexp(scores, axis=-1) - positive


def pair_loss(name: str, positive: Array, negatives: Array, *, num_items: int, ratio: float) -> Array:
    """The loss called `name`, one of PAIR_LOSSES, in float32; a negative of -inf counts as absent."""
    positive, negatives = positive.astype(jnp.float32), negatives.astype(jnp.float32)
    if name == "bce":
        return bce(positive, negatives, ratio)
    if name == "bpr":
        return bpr(positive, negatives)
    if name == "sampled_softmax":
        return sampled_softmax(positive, negatives, num_items)
    return full_softmax(positive, negatives)


def masked_mean(values: Array, mask: Array) -> tuple[Array, dict[str, Array]]:
    """The mean of values where mask, and the sums to log: {'loss': sum, 'count': number}; in float32."""
    total = jnp.sum(jnp.where(mask, values.astype(jnp.float32), 0.0))
    count = jnp.sum(mask)
    return total / jnp.maximum(count, 1), {"loss": total, "count": count}
