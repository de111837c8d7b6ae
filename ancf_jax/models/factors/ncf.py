"""Neural collaborative filtering: GMF, MLP and NeuMF (He et al., Neural Collaborative Filtering, 2017).

    GMF    s_ui = w . (p_u * q_i) + b
    MLP    s_ui = w . tower([p'_u, q'_i]) + b
    NeuMF  s_ui = alpha w_g . (p_u * q_i) + (1 - alpha) w_t . tower([p'_u, q'_i]) + b

trained by binary cross-entropy of each interaction against N negatives. NeuMF's tables and weights carry the names
they have in GMF and MLP, so the paper's pretraining is a warm start from those two checkpoints; alpha stands in the
equation, where the paper scales the pretrained output weights by it.

With a loss of ratings.py, s_ui predicts the value of an interaction, and there are no negatives.
"""

from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import negatives
from ancf_jax.nn.layers import (
    Tower,
    by_rows,
    items_at_once,
    over_items,
    rows_of,
    table,
    tower_input,
    wide_product,
    with_one,
)
from ancf_jax.nn.losses import SAMPLED_LOSSES, UNITS, masked_mean, pair_loss
from ancf_jax.nn.value_heads import RATING_LOSSES, make_head
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

LOSSES = (*SAMPLED_LOSSES, *RATING_LOSSES)
LOSS = "of a positive against its negatives, or of a predicted value"
SEARCH: Space = {
    "factors": (16, 32, 64, 128),
    "tower_factors": (16, 32, 64, 128),
    "tower": ((32, 16), (64, 32, 16), (128, 64, 32)),
    "alpha": Range(0.1, 0.9),
    "negatives": (1, 2, 4, 8, 16),
    "l2": Range(0.00001, 0.1, log=True),
    "dropout": Range(0.0, 0.6),
    "stddev": Range(0.003, 0.3, log=True),
    "batch_size": (512, 1024, 2048, 4096),
}


@dataclass(frozen=True)
class NeuMF:
    """NeuMF: the element-wise path and the tower, fused by one output layer."""

    factors: int = field(32, "embedding width D of the element-wise path (0: no such path)", low=0)
    tower_factors: int = field(32, "embedding width of the tower", low=1)
    tower: tuple[int, ...] = field((64, 32, 16), "widths of the fully connected layers (empty: no tower)")
    alpha: float = field(0.5, "weight of the element-wise path against the tower", low=0, high=1)
    loss: str = field("bce", LOSS, LOSSES)
    negatives: int = field(4, "negatives per positive", low=1)
    l2: float = field(0.0, "L2 penalty on the embeddings of each scored pair", low=0)
    dropout: float = field(0.0, "dropout inside the tower", low=0, high=0.99)
    stddev: float = field(0.01, "standard deviation of the initial embeddings", low=0)


@dataclass(frozen=True)
class GMF:
    """GMF: the element-wise path alone."""

    factors: int = field(32, "embedding width D of the element-wise path", low=1)
    loss: str = field("bce", LOSS, LOSSES)
    negatives: int = field(4, "negatives per positive", low=1)
    l2: float = field(0.0, "L2 penalty on the embeddings of each scored pair", low=0)
    stddev: float = field(0.01, "standard deviation of the initial embeddings", low=0)


