"""Hybrid: ANCF whose items and users are known by their features too, so that new ones are scored as any other.

Wherever ANCF reads a row of a table, as a candidate's vector q, tower input q' or bias b, as an interaction's r, or as
a user's p and p', it is given, with a projection W of the features x for each table,

    q_i <- known_i q_i + W x_i,   p_u <- known_u p_u + mean over h in u's history of W x_h

and known is 0 for who has no training row: a new item is its features, and a new user the features of the history (as
the sums of features in Kula, Metadata Embeddings for User and Item Cold-start Recommendations, 2015). In training,
known is 0 for a random share of what is read, so that the projections learn to do alone (Volkovs, Yu & Poutanen,
DropoutNet: Addressing Cold Start in Recommender Systems, 2017). Order-aware, the mean is of what came before a target.
New items are no negatives, for nobody has turned them down. With W = 0 this is ANCF.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import field
from ancf_jax.losses import PAIR_LOSSES
from ancf_jax.memory import check_memory
from ancf_jax.models import ancf
from ancf_jax.sparse import Rows
from ancf_jax.types import Array, Data, Gradient, InputError, Interactions, Params, Query, Recommender


@dataclass(frozen=True)
class Config:
    """Hybrid."""

    id_dropout: float = field(0.2, "share of users and items that a step sees by features alone", low=0, high=1)
    factors: int = field(32, "embedding width D of the element-wise path and the attention", low=1)
    history: int = field(100, "latest interactions attended to, H", low=1)
    ordered: bool = field(False, "order-aware: positions, causal self-attention, recency")
    layers: int = field(0, "self-attention layers over the history", low=0)
    heads: int = field(2, "attention heads", low=1)
    tower: tuple[int, ...] = field((64, 32, 16), "widths of the fully connected layers (empty: no tower)")
    tower_factors: int = field(32, "embedding width of users and items in the tower", low=1)
    dropout: float = field(0.0, "dropout on embeddings, in the encoder and in the tower", low=0, high=0.99)
    loss: str = field("bce", "loss of a positive against its negatives", PAIR_LOSSES)
    negatives: int = field(64, "sampled items that a window's positives share as negatives", low=1)
    ratio: float = field(4.0, "weight of the negatives per positive, for bce", low=0)
    targets: int = field(16, "positives drawn from a window, order-free", low=1)
    l2: float = field(0.0, "L2 penalty on the element-wise embeddings of each positive", low=0)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        as_ancf(self)  # which checks that the settings go together


def as_ancf(config: Config) -> ancf.Config:
    """The ANCF that is given the rows."""
    return ancf.Config(**{name: value for name, value in vars(config).items() if name != "id_dropout"})


def make(config: Config, data: Data) -> Recommender:
    """The hybrid by ANCF's gradient steps. Raises InputError if nothing is known of the items.

    Memory: the features [I + 1, F] float32, and as much again for the projected rows that a step reads.
    """
    if data.features is None:
        raise InputError(
            "--model=hybrid: needs item features; legal are a data set that brings them (ml-100k, ml-1m, "
            "online-retail), or --items_path with --item_text, --item_categories or --item_numbers, or --item_vectors"
        )
    num_items, width = data.features.shape
    check_memory("hybrid", 8 * num_items * width, f"the features [{num_items}, {width}]")
    base = ancf.make(as_ancf(config), data)
    learn = base.learn
    assert isinstance(learn, Gradient)
    features = jnp.asarray(np.pad(data.features, ((0, 1), (0, 0))))  # [I + 1, F]
    known = {
        "user": jnp.asarray(np.bincount(data.train.users, minlength=data.num_users + 1) > 0),
        "item": jnp.asarray(np.bincount(data.train.items, minlength=num_items + 1) > 0),
    }

    def side_of(name: str) -> str:
        """Whose rows a table holds: user or item."""
        return name.partition("_")[0]

    def project(kernel: Array, ids: Array | None = None) -> Array:
        """W x [..., D] of items [...], or [I + 1, D] of all; the product is of the fewer rows."""
        every = features.astype(kernel.dtype)
        if ids is None:
            return every @ kernel
        return every[ids] @ kernel if ids.size < num_items else (every @ kernel)[ids]

    def init(key: Array) -> Params:
        params = learn.init(key)
        kernels = {name: jnp.zeros((width, table.shape[1])) for name, table in params["tables"].items()}
        return {**params, "net": {**params["net"], "features": kernels}}

    def sample(key: Array, train: Interactions, index: Array) -> ancf.Batch:
        batch = learn.sample(key, train, index)
        return batch._replace(absent=batch.absent | ~known["item"][batch.negatives])

    def loss(params: Params, batch: ancf.Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        kernels = params["net"]["features"]
        keys = dict(zip(known, jax.random.split(jax.random.fold_in(key, 1)), strict=True))

        def view(name: str, table: Any) -> Rows:
            side, kernel = side_of(name), kernels[name]

            def read(ids: Array) -> Array:
                # The tables of one side share a key, so that a candidate or user is new in all of them or in none.
                kept = known[side][ids] & (jax.random.uniform(keys[side], ids.shape) >= config.id_dropout)
                if side == "item":
                    return table[ids] * kept[..., None] + project(kernel, ids)
                past = profile(project(kernel, batch.history), batch.history < num_items, config.ordered)
                return table[ids] * kept[..., None] + past

            return Rows(table.shape, table.dtype, read)

        tables = {name: view(name, table) for name, table in params["tables"].items()}
        return learn.loss({**params, "tables": tables}, batch, key)

    def prepare(params: Params) -> dict:
        """ANCF's, of item tables that hold the projections; and those for users' histories, [I + 1, D] each."""
        tables = {name: table * known[side_of(name)][:, None] for name, table in params["tables"].items()}
        projected = {name: project(kernel) for name, kernel in params["net"]["features"].items()}
        items = {name: table + projected[name] for name, table in tables.items() if side_of(name) == "item"}
        ready = base.prepare({**params, "tables": {**tables, **items}})
        profiles = {f"profile_{name}": rows for name, rows in projected.items() if side_of(name) == "user"}
        return {**ready, "tables": {**ready["tables"], **profiles}}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables = ready["tables"]

        def view(name: str) -> Rows:
            past = profile(tables[f"profile_{name}"][query.history], query.history < num_items, False)
            return Rows(tables[name].shape, tables[name].dtype, lambda ids: tables[name][ids] + past)

        users = {name: view(name) for name in tables if side_of(name) == "user"}
        return base.score({**ready, "tables": {**tables, **users}}, query, items)

    return base._replace(learn=learn._replace(init=init, sample=sample, loss=loss), prepare=prepare, score=score)


def profile(rows: Array, mask: Array, causal: bool) -> Array:
    """The mean of a history's rows [B, H, D] as [B, 1, D], or of those up to each column [B, H, D]; zeros of none."""
    add = jnp.cumsum if causal else partial(jnp.sum, keepdims=True)
    total, count = (add(x, axis=1, dtype=jnp.float32) for x in (rows, mask[..., None]))
    return (total / jnp.maximum(count, 1)).astype(rows.dtype)
