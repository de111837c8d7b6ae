"""Hybrid: ANCF whose items and users are known by their features too, so that new ones are scored as any other.

Wherever ANCF reads a row of a table, as a candidate's vector q, tower input q' or bias b, as an interaction's r, or as
a user's p and p', it is given, with a projection W of the features x for each table,

    q_i <- known_i q_i + W x_i,   p_u <- known_u p_u + mean over h in u's history of W x_h + V y_u

with the user's own features y_u, if any are known, under a projection V; known is 0 for who has no training row: a new
item is its features, and a new user the features of the history and the user's own, by which a user without a history
is scored too (as the sums of features in Kula, Metadata Embeddings for User and Item Cold-start Recommendations, 2015).
In training, known is 0 for a random share of what is read, so that the projections learn to do alone (Volkovs, Yu &
Poutanen, DropoutNet: Addressing Cold Start in Recommender Systems, 2017). Order-aware, the mean is of what came before
a target. New items are no negatives, for nobody has turned them down. With W = V = 0 this is ANCF.

W of p and of q start as one random matrix N(0, 1 / D), which keeps inner products on average (Johnson & Lindenstrauss,
Extensions of Lipschitz Mappings into a Hilbert Space, 1984): training starts from the similarity of content. Rare words
get lost in D numbers, so order-free there may be a term more, which starts as a multiple of content's cosine itself,

    s_ui += sum over f of g_f x'_uf x'_if,    x'_i = x_i / |x_i|,   x'_u = (sum over h of x'_h) / |sum over h of x'_h|

with the same weights g for all users. It enters by way of b_i, whose rows are then a user's own.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import field
from ancf_jax.data.features import dense, required
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.ancf import ancf
from ancf_jax.nn.layers import unit_rows
from ancf_jax.nn.losses import PAIR_LOSSES
from ancf_jax.training.lazy_rows import Rows
from ancf_jax.types import Array, Data, Gradient, InputError, Interactions, Params, Query, Recommender

OWN = ("id_dropout", "content_weight")  # settings that ANCF does not have


@dataclass(frozen=True)
class Config:
    """Hybrid."""

    id_dropout: float = field(0.2, "share of users and items that a step sees by features alone", low=0, high=1)
    content_weight: float = field(0.0, "first weight of each feature in the term of content (0: no such term)", low=0)
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
        if self.content_weight and self.ordered:
            raise InputError(
                f"flag --content_weight: {self.content_weight} goes with order-free models; legal with --ordered is 0"
            )


def as_ancf(config: Config) -> ancf.Config:
    """The ANCF that is given the rows."""
    return ancf.Config(**{name: value for name, value in vars(config).items() if name not in OWN})


def make(config: Config, data: Data) -> Recommender:
    """The hybrid by ANCF's gradient steps. Raises InputError if nothing is known of the items.

    Memory: the features [I + 1, F] and [U + 1, G] float32, and up to three times as much for the rows that a step
    reads; the term of content takes half of all that again.
    """
    num_items = data.num_items
    given = {"item": required("hybrid", data.features)}
    if data.user_features is not None:
        given["user"] = data.user_features
    shapes = " and ".join(str(list(rows.shape)) for rows in given.values())
    bytes_each = 24 if config.content_weight else 16
    check_memory("hybrid", bytes_each * sum(math.prod(rows.shape) for rows in given.values()), f"the features {shapes}")
    base = ancf.make(as_ancf(config), data)
    learn = base.learn
    assert isinstance(learn, Gradient)
    # [I + 1, F] and [U + 1, G]: padding and the unknown user have none
    features = {side: jnp.asarray(np.pad(dense(rows), ((0, 1), (0, 0)))) for side, rows in given.items()}
    known = {
        "user": jnp.asarray(np.bincount(data.train.users, minlength=data.num_users + 1) > 0),
        "item": jnp.asarray(np.bincount(data.train.items, minlength=num_items + 1) > 0),
    }

    unit = unit_rows(features["item"]) if config.content_weight else None

    def side_of(name: str) -> str:
        """Whose rows a table holds: user or item."""
        return name.partition("_")[0]

    def project(side: str, kernel: Array, ids: Array | None = None) -> Array:
        """The features of `ids` [...], or of all [n + 1], by a kernel [F, D].

        A step may ask for more rows than there are, many of them more than once.
        """
        every = features[side].astype(kernel.dtype)
        if ids is None:
            return every @ kernel
        return every[ids] @ kernel if ids.size < len(every) else (every @ kernel)[ids]

    def init(key: Array) -> Params:
        params = learn.init(key)
        widths = {name: table.shape[1] for name, table in params["tables"].items()}
        deep = {side: rows.shape[1] for side, rows in features.items()}
        kernels = {name: jnp.zeros((deep["item"], width)) for name, width in widths.items()}
        start = jax.random.normal(jax.random.fold_in(key, 1), kernels["item"].shape) * config.factors**-0.5
        kernels |= {"item": start, "user": start}
        net = {**params["net"], "features": kernels}
        if config.content_weight:
            net["content"] = jnp.full(deep["item"], config.content_weight)
        if "user" in features:
            of_users = {name: width for name, width in widths.items() if side_of(name) == "user"}
            net["user_features"] = {name: jnp.zeros((deep["user"], width)) for name, width in of_users.items()}
        return {**params, "net": net}

    def sample(key: Array, train: Interactions, index: Array) -> ancf.Batch:
        batch = learn.sample(key, train, index)
        return batch._replace(absent=batch.absent | ~known["item"][batch.negatives])

    def own(net: dict, name: str, ids: Array | None = None) -> Array | float:
        """W x or V y [..., D] of the items or users `ids` [...] of a table, or of all; 0 if they have no features."""
        side = side_of(name)
        if side not in features:
            return 0.0
        return project(side, net["features" if side == "item" else "user_features"][name], ids)

    def wanted(net: dict, history: Array) -> Array:
        """g x'_u [B, F] of histories [B, H]."""
        assert unit is not None
        rows = jnp.arange(len(history))[:, None]
        counts = jnp.zeros((len(history), len(unit))).at[rows, history].add(1.0)
        return net["content"] * unit_rows(counts @ unit)

    def content(profiles: Array, ids: Array) -> Array:
        """The term of content [B, K, 1] of profiles [B, F] as `wanted` has them and candidates [B, K] or [1, K]."""
        assert unit is not None
        if len(ids) == 1:
            scores = profiles @ unit[ids[0]].T
        elif ids.size < len(unit):
            scores = jnp.einsum("bf,bkf->bk", profiles, unit[ids])
        else:
            scores = jnp.take_along_axis(profiles @ unit.T, ids, axis=1)
        return scores[..., None]

    def loss(params: Params, batch: ancf.Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        net = params["net"]
        keys = dict(zip(known, jax.random.split(jax.random.fold_in(key, 1)), strict=True))

        def view(name: str, table: Any) -> Rows:
            side = side_of(name)

            def read(ids: Array) -> Array:
                # The tables of one side share a key, so that a candidate or user is new in all of them or in none.
                kept = known[side][ids] & (jax.random.uniform(keys[side], ids.shape) >= config.id_dropout)
                rows = table[ids] * kept[..., None] + own(net, name, ids)
                if name == "item_bias" and config.content_weight:
                    return rows + content(wanted(net, batch.history), ids)
                if side == "item":
                    return rows
                past = project("item", net["features"][name], batch.history)
                return rows + profile(past, batch.history < num_items, config.ordered)

            return Rows(table.shape, table.dtype, read)

        tables = {name: view(name, table) for name, table in params["tables"].items()}
        return learn.loss({**params, "tables": tables}, batch, key)

    def prepare(params: Params) -> dict:
        """ANCF's, of tables that hold the projections; and those for users' histories, [I + 1, D] each."""
        net = params["net"]
        tables = {
            name: table * known[side_of(name)][:, None] + own(net, name) for name, table in params["tables"].items()
        }
        ready = base.prepare({**params, "tables": tables})
        kernels = {name: kernel for name, kernel in net["features"].items() if side_of(name) == "user"}
        profiles = {f"profile_{name}": project("item", kernel) for name, kernel in kernels.items()}
        return {**ready, "tables": {**ready["tables"], **profiles}}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables = ready["tables"]

        def view(name: str) -> Rows:
            past = profile(tables[f"profile_{name}"][query.history], query.history < num_items, False)
            return Rows(tables[name].shape, tables[name].dtype, lambda ids: tables[name][ids] + past)

        views = {name: view(name) for name in tables if side_of(name) == "user"}
        if config.content_weight:
            bias, of_user = tables["item_bias"], wanted(ready["net"], query.history)
            views["item_bias"] = Rows(bias.shape, bias.dtype, lambda ids: bias[ids] + content(of_user, ids))
        return base.score({**ready, "tables": {**tables, **views}}, query, items)

    return base._replace(learn=learn._replace(init=init, sample=sample, loss=loss), prepare=prepare, score=score)


def profile(rows: Array, mask: Array, causal: bool) -> Array:
    """The mean of a history's rows [B, H, D] as [B, 1, D], or of those up to each column [B, H, D]; zeros of none."""
    add = jnp.cumsum if causal else partial(jnp.sum, keepdims=True)
    total, count = (add(x, axis=1, dtype=jnp.float32) for x in (rows, mask[..., None]))
    return (total / jnp.maximum(count, 1)).astype(rows.dtype)
