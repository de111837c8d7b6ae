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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, field, nested
from ancf_jax.data.features import dense, required
from ancf_jax.devices.memory import check_memory
from ancf_jax.models.ancf import ancf
from ancf_jax.models.ancf.abcf import FIXED
from ancf_jax.models.ancf.ancf import Config as AncfConfig
from ancf_jax.models.ancf.batch import Batch
from ancf_jax.models.ancf.batch import Own as AncfOwn
from ancf_jax.nn.bits import uniform
from ancf_jax.nn.layers import unit_rows
from ancf_jax.types import Array, ArrayLike, Data, Given, Gradient, InputError, Params, Query, Recommender, Rows

SEARCH = {name: each for name, each in ancf.SEARCH.items() if not name.startswith(FIXED)} | {
    "layers": (0, 1, 2),
    "negatives": (64, 128, 256),
    "id_dropout": Range(0.0, 0.8),
    "content_weight": (0.0, 1.0, 3.0, 10.0, 30.0),
}


@dataclass(frozen=True)
class Config:
    """Hybrid: ANCF's settings, and its own."""

    id_dropout: float = field(0.2, "share of users and items that a step sees by features alone", low=0, high=1)
    content_weight: float = field(0.0, "first weight of each feature in the term of content (0: no such term)", low=0)
    ancf: AncfConfig = nested(
        AncfConfig(
            factors=32,
            history=100,
            ordered=False,
            layers=0,
            latest=True,
            state=False,
            tied=False,
            user=True,
            tower=(64, 32, 16),
            prior=0.0,
            dropout=0.0,
            loss="bce",
            negatives=64,
        )
    )

    def __post_init__(self) -> None:
        if not self.ancf.history or self.ancf.user is not True:
            raise InputError(
                "flags --history, --user: hybrid knows users by their histories and vectors; it needs both"
            )
        if self.content_weight and self.ancf.ordered is not False:
            raise InputError(
                f"flag --content_weight: {self.content_weight} goes with order-free models; legal with --ordered is 0"
            )


class Own(NamedTuple):
    """What the hybrid makes of the data, by side: item, and user where anything is known of users."""

    ancf: AncfOwn
    features: Mapping[str, ArrayLike]  # [I + 1, F] and [U + 1, G]: padding and the unknown user have none
    known: Mapping[str, ArrayLike]  # [n + 1] bool: who has a training row
    unit: ArrayLike | None  # [I + 1, F] x', where there is a term of content


