"""The reasons behind recommendations: the past items that speak for each, for any model.

What a reason is depends on what the model offers, and is said in words with it: what a past item adds to the score, by
the model's own account; the attention it paid; the fall of the score when a past item is taken out of
the history; or, for a model that reads no history, likeness alone.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.devices.memory import available
from ancf_jax.nn.removal import leave_one_out
from ancf_jax.types import Array, InputError, Query, Recommender

CONTRIBUTION = "what the past item adds to the score"
ATTENTION = "share of the model's attention that the past item has, averaged over heads"
REMOVAL = "fall of the score when the past item is taken out of the history"
SIMILARITY = "cosine of the two items' vectors: the past item is similar, which does not make it a cause"
NOTHING = "this model has no reasons to give"

ROUNDING = 1e-5  # falls below this part of the score are no more than rounding


class Reasons(NamedTuple):
    """The past items behind each recommended item, strongest first. Weights are 0 at padding, and positive unless asked
    for with their signs."""

    method: str  # what a weight is: CONTRIBUTION, ATTENTION, REMOVAL, SIMILARITY or NOTHING
    items: Array  # [B, K, n], padded with I on the right
    weights: Array  # [B, K, n]
    heads: Array  # [B, K, n, heads]: the weights of each attention head; otherwise the weights again, heads = 1


Weigh = Callable[..., Array]  # model, num_items, ready, query, items [B, K], seen [B, S] -> [B, K, heads, I]


def make_explainer(
    model: Recommender, num_users: int, num_items: int, count: int, *, signed: bool = False
) -> Callable[..., Reasons]:
    """Make explain(ready, query, items, seen) -> Reasons, jitted: up to `count` reasons for each item [B, K].

    An item that occurs several times in a history is one reason. `seen` [B, S] holds all past items, for models that
    read no history; `items` and `seen` are padded with I. Raises InputError where the weights would not fit the memory.
    By what `model` offers, the weight of a past item j is

        contribute  c_j, the occurrences of j added up, as for a new user
        attend      share_j = mean over heads of a_j / (sum over past items of a), the occurrences of j added up
        history     fall_j = s(item | history) - s(item | history without j), as for a new user:
                    a model may score the users it was trained on by a row of their own, whatever their history
        embed       cosine(v_item, v_j) of the item vectors, their mean subtracted

    Reasons speak for an item: their weights are positive. With `signed`, what speaks against it is among them.
    """
    method, weigh = _method(model)

    @jax.jit
    def strongest(ready: Any, query: Query, items: Array, seen: Array) -> tuple[Array, Array, Array]:
        if method in (CONTRIBUTION, REMOVAL):
            query = query._replace(users=jnp.full_like(query.users, num_users))
        grid = weigh(model, num_items, ready, query, items, seen)
        grid = jnp.where((items < num_items)[:, :, None, None], grid if signed else jnp.maximum(grid, 0.0), 0.0)
        mean = grid.mean(axis=2)
        past = jax.lax.top_k(jnp.abs(mean), min(count, num_items))[1]  # [B, K, n]
        weights, heads = jnp.take_along_axis(mean, past, axis=2), jnp.take_along_axis(grid, past[:, :, None], axis=3)
        return jnp.where(weights != 0, past, num_items), weights, jnp.moveaxis(heads, 2, 3)

    def explain(ready: Any, query: Query, items: Array, seen: Array) -> Reasons:
        need = 2 * 4 * items.shape[0] * items.shape[1] * num_items  # a weight of every item for each, and their mean
        if need > (have := available()):
            raise InputError(
                f"the reasons for {items.shape[1]} items of {items.shape[0]} people need {need / 2**30:.3g} GiB "
                f"and this device has {have / 2**30:.3g}; legal are fewer, as by --top_k"
            )
        return Reasons(method, *strongest(ready, query, items, seen))

    return explain


def _method(model: Recommender) -> tuple[str, Weigh]:
    if model.contribute is not None:
        return CONTRIBUTION, _contribution
    if model.attend is not None:
        return ATTENTION, _attention
    if model.history:
        return REMOVAL, _removal
    if model.embed is not None:
        return SIMILARITY, _similarity
    return NOTHING, _nothing


def _contribution(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, seen: Array) -> Array:
    added = model.contribute(ready, query, items)  # type: ignore[misc]  # [B, K, H]
    none = jnp.zeros((*items.shape, num_items))
    grid = jax.vmap(lambda grid, past, added: grid.at[:, past].add(added, mode="drop"))(none, query.history, added)
    return grid[:, :, None]


def _attention(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, seen: Array) -> Array:
    paid = model.attend(ready, query, items)  # type: ignore[misc]  # [B, K, heads, H]
    none = jnp.zeros((*paid.shape[:3], num_items))
    grid = jax.vmap(lambda grid, past, paid: grid.at[..., past].add(paid, mode="drop"))(none, query.history, paid)
    # Attention need not sum to 1: ANCF may smooth its denominator.
    total = grid.sum(axis=3, keepdims=True)
    return grid / jnp.where(total > 0, total, 1.0)


def _removal(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, seen: Array) -> Array:
    whole = model.score(ready, query, items)[..., None]
    fallen = leave_one_out(model, num_items, ready, query, items)  # [B, K, H]
    fallen = jnp.where(jnp.abs(fallen) > ROUNDING * jnp.abs(whole), fallen, 0.0)[:, :, None]
    none = jnp.zeros((*items.shape, 1, num_items))

    def greatest(grid: Array, past: Array, fall: Array) -> Array:
        """Of an item that occurs several times the greatest fall, and the greatest rise."""
        return grid.at[..., past].max(fall, mode="drop") + grid.at[..., past].min(fall, mode="drop")

    return jax.vmap(greatest)(none, query.history, fallen)


def _similarity(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, seen: Array) -> Array:
    vectors = model.embed(ready, query)[1]  # type: ignore[misc]  # [I, D]
    if vectors.shape[1] == 1:  # one number has no direction
        return jnp.zeros((*items.shape, 1, num_items))
    vectors = directions(vectors)
    alike = jnp.einsum("bkd,id->bki", vectors[items], vectors)[:, :, None]
    had = jnp.zeros((len(items), num_items), bool).at[jnp.arange(len(items))[:, None], seen].set(True, mode="drop")
    return jnp.where(had[:, None, None], alike, 0.0)


def directions(vectors: Array) -> Array:
    """Vectors [I, D] less their mean, at length 1; the mean itself stays zero.

    Subtracting it removes columns that are equal for all items, such as the 1 that takes a user's bias.
    """
    vectors = vectors - vectors.mean(axis=0)
    length = jnp.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / jnp.where(length > 0, length, 1.0)


def _nothing(model: Recommender, num_items: int, ready: Any, query: Query, items: Array, seen: Array) -> Array:
    return jnp.zeros((*items.shape, 1, num_items))
