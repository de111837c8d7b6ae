"""ANCF's tables and network: rows in, attention over a history, scores out. The equations are in ancf.py."""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.nn.attention import (
    candidate_cosines,
    candidate_mixtures,
    candidate_sums,
    candidate_weights,
    causal_contributions,
    causal_mixtures,
    split_heads,
)
from ancf_jax.nn.layers import (
    Dropout,
    Recurrence,
    Tower,
    by_rows,
    rows_of,
    table,
    tower_input,
    unit_rows,
    wide_product,
)
from ancf_jax.nn.self_attention import SelfAttention
from ancf_jax.types import Array, Data


class Encoded(NamedTuple):
    """What the network makes of a history."""

    states: Array  # [B, H, D]; [B, 1, D], the latest, where that is all that scores
    keys: Any  # [B, H, heads, d], as are the values; None without candidate attention
    values: Any


class Net(nn.Module):
    """Everything but the tables: rows in, scores out."""

    config: Any  # ancf.Config

    def setup(self):
        c = self.config
        if c.history:
            if c.ordered and c.encoder == "attention":
                self.position = self.param("position", nn.initializers.normal(c.stddev), (c.history, c.factors))
            self.encoder = encoder_of(c) if c.layers else None
        if c.history and c.heads:
            if c.ordered:
                self.recency = self.param("recency", recency_init, (c.heads, c.history))
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

    def encode(self, rows: Array, mask: Array, train: bool) -> Encoded:
        """What is made of history rows [B, H, D]."""
        c = self.config
        if c.encoder == "attention":
            if c.state:
                rows = rows * c.factors**0.5
            rows = self.drop(rows + self.position[-rows.shape[1] :] if c.ordered else rows, deterministic=not train)
        if self.encoder is not None:
            # Without heads the latest state is all that scores.
            rows = self.encoder(rows, mask, deterministic=not train, last=not train and not c.heads)
        if not c.heads:
            return Encoded(rows, None, None)
        keys, values = (self.key(rows), self.value(rows)) if c.project else (rows, rows)
        return Encoded(rows, split_heads(keys, c.heads), split_heads(values, c.heads))

    def logits(self, item: Array, keys: Array) -> Array:
        """f [B, heads, K, H] of candidates [B, K, D] over keys [B, H, heads, d], without recency."""
        query = split_heads(self.query(item) if self.config.project else item, self.config.heads)
        if self.config.scorer:
            pairs = query[:, :, None] * keys[:, None]  # [B, K, H, heads, d]
            return jnp.moveaxis(self.scorer_out(nn.relu(self.scorer_in(pairs)))[..., 0], 3, 1)
        return jnp.einsum("bknd,bhnd->bnkh", query, keys) / jnp.sqrt(query.shape[-1])

    def weights(self, item: Array, keys: Array, mask: Array) -> Array:
        """a [B, heads, K, H] of candidates after the history where `mask`, [B, H] or for each candidate [B, K, H]."""
        each = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
        recency = self.recency[:, None, : mask.shape[-1]][..., ::-1] if self.config.ordered else 0.0
        return candidate_weights(self.logits(item, keys) + recency, each, self.config.smoothing)

    def parts(self, user: dict, attended: Array | None) -> list[Array]:
        """w_g * p_u and w_a * c_ui, which meet the item in the element-wise path."""
        vectors = [user["user"] * self.product] if self.config.user else []
        return vectors if attended is None else [*vectors, attended * self.attended]

    def fuse(self, user: dict, item: dict, attended: Array | None, train: bool, met: Array | None = None) -> Array:
        """Scores [B, ..., K], float32, from user rows [B, 1.., D], item rows [B, ..., K, D] and c [B, ..., K, D].

        `met` is the element-wise path where that is known.
        """
        c, total = self.config, partial(jnp.sum, axis=-1, dtype=jnp.float32)
        score = (item["item_bias"][..., 0] + self.bias).astype(jnp.float32)
        vectors = self.parts(user, attended)
        if met is not None:
            score = score + met
        elif vectors and c.temperature:
            score = score + total(unit_rows(sum(vectors[1:], vectors[0])) * unit_rows(item["item"])) / c.temperature
        else:
            score = sum((total(vector * item["item"]) for vector in vectors), score)
        if c.tower:
            parts = [user["user_tower"]] if c.user else []
            parts = [*parts, item["item_tower"], *([] if attended is None else [attended])]
            hidden = self.mlp(parts, deterministic=not train)
            score = score + by_rows(lambda rows: wide_product("nd,d->n", rows, self.hidden), hidden)
        return score

    def __call__(self, user: dict, rows: Array, mask: Array, item: dict, train: bool = False) -> Array:
        """Scores [B, K] of candidates after the whole history; or in training, of its items each after the others."""
        encoded = self.encode(rows, mask, train) if self.config.history else None
        if train and self.config.history and not self.config.targets:
            mask = others_than_itself(mask, item["item"].shape[1])
        return self.after(user, encoded, mask, item, train)

    def after(self, user: dict, encoded: Encoded | None, mask: Array, item: dict, train: bool = False) -> Array:
        """Scores [B, K] after a history as it was encoded, of candidates [B, K, ...] or [1, K, ...]."""
        attended, met = None, None
        if encoded is not None and encoded.keys is not None:
            if len(item["item"]) == 1 and mask.ndim == 2 and not self.config.scorer:
                attended, met = self.of_shared(user, encoded, mask, item["item"][0])
            else:
                attended = mixture_of(self.weights(item["item"], encoded.keys, mask), encoded.values)
        scores = self.fuse(user, item, attended, train, met)
        if encoded is not None and self.config.state:
            scores = scores + wide_product("bd,bkd->bk", encoded.states[:, -1], item["item"])
        return scores

    def of_shared(self, user: dict, encoded: Encoded, mask: Array, item: Array) -> tuple[Array | None, Array | None]:
        """c [B, K, D] of candidates [K, D] that all histories share, for a tower; without one, the element-wise path.

        The logits [heads, B, H, K] are one product, and candidates stay last: nothing is transposed.
        """
        c = self.config
        query = split_heads(self.query(item) if c.project else item, c.heads)
        first = jnp.take_along_axis(encoded.keys, jnp.argmax(mask, axis=1)[:, None, None, None], axis=1)
        keys = jnp.where(mask[..., None, None], encoded.keys, first)  # so padding is never above what is there
        logits = jnp.einsum("bhnd,knd->nbhk", keys, query / jnp.sqrt(query.shape[-1]))
        if c.ordered:
            recency = self.recency[:, None, : mask.shape[1], None][:, :, ::-1]
            logits = jnp.where(mask[..., None], logits + recency, -jnp.inf)
        there = mask[..., None]
        if c.tower:
            mixed = candidate_mixtures(logits, encoded.values, there, c.smoothing)
            found = jnp.transpose(mixed, (1, 3, 0, 2)).astype(item.dtype)
            return found.reshape(*found.shape[:2], -1), None
        own = sum(self.parts(user, None), jnp.zeros((1, 1, c.factors)))  # [B, 1, D], where users have a vector
        if c.temperature:
            weighed = encoded.values * split_heads(self.attended, c.heads)
            mixed = candidate_mixtures(logits, weighed, there, c.smoothing)
            return None, candidate_cosines(mixed, item, own) / c.temperature
        # w_a . (c_ui * q_i) is a sum of inner products, and c is not made.
        along = jnp.einsum("bhnd,knd->nbhk", encoded.values, split_heads(item * self.attended, c.heads))
        met = candidate_sums(logits, along, there, c.smoothing).sum(0)
        return None, met + wide_product("bod,kd->bk", own, item)

    def attend(self, user: dict, rows: Array, mask: Array, item: dict) -> Array:
        """a [B, K, heads, H]."""
        return jnp.moveaxis(self.weights(item["item"], self.encode(rows, mask, False).keys, mask), 1, 2)

    def contribute(self, user: dict, rows: Array, mask: Array, item: dict) -> Array:
        """What each interaction adds to the scores by the element-wise path and the state, [B, K, H].

        Weights times values, projected on the item; the state counts for the interaction that it is of.
        """
        encoded = self.encode(rows, mask, False)
        weighed = split_heads(item["item"] * self.attended, self.config.heads)
        along = jnp.einsum("bhnd,bknd->bnkh", encoded.values, weighed)
        weights = self.weights(item["item"], encoded.keys, mask)
        found = jnp.sum(weights * along, axis=1, dtype=jnp.float32)
        if self.config.temperature:
            parts = self.parts(user, mixture_of(weights, encoded.values))
            lengths = jnp.linalg.norm(sum(parts[1:], parts[0]), axis=-1) * jnp.linalg.norm(
                item["item"], axis=-1
            )  # [B, K]
            found = found / (jnp.where(lengths > 0, lengths, 1.0) * self.config.temperature)[..., None]
        if self.config.state:
            found = found.at[..., -1].add(wide_product("bd,bkd->bk", encoded.states[:, -1], item["item"]))
        return jnp.where(mask[:, None], found, 0.0)

    def vectors(self, user: dict, rows: Array, mask: Array) -> Array:
        """Order-aware training: what the scores of each column, if they are products <., q_i>, are of, [B, H, D]."""
        c, states = self.config, self.encode(rows, mask, True).states
        states = states if c.state else jnp.zeros_like(states)
        return states + self.product * user["user"] if c.user else states

    def windowed(self, user: dict, rows: Array, mask: Array, target: dict, other: dict) -> tuple[Array, Array]:
        """Order-aware training: scores of target p after columns 0..p [B, P], and of every negative there [B, P, N]."""
        c, encoded = self.config, self.encode(rows, mask, True)
        every_user = {name: row[:, :, None] for name, row in user.items()}
        every_other = {name: row[:, None] for name, row in other.items()}
        own: Any = None
        cross: Any = None
        if c.heads:
            recency = self.recency[:, : mask.shape[1]]
            own, cross = (self.logits(item["item"], encoded.keys) for item in (target, other))
            own = causal_mixtures(own, encoded.values, recency, mask, c.smoothing, own_column=True)  # [B, P, D]
        positive = self.fuse(user, target, own, True)
        if c.heads and c.tower:
            mixed = causal_mixtures(cross, encoded.values, recency, mask, c.smoothing, own_column=False)
            negative = self.fuse(every_user, every_other, mixed, True)
        else:
            negative = self.fuse(every_user, every_other, None, True)  # [B, 1, N]
            if c.heads:
                weighed = split_heads(other["item"] * self.attended, c.heads)
                along = jnp.einsum("bhnd,bknd->bnkh", encoded.values, weighed)
                negative = negative + causal_contributions(cross, along, recency, mask, c.smoothing)
        if c.state:
            positive = positive + wide_product("bhd,bhd->bh", encoded.states, target["item"])
            negative = negative + wide_product("bhd,bnd->bhn", encoded.states, other["item"])
        return positive, negative