def make(config: Config, data: Data) -> Recommender:
    """The hybrid by ANCF's gradient steps. Raises InputError if nothing is known of the items.

    Memory: the features [I + 1, F] and [U + 1, G] float32, and up to three times as much for the rows that a step
    reads; the term of content takes half of all that again.
    """
    num_items = data.num_items
    sides = {"item": required("hybrid", data.features)}
    if data.user_features is not None:
        sides["user"] = data.user_features
    shapes = " and ".join(str(list(rows.shape)) for rows in sides.values())
    bytes_each = 24 if config.content_weight else 16
    check_memory("hybrid", bytes_each * sum(math.prod(rows.shape) for rows in sides.values()), f"the features {shapes}")
    base = ancf.make(config.ancf, data)
    learn: Gradient = base.learn  # type: ignore[assignment]
    factors = config.ancf.factors
    features = {side: np.pad(dense(rows), ((0, 1), (0, 0))) for side, rows in sides.items()}
    known = {
        "user": np.bincount(data.train.users, minlength=data.num_users + 1) > 0,
        "item": np.bincount(data.train.items, minlength=num_items + 1) > 0,
    }
    unit = np.asarray(unit_rows(jnp.asarray(features["item"]))) if config.content_weight else None
    given = base.given._replace(own=Own(base.given.own, features, known, unit))

    def side_of(name: str) -> str:
        """Whose rows a table holds: user or item."""
        return name.partition("_")[0]

    def inner(given: Given) -> Given:
        """What ANCF is given."""
        return given._replace(own=given.own.ancf)

    def project(features: ArrayLike, kernel: Array, ids: Array | None = None) -> Array:
        """The features [n + 1, F] of `ids` [...], or all of them, by a kernel [F, D].

        A step may ask for more rows than there are, many of them more than once.
        """
        every = jnp.asarray(features).astype(kernel.dtype)
        if ids is None:
            return every @ kernel
        return every[ids] @ kernel if ids.size < len(every) else (every @ kernel)[ids]

    def init(key: Array, given: Given) -> Params:
        params = learn.init(key, inner(given))
        widths = {name: table.shape[1] for name, table in params["tables"].items()}
        deep = {side: rows.shape[1] for side, rows in given.own.features.items()}
        kernels = {name: jnp.zeros((deep["item"], width)) for name, width in widths.items()}
        start = jax.random.normal(jax.random.fold_in(key, 1), kernels["item"].shape) * factors**-0.5
        kernels |= {"item": start, "user": start}
        net = {**params["net"], "feature_kernels": kernels}
        if config.content_weight:
            net["content"] = jnp.full(deep["item"], config.content_weight)
        if "user" in deep:
            of_users = {name: width for name, width in widths.items() if side_of(name) == "user"}
            net["user_feature_kernels"] = {name: jnp.zeros((deep["user"], width)) for name, width in of_users.items()}
        return {**params, "net": net}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        batch = learn.sample(key, inner(given), index)
        return batch._replace(absent=batch.absent | ~jnp.asarray(given.own.known["item"])[batch.negatives])

    def own(given: Given, net: dict, name: str, ids: Array | None = None) -> Array | float:
        """W x or V y [..., D] of the items or users `ids` [...] of a table, or of all; 0 if they have no features."""
        side = side_of(name)
        if side not in given.own.features:
            return 0.0
        kernels = net["feature_kernels" if side == "item" else "user_feature_kernels"]
        return project(given.own.features[side], kernels[name], ids)

    def wanted(unit: Array, net: dict, history: Array) -> Array:
        """g x'_u [B, F] of histories [B, H]."""
        rows = jnp.arange(len(history))[:, None]
        counts = jnp.zeros((len(history), len(unit))).at[rows, history].add(1.0)
        return net["content"] * unit_rows(counts @ unit)

    def content(unit: Array, profiles: Array, ids: Array) -> Array:
        """The term of content [B, K, 1] of profiles [B, F] as `wanted` has them and candidates [B, K] or [1, K]."""
        if len(ids) == 1:
            scores = profiles @ unit[ids[0]].T
        elif ids.size < len(unit):
            scores = jnp.einsum("bf,bkf->bk", profiles, unit[ids])
        else:
            scores = jnp.take_along_axis(profiles @ unit.T, ids, axis=1)
        return scores[..., None]

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        net, known = params["net"], given.own.known
        keys = dict(zip(("user", "item"), jax.random.split(jax.random.fold_in(key, 1)), strict=True))

        def view(name: str, table: Any) -> Rows:
            side = side_of(name)

            def read(ids: Array) -> Array:
                # The tables of one side share a key, so that a candidate or user is new in all of them or in none.
                kept = jnp.asarray(known[side])[ids] & (uniform(keys[side], ids.shape) >= config.id_dropout)
                rows = table[ids] * kept[..., None] + own(given, net, name, ids)
                if name == "item_bias" and config.content_weight:
                    unit = jnp.asarray(given.own.unit)
                    return rows + content(unit, wanted(unit, net, batch.history), ids)
                if side == "item":
                    return rows
                past = project(given.own.features["item"], net["feature_kernels"][name], batch.history)
                return rows + profile(past, batch.history < num_items, config.ancf.ordered is True)

            return Rows(table.shape, table.dtype, read)

        tables = {name: view(name, table) for name, table in params["tables"].items()}
        return learn.loss({**params, "tables": tables}, inner(given), batch, key)

    def prepare(params: Params, given: Given) -> dict:
        """ANCF's, of tables that hold the projections; and those for users' histories, [I + 1, D] each."""
        net = params["net"]
        tables = {
            name: table * jnp.asarray(given.own.known[side_of(name)])[:, None] + own(given, net, name)
            for name, table in params["tables"].items()
        }
        ready = base.prepare({**params, "tables": tables}, inner(given))
        kernels = {name: kernel for name, kernel in net["feature_kernels"].items() if side_of(name) == "user"}
        every = given.own.features["item"]
        profiles = {f"profile_{name}": project(every, kernel) for name, kernel in kernels.items()}
        if config.content_weight:
            profiles["unit"] = jnp.asarray(given.own.unit)
        return {**ready, "tables": {**ready["tables"], **profiles}}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables = ready["tables"]

        def view(name: str) -> Rows:
            past = profile(tables[f"profile_{name}"][query.history], query.history < num_items, False)
            return Rows(tables[name].shape, tables[name].dtype, lambda ids: tables[name][ids] + past)

        views = {name: view(name) for name in tables if side_of(name) == "user"}
        if config.content_weight:
            bias, unit = tables["item_bias"], tables["unit"]
            of_user = wanted(unit, ready["net"], query.history)
            views["item_bias"] = Rows(bias.shape, bias.dtype, lambda ids: bias[ids] + content(unit, of_user, ids))
        return base.score({**ready, "tables": {**tables, **views}}, query, items)

    learnt = learn._replace(init=init, sample=sample, loss=loss)
    return base._replace(learn=learnt, given=given, prepare=prepare, score=score, falls=None, additive=False)


def profile(rows: Array, mask: Array, causal: bool) -> Array:
    """The mean of a history's rows [B, H, D] as [B, 1, D], or of those up to each column [B, H, D]; zeros of none."""
    add = jnp.cumsum if causal else partial(jnp.sum, keepdims=True)
    total, count = (add(x, axis=1, dtype=jnp.float32) for x in (rows, mask[..., None]))
    return (total / jnp.maximum(count, 1)).astype(rows.dtype)
