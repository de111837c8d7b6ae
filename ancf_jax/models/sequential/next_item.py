"""What models share that predict the next item after each column of a window, in one pass over it.

A training row is a window of one user's interactions: states [B, H, D] of its columns, of which column p has seen
j_1..j_p alone, are held against the item that came next.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.samplers import lengths_of, next_items, shared_negatives
from ancf_jax.nn.layers import Dropout, inner_products, item_vectors, table, wide_product
from ancf_jax.nn.losses import catalogue_softmax, masked_mean, pair_loss
from ancf_jax.types import Array, Given, Gradient, Params, Query, Recommender

TOKENS = 8192  # columns of all windows in a step
SOFTMAX_LOSSES = ("sampled_softmax", "full_softmax")


class Batch(NamedTuple):
    """Windows of one user each: target p follows the history up to column p."""

    history: Array  # [B, H]
    targets: Array  # [B, H], padded with I
    negatives: Array  # [B, N] of all targets, [B, H] of each of them, or [B, 0]
    absent: Array  # of the same shape, bool: a negative that the user has in training, not to be counted


class Net(nn.Module):
    """Everything but the table: rows [B, H, D] of the history in, states [B, H, D] out.

    encoder(dropout(sqrt(D) row_h + position_h)), of which `encoder` makes the module: x, mask [B, H] -> states. Fewer
    rows than `length` are the latest. With `last`, the state of the last column alone is computed, [B, 1, D].
    """

    length: int
    encoder: Callable[[], nn.Module]
    dropout: float
    stddev: float

    @nn.compact
    def __call__(self, rows: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        position = self.param("position", nn.initializers.normal(self.stddev), (self.length, rows.shape[-1]))
        position = position[self.length - rows.shape[1] :]
        x = Dropout(self.dropout)(rows * rows.shape[-1] ** 0.5 + position, deterministic=deterministic)
        return self.encoder()(x, mask, deterministic=deterministic, last=last)


def table_and_net(net: nn.Module, num_items: int, length: int, width: int, stddev: float) -> Callable[..., Params]:
    """The `init` of a table of items [I + 1, D] and a net over histories of `length`."""

    def init(key: Array, given: Given) -> Params:
        item, rest = jax.random.split(key)
        variables = net.init(rest, jnp.zeros((1, length, width)), jnp.ones((1, length), bool))
        return {"tables": {"item": table(item, num_items, width, stddev)}, "net": variables["params"]}

    return init


def sampler(length: int, num_items: int, count: int) -> Callable[[Array, Given, Array], Batch]:
    """The `sample` of windows of `length` whose columns share `count` uniform negatives."""

    def sample(key: Array, given: Given, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        users, ends = given.own.at(index)
        history, targets = next_items(pick, given.train, users, ends, length, num_items)
        return Batch(history, targets, *shared_negatives(draw, given.train, users, count, num_items))

    return sample


def states_of(net: nn.Module, params: Params, history: Array, key: Array | None = None) -> Array:
    """With a key, in training, the states [B, H, D] of histories [B, H]; without, the latest of each, [B, 1, D]."""
    item = params["tables"]["item"]
    mode: dict[str, Any] = {"last": True} if key is None else {"deterministic": False, "rngs": {"dropout": key}}
    return net.apply({"params": params["net"]}, item[history], history < item.shape[0] - 1, **mode)


def window_scores(
    states: Array, item: Array, batch: Batch, vectors: Callable[[Array], Array] = lambda rows: rows
) -> tuple[Array, Array]:
    """<state_p, vector_i> of every column's target [B, H] and of the window's N negatives [B, H, N], -inf where absent.

    `vectors` makes an item's vector of its row in the table `item`.
    """
    positive = jnp.sum(states * vectors(item[batch.targets]), -1, dtype=jnp.float32)
    negative = wide_product("bhd,bnd->bhn", states, vectors(item[batch.negatives]))
    return positive, jnp.where(batch.absent[:, None], -jnp.inf, negative)


def window_softmax(
    states: Array, item: Array, batch: Batch, vectors: Callable[[Array], Array] = lambda rows: rows
) -> tuple[Array, dict[str, Array]]:
    """The mean loss of the targets by a softmax over the window's negatives, or over the catalogue if it has none."""
    num_items, counted = item.shape[0] - 1, batch.targets < item.shape[0] - 1
    positive, negative = window_scores(states, item, batch, vectors)
    if not batch.negatives.shape[1]:
        return catalogue_softmax(states, vectors(item[:num_items]), positive, counted)
    return masked_mean(pair_loss("sampled_softmax", positive, negative, num_items=num_items, ratio=1.0), counted)


def over_next_items(
    given: Given,
    length: int,
    net: nn.Module,
    init: Callable[[Array, Given], Params],
    sample: Callable[[Array, Given, Array], Any],
    loss: Callable[[Params, Given, Any, Array], tuple[Array, dict[str, Array]]],
    *,
    prepare: Callable[[Params, Given], Any] = item_vectors,
    extend: Callable[[Array], Array] = lambda state: state,
    columns: tuple[str, ...] = ("history", "targets"),
) -> Recommender:
    """The recommender whose score is <extend(state of the last column), vector_i>, of the table `vectors` by `prepare`.

    `columns` are the parts of a batch that are as wide as the history.
    """

    def embed(ready: Any, query: Query) -> tuple[Array, Array]:
        state = states_of(net, ready, query.history)[:, -1]
        return extend(state), ready["tables"]["vectors"]

    def narrow(batch: Any, width: int) -> Any:
        return batch._replace(**{name: getattr(batch, name)[:, -width:] for name in columns})

    # A window's first interaction is in no history that has a target, unless the window is full.
    lengths = np.minimum(np.maximum(lengths_of(given.own, given.train, length + 1, shifted=True) - 1, 1), length)
    learn = Gradient(len(lengths), init, sample, loss, max(TOKENS // length, 1), lengths=lengths, narrow=narrow)
    return Recommender(learn, given, length, prepare, inner_products(embed), embed, order="yes", narrow=length)
