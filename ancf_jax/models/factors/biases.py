"""The biases of users and items as two more factors: mean + b_u + b_i + <p_u, q_i> is one inner product."""

import jax.numpy as jnp

from ancf_jax.nn.layers import with_vectors
from ancf_jax.types import Array, Params, Query


def biases_as_factors(params: Params, mean: float = 0.0) -> Params:
    """The parameters with `vectors` [I, D + 2]: q_i, mean + b_i and a 1, put together once before scoring."""
    tables = params["tables"]
    return with_vectors(params, tables["item"], mean + tables["item_bias"], jnp.ones_like(tables["item_bias"]))


def embed(ready: Params, query: Query) -> tuple[Array, Array]:
    """p_u, a 1 and b_u [B, D + 2], and the vectors of all items [I, D + 2]."""
    tables = ready["tables"]
    bias = tables["user_bias"][query.users]
    user = jnp.concatenate([tables["user"][query.users], jnp.ones_like(bias), bias], axis=1)
    return user, tables["vectors"]
