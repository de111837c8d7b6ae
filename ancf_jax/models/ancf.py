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

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.attention import candidate_weights, causal_contributions, causal_mixtures
from ancf_jax.config import field
from ancf_jax.data.samplers import knows, shift_ends, take_window, windows
from ancf_jax.layers import Dropout, SelfAttention, Tower, items_at_once, over_items, table, tower_input
from ancf_jax.losses import PAIR_LOSSES, masked_mean, pair_loss
from ancf_jax.types import Array, Data, Gradient, InputError, Interactions, Params, Query, Recommender


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


class Net(nn.Module):
    """Everything but the tables: rows in, scores out."""

    config: Config

    def setup(self):
        c = self.config
        if c.history:
            if c.ordered:
                self.position = self.param("position", nn.initializers.normal(c.stddev), (c.history, c.factors))
                self.recency = self.param("recency", recency_init, (c.heads, c.history))
            self.encoder = SelfAttention(c.layers, c.heads, c.dropout, c.ordered) if c.layers else None
            self.query, self.key, self.value = (nn.Dense(c.factors, use_bias=False) for _ in range(3))
            if c.scorer:
                self.scorer_in, self.scorer_out = nn.Dense(c.scorer), nn.Dense(1, use_bias=False)
            self.attended = self.param("attended", nn.initializers.ones, (c.factors,))
        if c.user:
            self.product = self.param("product", nn.initializers.ones, (c.factors,))
        if c.tower:
            self.mlp = Tower(c.tower, c.dropout)
            self.hidden = self.param("hidden", nn.initializers.normal(c.tower[-1] ** -0.5), (c.tower[-1],))
        self.bias = self.param("bias", nn.initializers.zeros, ())
        self.drop = Dropout(c.dropout)

    def split(self, x: Array) -> Array:
        """[..., D] to heads [..., heads, d]."""
        return x.reshape(*x.shape[:-1], self.config.heads, -1)

    def encode(self, rows: Array, mask: Array, train: bool) -> tuple[Array, Array]:
        """Keys and values [B, H, heads, d] of history rows [B, H, D]."""
        if self.config.ordered:
            rows = rows + self.position
        rows = self.drop(rows, deterministic=not train)
        if self.encoder is not None:
            rows = self.encoder(rows, mask, deterministic=not train)
        if not self.config.project:
            return self.split(rows), self.split(rows)
        return self.split(self.key(rows)), self.split(self.value(rows))

    def logits(self, item: Array, keys: Array) -> Array:
        """f [B, heads, K, H] of candidates [B, K, D] over keys [B, H, heads, d], without recency."""
        query = self.split(self.query(item) if self.config.project else item)
        if self.config.scorer:
            pairs = query[:, :, None] * keys[:, None]  # [B, K, H, heads, d]
            return jnp.moveaxis(self.scorer_out(nn.relu(self.scorer_in(pairs)))[..., 0], 3, 1)
        return jnp.einsum("bknd,bhnd->bnkh", query, keys) / jnp.sqrt(query.shape[-1])

    def weights(self, item: Array, keys: Array, mask: Array) -> Array:
        """a [B, heads, K, H] of candidates after the whole history."""
        recency = self.recency[:, None, ::-1] if self.config.ordered else 0.0
        return candidate_weights(self.logits(item, keys) + recency, mask[:, None, None], self.config.smoothing)

    def fuse(self, user: dict, item: dict, attended: Array | None, train: bool) -> Array:
        """Scores [B, ..., K] from user rows [B, 1.., D], item rows [B, ..., K, D] and c [B, ..., K, D]."""
        c = self.config
        score = item["item_bias"][..., 0] + self.bias
        if c.user:
            score = score + jnp.sum(user["user"] * self.product * item["item"], -1)
        if attended is not None:
            score = score + jnp.sum(attended * self.attended * item["item"], -1)
        if c.tower:
            parts = [user["user_tower"]] if c.user else []
            parts = [*parts, item["item_tower"], *([] if attended is None else [attended])]
            score = score + self.mlp(parts, deterministic=not train) @ self.hidden
        return score

    def __call__(self, user: dict, rows: Array, mask: Array, item: dict, train: bool = False) -> Array:
        """Scores [B, K] of candidates after the whole history."""
        encoded = self.encode(rows, mask, train) if self.config.history else None
        return self.after(user, encoded, mask, item, train)

    def after(self, user: dict, encoded: tuple | None, mask: Array, item: dict, train: bool = False) -> Array:
        """Scores [B, K] after a history whose keys and values are given, of candidates [B, K, ...] or [1, K, ...]."""
        attended = None
        if encoded is not None:
            weights = self.weights(item["item"], encoded[0], mask)
            attended = jnp.einsum("bnkh,bhnd->bknd", weights, encoded[1])
            attended = attended.reshape(*attended.shape[:2], self.config.factors)
        return self.fuse(user, item, attended, train)

    def attend(self, rows: Array, mask: Array, item: dict) -> Array:
        """a [B, K, heads, H]."""
        keys, _ = self.encode(rows, mask, False)
        return jnp.moveaxis(self.weights(item["item"], keys, mask), 1, 2)

    def windowed(self, user: dict, rows: Array, mask: Array, target: dict, other: dict) -> tuple[Array, Array]:
        """Order-aware training: scores of target p after columns 0..p [B, P], and of every negative there [B, P, N]."""
        keys, values = self.encode(rows, mask, True)
        recency, smoothing = self.recency, self.config.smoothing
        own, cross = self.logits(target["item"], keys), self.logits(other["item"], keys)
        diagonal = causal_mixtures(own, values, recency, mask, smoothing, own_column=True)  # [B, P, D]
        positive = self.fuse(user, target, diagonal, True)
        every_user = {name: row[:, :, None] for name, row in user.items()}
        every_other = {name: row[:, None] for name, row in other.items()}
        if self.config.tower:
            mixed = causal_mixtures(cross, values, recency, mask, smoothing, own_column=False)  # [B, P, N, D]
            return positive, self.fuse(every_user, every_other, mixed, True)
        along = jnp.einsum("bhnd,bknd->bnkh", values, self.split(other["item"] * self.attended))
        negative = self.fuse(every_user, every_other, None, True)  # [B, 1, N]
        return positive, negative + causal_contributions(cross, along, recency, mask, smoothing)


