"""Blocks that two or more models use: tables, the NCF tower, recurrence over a history, products."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.nn.bits import kept
from ancf_jax.types import Array, Given, Params, Query

CACHE = 1 << 20  # floats that one core's cache holds: wider blocks of pairs took three times as long on a CPU
DEVICE = 1 << 24  # floats that keep an accelerator busy


def table(key: Array, rows: int, width: int, stddev: float) -> Array:
    """An embedding table [rows + 1, width], N(0, stddev^2), whose last row (padding, or the unknown user) is zero."""
    return jnp.pad(stddev * jax.random.normal(key, (rows, width)), ((0, 1), (0, 0)))


def unit_rows(rows: Array) -> Array:
    """The rows [..., D] at length 1; rows of zeros stay."""
    squares = jnp.sum(jnp.square(rows.astype(jnp.float32)), axis=-1, keepdims=True)
    return (rows / jnp.sqrt(jnp.where(squares > 0, squares, 1))).astype(rows.dtype)


class Dropout(nn.Module):
    """Inverted dropout: x / (1 - rate) with probability 1 - rate, else 0."""

    rate: float

    @nn.compact
    def __call__(self, x: Array, deterministic: bool = True) -> Array:
        if deterministic or self.rate == 0.0:
            return x
        return jnp.where(kept(self.make_rng("dropout"), x.shape, self.rate), x / (1.0 - self.rate), 0.0)


class Product(NamedTuple):
    """A part of a tower's input after its product with the first layer."""

    values: Array  # [..., W_1]


def tower_input(weights: Mapping[str, Any], k: int, part: Array) -> Product:
    """W_1k x_k of part k [..., d_k] of the input of the tower with these weights, plus b_1 if it is the first part."""
    layer = weights[f"input_{k}"]
    return Product(part @ layer["kernel"] + layer.get("bias", 0.0))


def by_rows(f: Callable[[Array], Array], x: Array) -> Array:
    """f of the rows of x [..., D] as one matrix [n, D], a row or a number for each.

    Of a product with more axes XLA transposes and copies its gradient: in NeuMF's step that took a third of the time.
    """
    found = f(x.reshape(-1, x.shape[-1]))
    return found.reshape(*x.shape[:-1], *found.shape[1:])


class Tower(nn.Module):
    """Fully connected layers with ReLU over the concatenation of parts: relu(W_n ... relu(sum_k W_1k x_k + b_1)).

    The parts [..., d_k] need only broadcast: a user part [B, 1, d] and an item part [1, I, d] meet after the first
    matrix product, which is therefore computed once per user and once per item, not once per pair; and once and for
    all where a part comes as what `tower_input` has made of it.
    """

    widths: Sequence[int]
    dropout: float = 0.0

    @nn.compact
    def __call__(self, parts: Sequence[Array | Product], deterministic: bool = True) -> Array:
        fan_in = sum(part.shape[-1] for part in parts if not isinstance(part, Product))
        inputs = []
        for k, part in enumerate(parts):
            if isinstance(part, Product):
                inputs.append(part.values)
                continue
            scale = part.shape[-1] / fan_in  # variance of one dense layer over the concatenation
            init = nn.initializers.variance_scaling(2.0 * scale, "fan_in", "truncated_normal")
            layer = nn.Dense(self.widths[0], use_bias=k == 0, kernel_init=init, name=f"input_{k}")
            inputs.append(by_rows(layer, part))
        hidden = nn.relu(sum(inputs[1:], inputs[0]))
        for n, width in enumerate(self.widths[1:], start=1):
            hidden = Dropout(self.dropout)(hidden, deterministic=deterministic)
            layer = nn.Dense(width, kernel_init=nn.initializers.he_normal(), name=f"layer_{n}")
            hidden = nn.relu(by_rows(layer, hidden))
        return hidden


