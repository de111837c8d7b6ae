"""PureSVD: score(u, .) = x_u Q Q^T, with x_u [I] the 0/1 history of the query and Q [I, D] the D leading right singular
vectors of the user-item matrix X (Cremonesi, Koren & Turrin, Performance of Recommender Algorithms on Top-N
Recommendation Tasks, 2010).
"""

from dataclasses import dataclass

import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import whole_history
from ancf_jax.models.linear.gram import user_items
from ancf_jax.models.linear.singular import leading
from ancf_jax.nn.layers import counted, inner_products, multi_hot
from ancf_jax.types import Array, ClosedForm, Data, Given, Params, Query, Recommender, as_they_are

SEARCH: Space = {"factors": Range(8, 256, log=True)}


@dataclass(frozen=True)
class Config:
    """PureSVD."""

    factors: int = field(50, "singular vectors D", low=1)
    iterations: int = field(10, "rounds of subspace iteration, see singular.py", low=1)


def make(config: Config, data: Data) -> Recommender:
    """PureSVD; learns in one sweep and scores any history, so new users need no training."""
    num_users, num_items = data.num_users, data.num_items
    factors = min(config.factors, num_items)

    def init(key: Array, given: Given) -> Params:
        return {"tables": {"item": jnp.zeros((num_items + 1, factors))}, "net": {}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        x, transposed = user_items(given.train, num_users, num_items)
        item = leading(lambda q: transposed @ (x @ q), key, num_items, factors, config.iterations)
        return {"tables": {"item": jnp.pad(item, ((0, 1), (0, 0)))}, "net": {}}

    def embed(params: Params, query: Query) -> tuple[Array, Array]:
        item = params["tables"]["item"][:num_items]
        return multi_hot(query.history, num_items) @ item, item

    def contribute(params: Params, query: Query, items: Array) -> Array:
        item = params["tables"]["item"]
        found = jnp.einsum("bhd,bkd->bkh", item[query.history], item[items])
        return jnp.where(counted(query.history, num_items)[:, None], found, 0.0)

    model = Recommender(
        ClosedForm(1, init, sweep),
        Given(data.train),
        whole_history(data),
        as_they_are,
        inner_products(embed),
        embed,
        narrow=1,
    )
    return model._replace(contribute=contribute, additive=True)
