"""The closed form that ANCF starts from: score(u, i) = asinh(r_u B_i / 2b), with r_u what u did and B solved for once.

Order-free, r_u is the 0/1 history, B is EASE's and b the share of pairs of user and item that interacted; order-aware,
r_u has SLIT's weights of recency, B is SLIT's and b = 1 / I. So p = r_u B_i is about the probability that u did i, or
does it next, and b is its mean. asinh(p / 2b) is close to log(p / b) where p is well above b and linear below, where p
is mostly noise: what softmax makes of these scores is about p, and the order of the items is that of p.
It is an attention whose weights hang on the order alone, and whose values are solved for. Its weight in the score is
learnt if `joint`, B is held. EASE has its two exponents here too, see linear/ease.py.

SLIT of a set, order-free (`prior_next`): B is solved for from what came next after each set of interactions before, and
all of a history that is read counts alike, n^-1/2 where n are read in the mean. So what it says of a user hangs on no
order, but what it learnt does.

Attention to what says most of a candidate (`prior_power`): a weight w of B counts as w |w|^(power - 1), so above 1 few
strong links outweigh many weak ones (case amplification; J. Breese, D. Heckerman, C. Kadie, Empirical Analysis of
Predictive Algorithms for Collaborative Filtering, 1998). The scores of frequent items may be discounted, by
(f_i / mean f)^-discount: the penalty takes more from rare items than from them. Both keep the sum of |B|.

A fit flatters what it was fitted to, and a score in the test comes from one that has not seen what is held out. So in
training, order-aware, a window is scored as by a fit without it; order-free, targets are scored as by a fit to which
the user did all else. With P = (G + L)^-1 that is

    SLIT: Z - (I - R P R^T)^-1 (Z - R B) in place of R B, where R holds the window's rows r_t and Z its targets
    EASE: B by P - P U (C + U^T P U)^-1 U^T P in place of P, with U = [x, x'], C = diag(-1 / w, 1 / w), where x is all
          that the user did, x' that without the targets, and w the user's weight

(residuals of least squares without some of the rows; M. Woodbury, Inverting Modified Matrices, 1950). The first is
exact but for what a row r_t has from before the window.

It knows the most frequent items; those that it does not know have no score by it, and take their step in a history.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ancf_jax.data.interactions import longest
from ancf_jax.data.samplers import take_window
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.linear.ease import exactly, penalised, without_itself
from ancf_jax.models.linear.gram import gram, user_weights
from ancf_jax.models.linear.slit import after, by_steps, recent, sums
from ancf_jax.nn.layers import counted
from ancf_jax.types import Array, ArrayLike, Data, Interactions


class Known(NamedTuple):
    """What it knows of items and users."""

    place: ArrayLike  # [I + 1] int32 where it has each item; M for one that it does not know, and for padding
    weights: ArrayLike  # [U] w_u in EASE


class Prior(NamedTuple):
    """The closed form's settings, and what it is solved from."""

    is_slit: bool  # else it is EASE
    weights: Array  # [H] in SLIT, of a history's interactions by steps back
    size: int  # items that it knows, M
    l2: float
    exponent: float  # of EASE's penalties
    power: float  # of B's weights
    discount: float  # of frequent items
    mean: float  # b
    longest: int  # interactions that one user has
    known: Known

    def fit(self, train: Interactions, known: Known) -> dict[str, Array]:
        """P and B [M + 1, M + 1]; the last row and column, of items that it does not know, are zero."""
        place = jnp.asarray(known.place)
        if self.is_slit:
            p, b = _solved(*sums(train, place, self.size, self.weights), self.l2)
        else:
            g = gram(train, len(known.weights), len(place) - 1, jnp.argsort(place)[: self.size], known.weights)
            p = penalised(g, self.l2, self.exponent)
            b = without_itself(p)
        if self.power != 1 or self.discount:
            b = sharpened(b, jnp.bincount(place[train.items], length=self.size + 1)[:-1], self.power, self.discount)
        return {"inverse": jnp.pad(p, ((0, 1), (0, 1))), "weights": jnp.pad(b, ((0, 1), (0, 1)))}

    def ready(self, held: dict[str, Array], known: Known) -> tuple[Array, ArrayLike]:
        """What scores need of what was fitted: B and `place`."""
        return held["weights"], known.place

    def of_history(self, ready: tuple[Array, ArrayLike], history: Array) -> Array:
        """Scores [B, I] of all items after histories [B, H]."""
        b, place = ready[0], jnp.asarray(ready[1])
        history = history[:, -len(self.weights) :] if self.is_slit else history
        weights = self.weights[: history.shape[1]] if self.is_slit else jnp.ones(history.shape[1])
        return log_like(after(self._read(place[history]), weights, b)[:, place[:-1]], self.mean)

    def contribute(self, ready: tuple[Array, ArrayLike], history: Array, items: Array) -> Array:
        """The scores of items [B, K] after histories [B, H], shared out over these."""
        b, place = ready[0], jnp.asarray(ready[1])
        weights = jnp.pad(self.weights, (0, history.shape[1]))[: history.shape[1]][::-1] if self.is_slit else 1.0
        return shares(weights * b[self._read(place[history])[:, None], place[items][:, :, None]], self.mean)

    def falls(self, ready: tuple[Array, ArrayLike], history: Array, items: Array) -> Array:
        """Order-free, what the scores of items [B, K] lose without each item of histories [B, H]: [B, K, H]."""
        b, place = ready[0], jnp.asarray(ready[1])
        past = place[history]
        each = b[past[:, None], place[items][:, :, None]]
        total = jnp.sum(each * counted(past, self.size)[:, None], axis=2, keepdims=True)
        return log_like(total, self.mean) - log_like(total - each, self.mean)

    def _read(self, ids: Array) -> Array:
        """What a history's ids [B, H] at their places count for: order-free, the second time of an item is nothing."""
        return ids if self.is_slit else jnp.where(counted(ids, self.size), ids, self.size)

    def of_batch(
        self,
        held: dict[str, Array],
        known: Known,
        train: Interactions,
        users: Array,
        history: Array,
        targets: Array,
        negatives: Array,
    ) -> tuple[Array, Array]:
        """Scores of targets [B, P] and negatives [B, N] in training: [B, P] and [B, P, N], or [B, 1, N] order-free.

        Order-aware, target p and the negatives beside it follow the history up to column p; order-free, all of it.
        """
        place = jnp.asarray(known.place)
        read = tuple(place[ids] for ids in (history, targets, negatives))
        if self.is_slit:
            found = self._after(held, *read)
        else:
            ends = jnp.asarray(train.offsets)[users + 1]
            whole, _ = take_window(train, users, ends, self.longest, len(place) - 1)
            found = self._without(
                held["inverse"], jnp.asarray(known.weights)[users], self._read(place[whole]), *read[1:]
            )
        return log_like(found[0], self.mean), log_like(found[1], self.mean)

    def _after(self, held: dict[str, Array], past: Array, own: Array, other: Array) -> tuple[Array, Array]:
        steps = jnp.arange(past.shape[1])
        back = steps[:, None] - steps[None]  # p - h
        rows = jnp.where(back >= 0, self.weights[jnp.maximum(back, 0)], 0.0)  # R but for the items, [P, H]
        ids = jnp.concatenate([own, other], axis=1)  # [B, P + N]
        met = (own[:, :, None] == ids[:, None]) & (own < self.size)[:, :, None]  # Z [B, P, P + N]
        missing = met - jnp.einsum("ph,bhk->bpk", rows, held["weights"][past[:, :, None], ids[:, None]])
        between = held["inverse"][past[:, :, None], past[:, None]]  # [B, H, H]
        hat = jnp.einsum("ph,bhg,qg->bpq", rows, between, rows)
        found = met - jnp.linalg.inv(jnp.eye(len(steps)) - hat) @ missing
        return jnp.diagonal(found[:, :, : own.shape[1]], axis1=1, axis2=2), found[:, :, own.shape[1] :]

    def _without(self, p: Array, weight: Array, whole: Array, own: Array, other: Array) -> tuple[Array, Array]:
        ids = jnp.concatenate([own, other], axis=1)  # [B, K]
        rest = jnp.where((whole[:, :, None] == own[:, None]).any(2), self.size, whole)
        of_all = recent(whole, jnp.ones(whole.shape[1]), self.size) @ p[: self.size]
        along = of_all, of_all - p[self._read(own)].sum(1)  # P x and P x' [B, M + 1]

        def at(places: Array) -> Array:
            return jnp.stack([jnp.take_along_axis(each, places, axis=1) for each in along], axis=-1)

        met = jnp.stack([at(row).sum(1) for row in (whole, rest)], axis=1)  # U^T P U [B, 2, 2]
        inner = jnp.linalg.inv(met + jnp.array([[-1.0, 0.0], [0.0, 1.0]]) / weight[:, None, None])
        of_ids = at(ids)  # [B, K, 2]
        less = of_ids @ inner  # [B, K, 2]
        cross = of_ids[..., 1] - jnp.einsum("bkc,bc->bk", less, met[:, :, 1])
        itself = jnp.where(ids < self.size, p[ids, ids] - jnp.sum(less * of_ids, axis=-1), 1.0)
        found = -cross / itself
        return found[:, : own.shape[1]], found[:, None, own.shape[1] :]