class Recurrence(nn.Module):
    """Recurrent layers over a history [B, H, D], with dropout before and after each: states [B, H, D] of the last one.

        gru:   r, z = sigmoid(W x + U h + b);  n = tanh(W_n x + r * U_n h + b_n);  h <- (1 - z) h + z n
        lstm:  f, g, o = sigmoid(W x + U h + b);  n = tanh(W_n x + U_n h + b_n);  c <- f c + g n;  h <- o tanh(c)

    Where `mask` [B, H] is False, at padding, the state stays as it is. With `last`, the state of the last column alone,
    [B, 1, D]. Sources: Cho et al., Learning Phrase
    Representations using RNN Encoder-Decoder, 2014; Hochreiter & Schmidhuber, Long Short-Term Memory, 1997, with the
    forget gate of Gers et al., 2000.
    """

    layers: int
    cell: str
    dropout: float

    @nn.compact
    def __call__(self, x: Array, mask: Array, deterministic: bool = True, last: bool = False) -> Array:
        x = Dropout(self.dropout)(x, deterministic=deterministic)
        for n in range(self.layers):
            x = RecurrentLayer(self.cell, name=f"layer_{n}")(x, mask)
            x = Dropout(self.dropout)(x, deterministic=deterministic)
        return x[:, -1:] if last else x


class RecurrentLayer(nn.Module):
    """One layer of `Recurrence`, without dropout."""

    cell: str

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        batch, _, width = x.shape
        gates = 3 if self.cell == "gru" else 4
        inputs = nn.Dense(gates * width, name="input")(x)  # of all steps at once: only U h must wait for its turn
        recurrent = self.param("recurrent_kernel", nn.initializers.lecun_normal(), (width, gates * width))
        step = gru if self.cell == "gru" else lstm

        def advance(state: tuple[Array, ...], column: tuple[Array, Array]) -> tuple[tuple[Array, ...], Array]:
            inputs, present = column
            following = step(inputs, state[0] @ recurrent, *state)
            state = tuple(jnp.where(present[:, None], new, old) for new, old in zip(following, state, strict=True))
            return state, state[0]

        start = (jnp.zeros((batch, width), x.dtype),) * (gates - 2)
        _, states = jax.lax.scan(advance, start, (inputs.swapaxes(0, 1), mask.T))
        return states.swapaxes(0, 1)


def gru(inputs: Array, recurrent: Array, h: Array) -> tuple[Array]:
    """The next (h,) [B, D], from the products W x + b and U h [B, 3 D]."""
    reset, update = jnp.split(nn.sigmoid(inputs[:, : -h.shape[1]] + recurrent[:, : -h.shape[1]]), 2, axis=1)
    new = jnp.tanh(inputs[:, -h.shape[1] :] + reset * recurrent[:, -h.shape[1] :])
    return (h + update * (new - h),)


def lstm(inputs: Array, recurrent: Array, h: Array, c: Array) -> tuple[Array, Array]:
    """The next (h, c) [B, D], from the products W x + b and U h [B, 4 D]."""
    forget, write, output, new = jnp.split(inputs + recurrent, 4, axis=1)
    c = nn.sigmoid(forget) * c + nn.sigmoid(write) * jnp.tanh(new)
    return nn.sigmoid(output) * jnp.tanh(c), c


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def wide_product(form: str, a: Array, b: Array) -> Array:
    """einsum(form, a, b) in float32, for the last product of a score; its gradients are taken in the operands' type."""
    return jnp.einsum(form, a, b, preferred_element_type=jnp.float32)


@wide_product.defjvp
def _wide_product_jvp(form: str, primals: Any, tangents: Any) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    return wide_product(form, a, b), (jnp.einsum(form, da, b) + jnp.einsum(form, a, db)).astype(jnp.float32)


