"""Item neighbours for ratings: a baseline, corrected by how the user rated the most similar items.

    r_ui = b_ui + sum over j in S of s_ij (r_uj - b_uj) / sum over j in S of s_ij,    b_ui = mu + b_u + b_i

where S are the k items most similar to i among those that u has rated (Koren, Factorization Meets the Neighborhood,
2008, section 2.2). The similarity is the correlation of what the baseline leaves, e_ui = r_ui - b_ui, over the n_ij
users who rated both items, shrunk where they are few (Koren, Factor in the Neighbors, 2010):

    s_ij = (n_ij - 1) / (n_ij - 1 + shrinkage) sum_u e_ui e_uj / sqrt(sum_u e_ui^2 sum_u e_uj^2)

Only positive similarities count, and the baseline stands alone where a user has none. The biases are damped means (see
`residuals` in ratings.py), and b_u is taken from the query's history, so new users need no training. Memory: five
float32 arrays [I, I].
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.interactions import longest, whole_history
from ancf_jax.data.samplers import take_window
from ancf_jax.devices.memory import check_memory
from ancf_jax.nn.layers import multi_hot
from ancf_jax.nn.value_heads import left_by, residuals
from ancf_jax.types import Array, ClosedForm, Data, Given, Interactions, Params, Query, Recommender, as_they_are

USER_BLOCK = 256
CHUNK = 128  # ratings of a user that are searched for neighbours at once
SEARCH: Space = {
    "neighbours": Range(10, 200, log=True),
    "shrinkage": Range(10.0, 500.0, log=True),
    "item_damping": Range(1.0, 50.0, log=True),
    "user_damping": Range(1.0, 50.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """Item neighbours for ratings."""

    neighbours: int = field(40, "rated items that a prediction is made from", low=1)
    shrinkage: float = field(100.0, "shrinks similarities that rest on few users", low=0)
    item_damping: float = field(25.0, "shrinks the biases of items of few ratings", low=0)
    user_damping: float = field(10.0, "shrinks the biases of users of few ratings", low=0)


def make(config: Config, data: Data) -> Recommender:
    """Item neighbours for ratings; learns in one sweep. Raises InputError where [I, I] arrays exceed the memory."""
    num_users, num_items = data.num_users, data.num_items
    check_memory("ratingknn", 5 * 4 * num_items**2, "five arrays of items by items")

    def init(key: Array, given: Given) -> Params:
        tables = {"similar": jnp.zeros((num_items, num_items)), "item_bias": jnp.zeros(num_items + 1)}
        return {"tables": tables, "net": {"mean": jnp.zeros(())}}

    def sweep(params: Params, given: Given, key: Array) -> Params:
        mean, item_bias, left = residuals(given.train, num_users, num_items, config.item_damping, config.user_damping)
        similar = _similarities(
            given.train._replace(values=left), num_users, num_items, longest(data.train), config.shrinkage
        )
        return {"tables": {"similar": similar, "item_bias": jnp.append(item_bias, 0.0)}, "net": {"mean": mean}}

    def score(params: Params, query: Query, items: Array | None = None) -> Array:
        similar, item_bias = params["tables"]["similar"], params["tables"]["item_bias"]
        user_bias, left = left_by(query, params["net"]["mean"], item_bias, config.user_damping)
        rated = query.history < num_items  # [B, H]
        fill = ((0, 0), (-query.history.shape[1] % CHUNK, 0))
        past, left = jnp.pad(query.history, fill, constant_values=num_items), jnp.pad(left, fill)

        def correct(one: tuple[Array, ...]) -> Array:
            """What one user's ratings add to the baselines of `wanted` items [K]."""
            past, left, count, *wanted = one

            def search(n: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
                """The k nearest, and what is left of their ratings, both [K, k], after another chunk, latest first."""
                start = len(past) - (n + 1) * CHUNK
                others = jax.lax.dynamic_slice_in_dim(past, start, CHUNK)
                index = (others[:, None], wanted[0]) if wanted else others
                near = similar.at[index].get(mode="fill", fill_value=0.0).T  # [K, CHUNK]
                rest = jnp.broadcast_to(jax.lax.dynamic_slice_in_dim(left, start, CHUNK), near.shape)
                near, place = jax.lax.top_k(jnp.concatenate([best[0], near], axis=1), config.neighbours)
                return near, jnp.take_along_axis(jnp.concatenate([best[1], rest], axis=1), place, axis=1)

            nothing = jnp.zeros((len(wanted[0]) if wanted else num_items, config.neighbours))
            near, rest = jax.lax.fori_loop(0, -(-count // CHUNK), search, (nothing, nothing))
            total = near.sum(axis=1)
            return (near * rest).sum(axis=1) / jnp.where(total > 0, total, 1.0)

        corrections = jax.lax.map(correct, (past, left, rated.sum(1), *([] if items is None else [items])))
        baselines = item_bias[:num_items] if items is None else item_bias[items]
        return params["net"]["mean"] + user_bias[:, None] + baselines + corrections

    return Recommender(
        ClosedForm(1, init, sweep), Given(data.train), whole_history(data), as_they_are, score, rates=True, narrow=1
    )


def _similarities(train: Interactions, num_users: int, num_items: int, length: int, shrinkage: float) -> Array:
    """s_ij [I, I] of residuals in the place of values; 0 on the diagonal and where it would be negative."""

    def add(sums: Array, users: Array) -> tuple[Array, None]:
        inside = jnp.minimum(users, num_users - 1)
        items, left = take_window(train, inside, jnp.asarray(train.offsets)[inside + 1], length, num_items)
        items = jnp.where((users < num_users)[:, None], items, num_items)
        has = multi_hot(items, num_items)  # [b, I]
        left = jnp.zeros_like(has).at[jnp.arange(len(users))[:, None], items].set(left, mode="drop")
        pairs = ((has, has), (left, left), (left**2, has))
        return sums + jnp.stack([jnp.matmul(a.T, b, precision="highest") for a, b in pairs]), None

    blocks = jnp.arange(-(-num_users // USER_BLOCK) * USER_BLOCK).reshape(-1, USER_BLOCK)
    (both, products, squares), _ = jax.lax.scan(add, jnp.zeros((3, num_items, num_items)), blocks)
    norm = jnp.sqrt(squares * squares.T)
    shrunk = jnp.maximum(both - 1, 0.0) / jnp.maximum(both - 1 + shrinkage, 1e-9)
    similar = jnp.maximum(shrunk * products / jnp.where(norm > 0, norm, 1.0), 0.0)
    return jnp.where(jnp.eye(num_items, dtype=bool), 0.0, similar)
