"""NeuMF of a history: a user is the sum of what is learnt of the items that the user has, with no own vector.

    s_ui = alpha w_g . (p_u * q_i) + (1 - alpha) w_t . tower([p'_u, q'_i]) + b,    p_u = sum of r_j of u's history

and p'_u alike: NeuMF (ncf.py) whose user is the 0/1 row of the items, through a layer without a bias, as He et al.,
Neural Collaborative Filtering, 2017, allow for, and as those have it who explain NCF by the history (Barkan et al.,
Fidelity-Aware Recommendation Explanations via Stochastic Path Integration, 2026). New users need no training.

A training row is a window of one user's interactions. Each is the target of all others that the user has, and of N
negatives, which are held against the same.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ancf_jax.config import field, nested
from ancf_jax.data.interactions import longest, whole_history
from ancf_jax.data.samplers import negatives, over_windows, take_window
from ancf_jax.models.factors import ncf
from ancf_jax.nn.layers import items_at_once, multi_hot, over_items, rows_of, table, tower_input
from ancf_jax.nn.losses import SAMPLED_LOSSES, UNITS, masked_mean, pair_loss
from ancf_jax.types import Array, Data, Given, Gradient, InputError, Params, Query, Recommender

SEARCH = {**ncf.SEARCH, "batch_size": (8, 16, 32, 64)}


@dataclass(frozen=True)
class Config:
    """NeuMF of a history: NeuMF's settings, and its own."""

    window: int = field(64, "interactions of one user in a training row", low=1)
    neumf: ncf.NeuMF = nested(ncf.NeuMF())

    def __post_init__(self) -> None:
        if self.neumf.loss not in SAMPLED_LOSSES:
            raise InputError(f"flag --loss: {self.neumf.loss} predicts values; legal are {', '.join(SAMPLED_LOSSES)}")


class Batch(NamedTuple):
    """Windows of one user each, with all that the user has."""

    history: Array  # [B, H]
    targets: Array  # [B, P], padded with I
    negatives: Array  # [B, P, N]


def make(config: Config, data: Data) -> Recommender:
    """NeuMF of histories by gradient steps over windows."""
    c, num_items, length = config.neumf, data.num_items, longest(data.train)
    net, given = ncf.Net(c), over_windows(data, config.window)
    widths = {"": c.factors, "_tower": c.tower_factors if c.tower else 0}

    def init(key: Array, given: Given) -> Params:
        keys = iter(jax.random.split(key, 5))
        tables = {
            f"{side}{suffix}": table(next(keys), num_items, width, c.stddev)
            for suffix, width in widths.items()
            for side in ("history", "item")
            if width
        }
        one = jnp.zeros((1, 1), jnp.int32)
        variables = net.init(next(keys), sums(tables, one), rows_of(tables, "item", one))
        return {"tables": tables, "net": variables["params"]}

    def sums(tables: Params, history: Array) -> dict[str, Array]:
        """The vectors [B, D] of the users with these histories [B, H]."""
        rows = multi_hot(history, num_items)
        names = [name for name in tables if name.startswith("history")]
        return {name.replace("history", "user"): rows @ tables[name][:num_items] for name in names}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, ends = given.own.at(index)
        targets, _ = take_window(given.train, users, ends, config.window, num_items)
        history, _ = take_window(given.train, users, jnp.asarray(given.train.offsets)[users + 1], length, num_items)
        others = negatives(key, given.train, users, config.window * c.negatives, num_items)
        return Batch(history, targets, others.reshape(*targets.shape, c.negatives))

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables, pairs = params["tables"], batch.targets.size
        total = sums(tables, batch.history)
        own = {name: tables[name.replace("user", "history")][batch.targets] for name in total}  # [B, P, D]
        user = {name: (total[name][:, None] - own[name]).reshape(pairs, -1) for name in total}
        items = jnp.concatenate([batch.targets[..., None], batch.negatives], axis=2).reshape(pairs, -1)
        item = rows_of(tables, "item", items)
        scores = net.apply({"params": params["net"]}, user, item, False, rngs={"dropout": key})
        ratio = float(c.negatives)
        losses = pair_loss(c.loss, scores[:, 0], scores[:, 1:], num_items=num_items, ratio=ratio)
        if c.l2:
            rows = [*(rows.reshape(pairs, -1) for rows in own.values()), *item.values()]
            losses = losses + c.l2 * sum(jnp.sum(x**2, tuple(range(1, x.ndim))) for x in rows)
        return masked_mean(losses, batch.targets.reshape(-1) < num_items)

    def prepare(params: Params, given: Given) -> dict:
        """The item part of the tower's first layer, in place of its table."""
        tables, net_weights = params["tables"], params["net"]
        if c.tower:
            tables = {**tables, "item_tower": tower_input(net_weights["tower"], 1, tables["item_tower"])}
        return {"tables": tables, "net": net_weights}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables, net_weights = ready["tables"], ready["net"]
        user: dict = sums(tables, query.history)
        if c.tower:
            user["user_tower"] = tower_input(net_weights["tower"], 0, user["user_tower"])

        def block(ids: Array) -> Array:
            return net.apply({"params": net_weights}, user, rows_of(tables, "item", ids))

        floats = max(len(query.history) * max(c.tower, default=1), c.factors)
        return over_items(block, jnp.arange(num_items)[None] if items is None else items, items_at_once(floats))

    learn = Gradient(len(given.own.users), init, sample, loss, batch=max(1024 // config.window, 1))
    return Recommender(learn, given, whole_history(data), prepare, score, unit=UNITS.get(c.loss, ""), narrow=1)