def make(config: Config, data: Data) -> Recommender:
    """ANCF by gradient steps over windows of users' histories."""
    num_users, num_items, length = data.num_users, data.num_items, config.history
    net = Net(config)
    span = length + 1 if config.ordered else max(length, 1)
    offsets = np.asarray(data.train.offsets)
    window_users, window_ends = map(jnp.asarray, windows(offsets, max(length, 1)))
    history_table = "item" if config.tied else "item_history"

    # How often an item is drawn against uniform negatives, as a logarithm: the log-q correction.
    popular = round(config.popular * config.negatives)
    share = np.bincount(data.train.items, minlength=num_items + 1) / max(len(data.train.items), 1)
    odds = jnp.log(1 + popular / config.negatives * (share * num_items - 1))  # [I + 1]

    def rows(tables: dict, side: str, ids: Array) -> dict:
        chosen = {name: rows for name, rows in tables.items() if name.startswith(side) and name != "item_history"}
        return jax.tree.map(lambda rows: rows[ids], chosen)

    def user_rows(tables: dict, users: Array) -> dict:
        return rows(tables, "user", users[:, None])  # [B, 1, D]

    def init(key: Array) -> Params:
        keys = iter(jax.random.split(key, 6))
        shapes = {"item": (num_items, config.factors)}
        if config.user:
            shapes["user"] = (num_users, config.factors)
        if length and not config.tied:
            shapes["item_history"] = (num_items, config.factors)
        if config.tower:
            shapes["item_tower"] = (num_items, config.tower_factors)
            if config.user:
                shapes["user_tower"] = (num_users, config.tower_factors)
        tables = {name: table(next(keys), *shape, config.stddev) for name, shape in shapes.items()}
        tables["item_bias"] = jnp.zeros((num_items + 1, 1))
        one = jnp.full((1, 1), num_items)
        history = jnp.full((1, length), num_items)
        variables = net.init(
            next(keys),
            user_rows(tables, jnp.full((1,), num_users)),
            tables[history_table][history] if length else None,
            history < num_items,
            rows(tables, "item", one),
        )
        return {"tables": tables, "net": variables["params"]}

    def sample(key: Array, train: Interactions, index: Array) -> Batch:
        pick, draw = jax.random.split(key)
        users, ends = window_users[index], window_ends[index]
        if config.ordered:
            ends = shift_ends(pick, train, users, ends, length)
        window, _ = take_window(train, users, ends, span, num_items)
        if config.ordered:
            history, targets = window[:, :-1], window[:, 1:]
            targets = jnp.where(history < num_items, targets, num_items)  # a first interaction has no history
        else:
            history, targets = hold_out(pick, window, min(config.targets, span), num_items)
        if config.loss == "full_softmax":
            others = jnp.broadcast_to(jnp.arange(num_items), (users.shape[0], num_items))
            return Batch(users, history, targets, others, jnp.zeros_like(others, bool))
        others = jax.random.randint(draw, (users.shape[0], config.negatives), 0, num_items)
        if popular:
            drawn = jax.random.randint(jax.random.fold_in(draw, 1), (users.shape[0], popular), 0, train.items.shape[0])
            others = others.at[:, :popular].set(jnp.asarray(train.items)[drawn])
        return Batch(users, history, targets, others, knows(train, users, others))

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user = user_rows(tables, batch.users)
        history = tables[history_table][batch.history] if length else None
        mask = batch.history < num_items
        target, other = rows(tables, "item", batch.targets), rows(tables, "item", batch.negatives)
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
            negative = negative - odds[batch.negatives][:, None]
        negative = jnp.where(batch.absent[:, None], -jnp.inf, negative)
        losses = pair_loss(config.loss, positive, negative, num_items=num_items, ratio=config.ratio)
        if config.l2:
            losses = losses + config.l2 * jnp.sum(target["item"] ** 2, -1)
            losses = losses + (config.l2 * jnp.sum(user["user"] ** 2, -1) if config.user else 0.0)
        return masked_mean(losses, batch.targets < num_items)

    def prepare(params: Params) -> dict:
        """The item part of the tower's first layer, in place of its table."""
        tables, net = params["tables"], params["net"]
        if config.tower:
            tables = {**tables, "item_tower": tower_input(net["mlp"], int(config.user), tables["item_tower"])}
        return {"tables": tables, "net": net}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        apply = partial(net.apply, {"params": ready["net"]})
        user = user_rows(ready["tables"], query.users)
        if config.tower and config.user:
            user["user_tower"] = tower_input(ready["net"]["mlp"], 0, user["user_tower"])
        encoded, mask = None, query.history < num_items
        if length:
            encoded = apply(ready["tables"][history_table][query.history], mask, False, method="encode")

        def block(ids: Array) -> Array:
            scores = apply(user, encoded, mask, rows(ready["tables"], "item", ids), method="after")
            return jnp.broadcast_to(scores, (len(query.users), ids.shape[-1]))  # item biases alone are one row

        # A quarter of the weights, as products that are batched over users gain from more items at once.
        width = max(config.factors, *config.tower, config.heads * length * max(config.scorer, 1) // 4)
        every = jnp.arange(num_items)[None]
        return over_items(block, every if items is None else items, items_at_once(len(query.users) * width))

    def attend(ready: dict, query: Query, items: Array) -> Array:
        history, item = ready["tables"][history_table][query.history], rows(ready["tables"], "item", items)
        return net.apply({"params": ready["net"]}, history, query.history < num_items, item, method="attend")

    learn = Gradient(len(window_users), init, sample, loss, batch=max(2048 // max(length, 2), 1))
    return Recommender(learn, length, prepare, score, None, attend if length else None)


def recency_init(key: Array, shape: tuple[int, int]) -> Array:
    """-s_n log(1 + steps back): power laws, from steep (s = 3: mostly the latest interaction) to slow (s = 1)."""
    slopes = jnp.linspace(3.0, 1.0, shape[0])
    return -slopes[:, None] * jnp.log1p(jnp.arange(shape[1]))


def hold_out(key: Array, window: Array, count: int, padding: int) -> tuple[Array, Array]:
    """Split windows [B, L] at random into a history [B, L] and targets [B, count], at least one of each where L > 1.

    At most half of a window's interactions become targets; what is taken out is `padding` in the history.
    """
    present = window < padding
    size = present.sum(1, keepdims=True)  # [B, 1]
    lottery = jnp.where(present, jax.random.uniform(key, window.shape), 2.0)
    place = jnp.argsort(jnp.argsort(lottery, axis=1), axis=1)  # of each column in the draw
    drawn = (place < jnp.minimum(count, (size + 1) // 2)) & present
    _, columns = jax.lax.top_k(-lottery, count)
    targets = jnp.where(jnp.take_along_axis(drawn, columns, 1), jnp.take_along_axis(window, columns, 1), padding)
    return jnp.where(drawn, padding, window), targets
