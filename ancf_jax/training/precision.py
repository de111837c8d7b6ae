"""bfloat16 arithmetic for the nets: half the memory traffic, and the matrix units of GPUs and TPUs at full rate.

Parameters, gradients, the optimizer and sums stay float32 (Micikevicius et al., Mixed Precision Training, 2018);
bfloat16 has float32's exponents, so the loss needs no scaling (Kalamkar et al., A Study of BFLOAT16 for Deep Learning
Training, 2019). Normalisations, exponentials and losses are float32 too, in the functions that models share for them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ancf_jax.training.lazy_rows import read_by_rows, with_rows
from ancf_jax.types import Array, Given, Gradient, Params, Recommender, Rows, map_scoring, moved


def in_bfloat16(model: Recommender) -> Recommender:
    """A model learnt by gradient that computes its loss and scores in bfloat16, from and to float32.

    The last sum of a score is float32: the 8 bits of bfloat16 would tie many items.

    The loss casts rows after they are gathered: no table is cast as a whole, and a row's gradients are summed in
    float32. `prepare` casts what steps move, once before scoring. What is held stays float32.
    """
    learn = model.learn
    assert isinstance(learn, Gradient)

    def loss(params: Params, given: Given, batch: Any, key: Array) -> tuple[Array, dict[str, Array]]:
        def view(name: str, table: Any) -> Rows:
            return Rows(table.shape, jnp.bfloat16, lambda ids: narrow(table[ids]))

        by_rows = read_by_rows(lambda *args: learn.loss(args[0], given, *args[1:]), params, batch, key)
        tables = {name: table if name in by_rows else narrow(table) for name, table in params["tables"].items()}
        seen = {**params, "tables": tables, "net": jax.tree.map(narrow, params["net"])}
        return jax.tree.map(wide, learn.loss(with_rows(seen, by_rows, view), given, batch, key))

    narrowed = model._replace(
        learn=learn._replace(loss=loss),
        prepare=lambda params, given: model.prepare({**params, **jax.tree.map(narrow, moved(params))}, given),
    )
    return map_scoring(widened, narrowed)


def narrow(x: Array) -> Array:
    """float32 as bfloat16; integers as they are."""
    return x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x


def wide(x: Array) -> Array:
    """bfloat16 as float32; anything else as it is."""
    return x.astype(jnp.float32) if x.dtype == jnp.bfloat16 else x


def widened(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its results in float32."""
    return lambda *args: jax.tree.map(wide, function(*args))
