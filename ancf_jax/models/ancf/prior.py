"""The closed form that ANCF starts from: score(u, i) = asinh(I r_u B_i / 2), with r_u what u did and B solved for once.

r_u B_i is about the probability p of item i, and asinh(I p / 2) is close to log(I p) where that is well above 0, and
linear around it: what softmax makes of these scores is about p, and the order of the items is that of p.

Order-free, r_u is the 0/1 history and B is EASE's; order-aware, r_u has SLIT's weights of recency, and B is SLIT's.
It is an attention whose weights hang on the order alone, and whose values are solved for. Its weight in the score is
learnt, B is held.

A fit flatters what it was fitted to. So in training a user's scores come from the fit to the other half of the users
(odd or even), as a score in the test comes from one to all that has not seen what is held out.

It knows the most frequent items; those that it does not know have no score by it, and take their step in a history.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ancf_jax.devices.memory import check_memory
from ancf_jax.models.linear.ease import ease
from ancf_jax.models.linear.gram import gram
from ancf_jax.models.linear.slit import by_steps, recent, solved, sums
from ancf_jax.types import Array, ArrayLike, Data, Interactions


class Prior(NamedTuple):
    """The closed form's settings, and where it has each item."""

    ordered: bool
    weights: Array  # [H] of a history's interactions by steps back, order-aware
    size: int  # items that it knows, M
    users: int
    l2: float
    place: ArrayLike  # [I + 1] int32; M for an item that it does not know, and for padding

    def fit(self, train: Interactions, place: ArrayLike) -> Array:
        """B of all users, of the odd ones and of the even ones: [3, M + 1, M + 1] float32.

        The last row and column, of items that it does not know, are zero.
        """
        place = jnp.asarray(place)
        even, odd = (self._sums(train, place, jnp.arange(self.users) % 2 == half) for half in (0, 1))
        every = tuple(map(jnp.add, even, odd))
        return jnp.stack([jnp.pad(self._solved(*sums), ((0, 1), (0, 1))) for sums in (every, odd, even)])

    def _sums(self, train: Interactions, place: Array, counted: Array) -> tuple[Array, ...]:
        if self.ordered:
            return sums(train, place, self.size, self.weights, counted)
        return (gram(train, self.users, len(place) - 1, jnp.argsort(place)[: self.size], counted),)

    def _solved(self, g: Array, c: Array | None = None) -> Array:
        return ease(g, self.l2) if c is None else solved(g, c, self.l2)

    def of_history(self, b: Array, place: ArrayLike, history: Array) -> Array:
        """Scores [B, I] of all items after histories [B, H]."""
        place = jnp.asarray(place)
        weights = self.weights if self.ordered else jnp.ones(history.shape[1])
        found = recent(place[history], weights, self.size) @ b[0, : self.size]  # [B, M + 1]
        return self.log_like(found)[:, place[:-1]]

    def of_batch(
        self, b: Array, place: ArrayLike, users: Array, history: Array, targets: Array, negatives: Array
    ) -> tuple[Array, Array]:
        """Scores of targets [B, P] and negatives [B, N] in training: [B, P] and [B, P, N], or [B, 1, N] order-free.

        Order-aware, target p and the negatives beside it follow the history up to column p; order-free, all of it.
        """
        place = jnp.asarray(place)
        half = (1 + users % 2)[:, None, None]  # fitted without the user
        past, own, other = (place[ids] for ids in (history, targets, negatives))
        if not self.ordered:
            rows, past = jnp.where(past < self.size, 1.0, 0.0), past[:, :, None]
            ours, theirs = (jnp.einsum("bh,bhk->bk", rows, b[half, past, ids[:, None]]) for ids in (own, other))
            return self.log_like(ours), self.log_like(theirs)[:, None]
        steps = jnp.arange(len(self.weights))
        back = steps[:, None] - steps[None]  # p - h
        matrix = jnp.where(back >= 0, self.weights[jnp.maximum(back, 0)], 0.0)  # [P, H]
        ours = jnp.einsum("ph,bhp->bp", matrix, b[half, past[:, :, None], own[:, None]])
        theirs = jnp.einsum("ph,bhn->bpn", matrix, b[half, past[:, :, None], other[:, None]])
        return self.log_like(ours), self.log_like(theirs)

    def log_like(self, p: Array) -> Array:
        """asinh(I p / 2)."""
        return jnp.arcsinh((len(self.place) - 1) / 2 * p)


def make(config: Any, data: Data) -> Prior:
    """The closed form of ANCF's settings (ancf.Config). Raises InputError where its matrices do not fit in memory."""
    size = min(config.prior_items, data.num_items)
    check_memory("ancf", 10 * 4 * size**2, f"the closed form's ten arrays, {size} x {size} (--prior_items),")
    often = np.bincount(data.train.items, minlength=data.num_items)
    place = np.full(data.num_items + 1, size, np.int32)
    place[np.argsort(-often, kind="stable")[:size]] = np.arange(size)
    weights = by_steps(config.history, config.prior_slope)
    return Prior(config.ordered, weights, size, data.num_users, config.prior_l2, place)