def others_than_itself(mask: Array, count: int) -> Array:
    """What of a history is there [B, H] -> what `count` candidates, its own items first, attend to: [B, K, H]."""
    return mask[:, None] & ~jnp.eye(count, mask.shape[1], dtype=bool)


def mixture_of(weights: Array, values: Array) -> Array:
    """c [B, K, D] of weights [B, heads, K, H] and values [B, H, heads, d]."""
    found = jnp.einsum("bnkh,bhnd->bknd", weights, values)
    return found.reshape(*found.shape[:2], -1)


def encoder_of(config: Any) -> nn.Module:
    """The layers over a history: self-attention, or a recurrence."""
    if config.encoder == "gru":
        return Recurrence(config.layers, "gru", config.dropout)
    return SelfAttention(config.layers, max(config.heads, 1), config.dropout, config.ordered)


def recency_init(key: Array, shape: tuple[int, int]) -> Array:
    """-s_n log(1 + steps back): power laws, from steep (s = 3: mostly the latest interaction) to slow (s = 1)."""
    slopes = jnp.linspace(3.0, 1.0, shape[0])
    return -slopes[:, None] * jnp.log1p(jnp.arange(shape[1]))


def init_tables(keys: Array, config: Any, data: Data) -> dict[str, Array]:
    """ANCF's tables from keys [5]: the vectors q, p and r, q' and p' of the tower, and the items' biases."""
    sizes = {"item": data.num_items, "user": data.num_users}
    widths = {"item": config.factors}
    if config.user:
        widths["user"] = config.factors
    if config.history and not config.tied:
        widths["item_history"] = config.factors
    if config.tower:
        widths["item_tower"] = config.tower_factors
        if config.user:
            widths["user_tower"] = config.tower_factors
    tables = {
        name: table(key, sizes[name.partition("_")[0]], width, config.stddev)
        for key, (name, width) in zip(keys, widths.items(), strict=False)
    }
    return {**tables, "item_bias": jnp.zeros((data.num_items + 1, 1))}


def user_rows(tables: dict[str, Any], users: Array) -> dict[str, Array]:
    """`rows_of` users [B], as [B, 1, D]."""
    return rows_of(tables, "user", users[:, None])


def project_items(tables: dict[str, Array], config: Any, mlp: Any) -> dict[str, Any]:
    """The tables with the item part of the tower's first layer in place of its item vectors."""
    if not config.tower:
        return tables
    return {**tables, "item_tower": tower_input(mlp, int(config.user), tables["item_tower"])}


def project_users(user: dict[str, Array], config: Any, mlp: Any) -> dict[str, Any]:
    """Rows of users with the user part of the tower's first layer in place of their tower vectors."""
    if not config.tower or not config.user:
        return user
    return {**user, "user_tower": tower_input(mlp, 0, user["user_tower"])}