@dataclass(frozen=True)
class MLP:
    """MLP: the tower alone."""

    tower_factors: int = field(32, "embedding width of the tower", low=1)
    tower: tuple[int, ...] = field((64, 32, 16), "widths of the fully connected layers")
    loss: str = field("bce", LOSS, LOSSES)
    negatives: int = field(4, "negatives per positive", low=1)
    l2: float = field(0.0, "L2 penalty on the embeddings of each scored pair", low=0)
    dropout: float = field(0.0, "dropout inside the tower", low=0, high=0.99)
    stddev: float = field(0.01, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Each user's item in column 0 and its value, then the negatives, if the loss has any."""

    users: Array  # [B]
    items: Array  # [B, 1 + N], or [B, 1]
    values: Array  # [B]


class Net(nn.Module):
    """The output layer over both paths; rows of tables in, scores [B, K] out, in float32."""

    config: NeuMF

    @nn.compact
    def __call__(self, user: dict, item: dict, deterministic: bool = True) -> Array:
        config = self.config
        score = self.param("bias", nn.initializers.zeros, ())
        both = config.factors > 0 and len(config.tower) > 0
        if config.factors:
            weight = self.param("product", nn.initializers.normal(config.factors**-0.5), (config.factors,))
            product = wide_product("bd,bkd->bk", user["user"] * weight, item["item"])
            score = score + (config.alpha * product if both else product)
        if config.tower:
            parts = [jax.tree.map(lambda part: part[:, None], user["user_tower"]), item["item_tower"]]
            hidden = Tower(config.tower, config.dropout, name="tower")(parts, deterministic)
            weight = self.param("hidden", nn.initializers.normal(config.tower[-1] ** -0.5), (config.tower[-1],))
            hidden = by_rows(lambda rows: wide_product("nd,d->n", rows, weight), hidden)
            score = score + ((1 - config.alpha) * hidden if both else hidden)
        return score


def make(config: NeuMF, data: Data) -> Recommender:
    """NeuMF, and through it GMF and MLP, by gradient steps over pairs."""
    num_users, num_items = data.num_users, data.num_items
    net = Net(config)
    head = make_head(config.loss, data.train.values) if config.loss in RATING_LOSSES else None
    widths = {"": config.factors, "_tower": config.tower_factors if config.tower else 0}

    def init(key: Array, given: Given) -> Params:
        keys = jax.random.split(key, 2 * len(widths) + 1)
        tables = {}
        for (suffix, width), user_key, item_key in zip(widths.items(), keys[1::2], keys[2::2], strict=True):
            if width:
                tables[f"user{suffix}"] = table(user_key, num_users, width, config.stddev)
                tables[f"item{suffix}"] = table(item_key, num_items, width, config.stddev)
        one = jnp.zeros((1,), jnp.int32)
        variables = net.init(keys[0], rows_of(tables, "user", one), rows_of(tables, "item", one[:, None]))
        return {"tables": tables, "net": variables["params"] | ({"head": head.init()} if head else {})}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, items, values = (jnp.asarray(column)[index] for column in given.train[:3])
        if head:
            return Batch(users, items[:, None], values)
        others = negatives(key, given.train, users, config.negatives, num_items)
        return Batch(users, jnp.concatenate([items[:, None], others], axis=1), values)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        user, item = rows_of(params["tables"], "user", batch.users), rows_of(params["tables"], "item", batch.items)
        scores = net.apply({"params": params["net"]}, user, item, False, rngs={"dropout": key})
        if head:
            losses = head.loss(params["net"]["head"], scores[:, 0], batch.values)
        else:
            ratio = float(config.negatives)
            losses = pair_loss(config.loss, scores[:, 0], scores[:, 1:], num_items=num_items, ratio=ratio)
        if config.l2:
            squares = sum(jnp.sum(x**2, tuple(range(1, x.ndim))) for x in [*user.values(), *item.values()])
            losses = losses + config.l2 * squares
        return masked_mean(losses, jnp.ones_like(losses, bool))

    def prepare(params: Params, given: Given) -> dict:
        """The item part of the tower's first layer, in place of its table, or the item vectors of `embed`."""
        tables, net = params["tables"], params["net"]
        if config.tower:
            tables = {**tables, "item_tower": tower_input(net["tower"], 1, tables["item_tower"])}
        else:
            tables = {**tables, "vectors": with_one(tables["item"][:num_items])}
        return {"tables": tables, "net": net}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables, net_weights = ready["tables"], ready["net"]
        user: dict = rows_of(tables, "user", query.users)
        if config.tower:
            user["user_tower"] = tower_input(net_weights["tower"], 0, user["user_tower"])

        def block(ids: Array) -> Array:
            return net.apply({"params": net_weights}, user, rows_of(tables, "item", ids))

        floats = max(len(query.users) * max(config.tower, default=1), config.factors)
        scores = over_items(block, jnp.arange(num_items)[None] if items is None else items, items_at_once(floats))
        return head.predict(net_weights["head"], scores) if head else scores

    def embed(ready: dict, query: Query) -> tuple[Array, Array]:
        user = ready["tables"]["user"][query.users] * ready["net"]["product"]
        bias = jnp.broadcast_to(ready["net"]["bias"], (user.shape[0], 1))
        return jnp.concatenate([user, bias], 1), ready["tables"]["vectors"]

    learn = Gradient(len(data.train.users), init, sample, loss)
    inner = not config.tower and head is None
    unit = UNITS.get(config.loss, "")
    inner_product = embed if inner else None
    return Recommender(learn, Given(data.train), 0, prepare, score, inner_product, rates=head is not None, unit=unit)


def make_gmf(config: GMF, data: Data) -> Recommender:
    """GMF is NeuMF without a tower."""
    whole = NeuMF(
        factors=config.factors,
        tower=(),
        loss=config.loss,
        negatives=config.negatives,
        l2=config.l2,
        stddev=config.stddev,
    )
    return make(whole, data)


def make_mlp(config: MLP, data: Data) -> Recommender:
    """MLP is NeuMF without the element-wise path."""
    return make(NeuMF(factors=0, **vars(config)), data)