def sharpened(b: Array, frequency: Array, power: float, discount: float) -> Array:
    """c w |w|^(power - 1) (f_i / mean f)^-discount of weights w [M, M] for items i, where c keeps the sum of |w|."""
    often = jnp.maximum(frequency, 1) / jnp.maximum(frequency.mean(), 1)
    found = jnp.sign(b) * jnp.abs(b) ** power * often**-discount
    return found * (jnp.abs(b).sum() / jnp.maximum(jnp.abs(found).sum(), jnp.finfo(b.dtype).tiny))


def log_like(p: Array, mean: float) -> Array:
    """asinh(p / 2b)."""
    return jnp.arcsinh(p / (2 * mean))


def shares(each: Array, mean: float) -> Array:
    """log_like of the sums over the last axis, shared out over it as these sums are."""
    total = each.sum(axis=-1, keepdims=True)
    slope = jnp.where(total == 0, 0.5 / mean, log_like(total, mean) / jnp.where(total == 0, 1, total))
    return each * slope


@exactly
def _solved(g: Array, c: Array, l2: float) -> tuple[Array, Array]:
    p = penalised(g, l2, 0.0)
    return p, p @ c


def make(config: Any, data: Data, *, is_slit: bool | None = None) -> Prior:
    """The closed form of ANCF's settings (ancf.Config): SLIT or EASE, by default the one that they say.

    Raises InputError where its matrices do not fit in memory.
    """
    is_slit = bool(config.ordered or config.prior_next) if is_slit is None else is_slit
    size = min(config.prior_items, data.num_items)
    check_memory("ancf", 6 * 4 * size**2, f"the closed form's six arrays, {size} x {size} (--prior_items),")
    often = np.bincount(data.train.items, minlength=data.num_items)
    place = np.full(data.num_items + 1, size, np.int32)
    place[np.argsort(-often, kind="stable")[:size]] = np.arange(size)
    weights = by_steps(config.history, config.prior_slope) if config.ordered else alike(config, data)
    mean = (1 if is_slit else len(data.train.items) / data.num_users) / data.num_items
    known = Known(place, user_weights(data.train, config.prior_activity))
    penalty = config.prior_l2, config.prior_exponent, config.prior_power, config.prior_discount
    return Prior(is_slit, weights, size, *penalty, mean, longest(data.train), known)


def alike(config: Any, data: Data) -> Array:
    """The weights of a set's interactions, [H] or as many as a user has: rows r_t have the length 1, or about."""
    read = config.history if config.latest else max(longest(data.train), 1)
    counts = np.minimum(np.diff(data.train.offsets), read)
    return jnp.full(read, max(counts.mean(), 1) ** -0.5)