def inner(user: Array, item: Array) -> Array:
    """<user_b, item_i> [B, I] of vectors [B, D] and [I, D], or [B, K] of the items' vectors [B, K, D].

    In float32 with all of its digits, whatever the type of the vectors: rounded scores would tie many items.
    """
    form = "bd,id->bi" if item.ndim == 2 else "bd,bkd->bk"
    return jnp.einsum(form, user, item, preferred_element_type=jnp.float32, precision="highest")


def inner_products(embed: Callable[[Any, Query], tuple[Array, Array]]) -> Callable[..., Array]:
    """The `score` of a recommender by what it embeds: <user_b, item_i> for all items, [B, I], or for `items` [B, K]."""

    def score(ready: Any, query: Query, items: Array | None = None) -> Array:
        user, item = embed(ready, query)  # [B, D], [I, D]
        return inner(user, item if items is None else item[items])

    return score


def with_one(states: Array) -> Array:
    """States [..., D] with a 1 [..., D + 1] that multiplies a bias."""
    return jnp.concatenate([states, jnp.ones((*states.shape[:-1], 1), states.dtype)], axis=-1)


def with_vectors(params: Params, *columns: Array) -> Params:
    """The parameters with a table `vectors` [I, D], the columns [I + 1, d] side by side without their padding.

    Put together once, before scoring: to cut a table copies it, which took as long as the scores of one user.
    """
    return {**params, "tables": {**params["tables"], "vectors": jnp.concatenate([c[:-1] for c in columns], axis=1)}}


def item_vectors(params: Params, given: Given) -> Params:
    """The `prepare` of a model whose table of items holds their vectors."""
    return with_vectors(params, params["tables"]["item"])


def bias_as_factor(params: Params, given: Given, *, item: str = "item", bias: str = "item_bias") -> Params:
    """The `prepare` of a model whose item biases are one more factor of the items' vectors, for `with_one` states."""
    return with_vectors(params, params["tables"][item], params["tables"][bias])


def rows_of(tables: Mapping[str, Any], side: str, ids: Array) -> dict[str, Array]:
    """What a score reads of some users or items: the rows of every table of that side, but for those of histories."""
    chosen = {name: rows for name, rows in tables.items() if name.startswith(side) and name != "item_history"}
    return jax.tree.map(lambda rows: rows[ids], chosen)


def items_at_once(floats: int) -> int:
    """How many items make a block of which each needs `floats` numbers: as many as compute fastest, at least 1."""
    return max((CACHE if jax.default_backend() == "cpu" else DEVICE) // floats, 1)


def over_items(score: Callable[[Array], Array], items: Array, block: int) -> Array:
    """Scores [B, K] of `items` [..., K] from score: items [..., k] -> [B, k], called on one block after another."""
    count = items.shape[-1]
    if count <= block:
        return score(items)

    def fill(n: Array, scores: Array) -> Array:
        start = jnp.minimum(n * block, count - block)  # the last block overlaps the one before
        part = score(jax.lax.dynamic_slice_in_dim(items, start, block, axis=-1))
        return jax.lax.dynamic_update_slice_in_dim(scores, part, start, axis=1)

    part = jax.eval_shape(score, items[..., :block])
    return jax.lax.fori_loop(0, -(-count // block), fill, jnp.zeros((part.shape[0], count), part.dtype))


def multi_hot(history: Array, num_items: int) -> Array:
    """The items of each history [B, H] as a 0/1 row [B, I]; padding I is dropped."""
    rows = jnp.arange(history.shape[0])[:, None]
    return jnp.zeros((history.shape[0], num_items)).at[rows, history].set(1.0, mode="drop")


def counted(history: Array, num_items: int) -> Array:
    """Which columns of each history [B, H] are the latest of an item, bool [B, H]: what `multi_hot` sees once."""
    rows, columns = jnp.arange(history.shape[0])[:, None], jnp.arange(history.shape[1])
    last = jnp.zeros((history.shape[0], num_items + 1), int).at[rows, history].max(columns)
    return (history < num_items) & (last[rows, history] == columns)
