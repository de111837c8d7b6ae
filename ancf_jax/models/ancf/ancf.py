"""Attention Neural Collaborative Filtering (ANCF).

A user's history j_1..j_H is encoded, e = encoder(r_j1..r_jH), by 0 or more layers of multi-head self-attention, either
order-aware (positions, causal) or order-free. Then the candidate item i attends to it, with one weight per past
interaction h and head:

    f_ih = <W_q q_i, W_k e_h> / sqrt(d) + recency_(H-1-h)      (recency only if order-aware)
    a_ih = exp(f_ih) / (sum over h' of exp(f_ih'))^smoothing
    c_ui = concatenation over heads of sum over h of a_ih W_v e_h

and the attended history joins user and item in the element-wise path and in the tower:

    s_ui = w_g . (p_u * q_i) + w_a . (c_ui * q_i) + w_t . tower([p'_u, q'_i, c_ui]) + b_i + b

Each part can be switched off. Without attention this is NeuMF (He et al., Neural Collaborative Filtering, 2017);
with only an order-free attention it is NAIS (He et al., NAIS: Neural Attentive Item Similarity Model, 2018), whose
network f = h . relu(W (q_i * e_h) + b) is `scorer` > 0; with a causal encoder and attention on the latest interaction
alone it is SASRec (Kang & McAuley, Self-Attentive Sequential Recommendation, 2018).

A training row is a window of one user's consecutive interactions. Order-free: a random part of the window are the
targets and the rest is the history, so a target never sees itself. Order-aware: every interaction is the target of
those before it, all in one pass (see attention.py), and the window ends at a random place.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import Windows, hold_out, over_windows, shared_negatives, shift_ends, take_window
from ancf_jax.models.ancf.net import Net, init_tables, project_items, project_users, user_rows
from ancf_jax.nn.layers import items_at_once, over_items, rows_of
from ancf_jax.nn.losses import PAIR_LOSSES, masked_mean, pair_loss
from ancf_jax.types import Array, ArrayLike, Data, Given, Gradient, InputError, Params, Query, Recommender

SEARCH: Space = {
    "factors": (16, 32, 64, 128),
    "layers": (0, 1, 2),
    "heads": (1, 2, 4),
    "tied": (False, True),
    "user": (True, False),
    "tower": ((), (64, 32, 16), (128, 64, 32)),
    "dropout": Range(0.0, 0.6),
    "negatives": (32, 64, 128, 256),
    "ratio": Range(1.0, 16.0, log=True),
    "targets": (8, 16, 32),
    "l2": Range(0.00001, 0.1, log=True),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (8, 16, 32, 64),
    "weight_decay": Range(0.0001, 1.0, log=True),
}


@dataclass(frozen=True)
class Config:
    """ANCF: what is read of the history, how it is attended to, and which paths fuse it."""

    factors: int = field(32, "embedding width D of the element-wise path and the attention", low=1)
    history: int = field(100, "latest interactions attended to, H (0: no attention)", low=0)
    ordered: bool = field(False, "order-aware: positions, causal self-attention, recency")
    layers: int = field(0, "self-attention layers over the history", low=0)
    heads: int = field(2, "attention heads", low=1)
    scorer: int = field(0, "hidden width of NAIS's attention network (0: scaled dot product)", low=0)
    project: bool = field(True, "learned projections of queries, keys and values")
    smoothing: float = field(1.0, "exponent of the attention's denominator (1: softmax)", low=0, high=1)
    tied: bool = field(False, "one table for candidate items and for items of the history")
    user: bool = field(True, "a learned vector per user, in the element-wise path and the tower")
    tower: tuple[int, ...] = field((64, 32, 16), "widths of the fully connected layers (empty: no tower)")
    tower_factors: int = field(32, "embedding width of users and items in the tower", low=1)
    dropout: float = field(0.0, "dropout on embeddings, in the encoder and in the tower", low=0, high=0.99)
    loss: str = field("bce", "loss of a positive against its negatives", PAIR_LOSSES)
    negatives: int = field(64, "sampled items that a window's positives share as negatives", low=1)
    popular: float = field(0.0, "share of negatives drawn by popularity, for sampled_softmax", low=0, high=1)
    ratio: float = field(4.0, "weight of the negatives per positive, for bce", low=0)
    targets: int = field(16, "positives drawn from a window, order-free", low=1)
    l2: float = field(0.0, "L2 penalty on the element-wise embeddings of each positive", low=0)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)

    def __post_init__(self) -> None:
        if self.popular and self.loss != "sampled_softmax":
            raise InputError(f"flag --popular: needs --loss=sampled_softmax, which corrects for it; not {self.loss}")
        if self.ordered and not self.history:
            raise InputError("flag --ordered: needs a history; --history is 0")
        if self.history and self.factors % self.heads:
            raise InputError(f"flag --heads: {self.heads} does not divide --factors={self.factors}")


class Batch(NamedTuple):
    """Windows of one user each. Order-aware, P = H and target p follows the history up to column p."""

    users: Array  # [B]
    history: Array  # [B, H]
    targets: Array  # [B, P], padded with I
    negatives: Array  # [B, N]
    absent: Array  # [B, N] bool: a negative that the user has in training, not to be counted


class Own(NamedTuple):
    """What ANCF makes of the data."""

    windows: Windows
    odds: ArrayLike  # [I + 1] the log-q correction of `popular` negatives


def make(config: Config, data: Data) -> Recommender:
    """ANCF by gradient steps over windows of users' histories."""
    num_users, num_items, length = data.num_users, data.num_items, config.history
    net = Net(config)
    span = length + 1 if config.ordered else max(length, 1)
    history_table = "item" if config.tied else "item_history"

    # How often an item is drawn against uniform negatives, as a logarithm: the log-q correction.
    popular = round(config.popular * config.negatives)
    share = np.bincount(data.train.items, minlength=num_items + 1) / max(len(data.train.items), 1)
    odds = np.log(1 + popular / config.negatives * (share * num_items - 1)).astype(np.float32)
    given = over_windows(data, max(length, 1))
    given = given._replace(own=Own(given.own, odds))

    def init(key: Array, given: Given) -> Params:
        keys = jax.random.split(key, 6)
        tables = init_tables(keys[:5], config, data)
        one = jnp.full((1, 1), num_items)
        history = jnp.full((1, length), num_items)
        variables = net.init(
            keys[len(tables) - 1],
            user_rows(tables, jnp.full((1,), num_users)),
            tables[history_table][history] if length else None,
            history < num_items,
            rows_of(tables, "item", one),
        )
        return {"tables": tables, "net": variables["params"]}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        train = given.train
        users, ends = given.own.windows.at(index)
        if config.ordered:
            ends = shift_ends(pick, train, users, ends, length)
        window, _ = take_window(train, users, ends, span, num_items)
        if config.ordered:
            history, targets = window[:, :-1], window[:, 1:]
            targets = jnp.where(history < num_items, targets, num_items)  # a first interaction has no history
        else:
            history, targets, _ = hold_out(pick, window, min(config.targets, span), num_items)
        if config.loss == "full_softmax":
            others = jnp.broadcast_to(jnp.arange(num_items), (users.shape[0], num_items))
            return Batch(users, history, targets, others, jnp.zeros_like(others, bool))
        others, absent = shared_negatives(draw, train, users, config.negatives, num_items, popular)
        return Batch(users, history, targets, others, absent)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user = user_rows(tables, batch.users)
        history = tables[history_table][batch.history] if length else None
        mask = batch.history < num_items
        target, other = rows_of(tables, "item", batch.targets), rows_of(tables, "item", batch.negatives)
        apply = {"variables": {"params": params["net"]}, "rngs": {"dropout": key}}
        if config.ordered:
            positive, negative = net.apply(
                apply["variables"], user, history, mask, target, other, rngs=apply["rngs"], method="windowed"
            )
        else:
            both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), target, other)
            scores = net.apply(apply["variables"], user, history, mask, both, True, rngs=apply["rngs"])
            positive, negative = scores[:, : batch.targets.shape[1]], scores[:, None, batch.targets.shape[1] :]
        if popular:
            negative = negative - jnp.asarray(given.own.odds)[batch.negatives][:, None]
        negative = jnp.where(batch.absent[:, None], -jnp.inf, negative)
        losses = pair_loss(config.loss, positive, negative, num_items=num_items, ratio=config.ratio)
        if config.l2:
            losses = losses + config.l2 * jnp.sum(target["item"] ** 2, -1)
            losses = losses + (config.l2 * jnp.sum(user["user"] ** 2, -1) if config.user else 0.0)
        return masked_mean(losses, batch.targets < num_items)

    def prepare(params: Params, given: Given) -> dict:
        """The item part of the tower's first layer, in place of its table."""
        return {**params, "tables": project_items(params["tables"], config, params["net"].get("mlp"))}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        apply = partial(net.apply, {"params": ready["net"]})
        user = project_users(user_rows(ready["tables"], query.users), config, ready["net"].get("mlp"))
        encoded, mask = None, query.history < num_items
        if length:
            encoded = apply(ready["tables"][history_table][query.history], mask, False, method="encode")

        def block(ids: Array) -> Array:
            scores = apply(user, encoded, mask, rows_of(ready["tables"], "item", ids), method="after")
            return jnp.broadcast_to(scores, (len(query.users), ids.shape[-1]))  # item biases alone are one row

        # A quarter of the weights, as products that are batched over users gain from more items at once.
        width = max(config.factors, *config.tower, config.heads * length * max(config.scorer, 1) // 4)
        every = jnp.arange(num_items)[None]
        return over_items(block, every if items is None else items, items_at_once(len(query.users) * width))

    def attend(ready: dict, query: Query, items: Array) -> Array:
        history, item = ready["tables"][history_table][query.history], rows_of(ready["tables"], "item", items)
        return net.apply({"params": ready["net"]}, history, query.history < num_items, item, method="attend")

    learn = Gradient(len(given.own.windows.users), init, sample, loss, batch=max(2048 // max(length, 2), 1))
    unit = "log-odds of an interaction" if config.loss == "bce" else ""
    return Recommender(learn, given, length, prepare, score, None, attend if length else None, unit=unit)
