"""ANCF that predicts values: how a user will rate item i, or how much of it.

A head of ratings.py makes the prediction from a score that has ANCF's paths, and a bias of the user. A candidate may
attend to nothing at all, by a learned o of each head:

    s_ui = <p_u, q_i> + <c_ui, q_i> + w_t . tower([p'_u, q'_i, c_ui]) + b_u + b_i + b
    a_ih = exp(f_ih) / (exp(o) + sum over h' of exp(f_ih'))^smoothing,    c_ui = heads of sum over h of a_ih r_h

with f_ih = <W_q q_i, W_k r_h> / sqrt(d). With user vectors this is SVD++ (Koren, Factorization Meets the Neighborhood,
2008), whose weights are n^-1/2 for all of a history: what a user has chosen tells about taste, whatever the values
were. Without user vectors the values are read too. With z_h = (v_h - m_h) / sigma, how far the value of interaction h
lies from the damped mean of its item, r_h + z_h x_h stands for r_h in c, and two terms join the score, the user's mean
deviation and, as in a neighbourhood model but with attention for correlations, the deviations of similar items from it:

    d_u = (sum over h of z_h) / (n + 5),    s_ui += w_d d_u + sum over heads of w_n sum over h of a_ih (z_h - d_u)

So new users are predicted as well as others. Both at once would not do: a vector that has learnt a user's values by
heart, less those that are shown, gives away the value that is asked for.

A training row is a window of one user's interactions, some of which are predicted: with user vectors each after all the
others, without them all after the rest. There are as many rows of a window as it takes to ask for all that it holds.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.attention import candidate_weights
from ancf_jax.data.samplers import hold_out, take_window, windows
from ancf_jax.layers import Dropout, Tower, items_at_once, over_items
from ancf_jax.losses import masked_mean
from ancf_jax.models.ancf_net import init_tables, project_items, project_users, rows_of, split_heads, user_rows
from ancf_jax.ratings import damped_means, make_head, moments
from ancf_jax.types import Array, Data, Gradient, Interactions, Params, Query, Recommender

DAMPING = 5.0  # values that a mean must outweigh


class RatingNet(nn.Module):
    """Everything but the tables: rows in, scores out.

    Where ANCF weighs its paths by learned vectors, there are none: they would grow for rows that l2 keeps small.
    """

    config: Any  # ancf.Config

    def setup(self):
        c = self.config
        if not c.user:
            self.deviation = self.param("deviation", nn.initializers.ones, ())
            self.trust = self.param("trust", nn.initializers.constant(1 / c.heads), (c.heads,))
        if c.project:
            self.query, self.key = (nn.Dense(c.factors, use_bias=False) for _ in range(2))
        if c.tower:
            self.mlp = Tower(c.tower, c.dropout)
            self.hidden = self.param("hidden", nn.initializers.normal(c.tower[-1] ** -0.5), (c.tower[-1],))
        self.nothing = self.param("nothing", nn.initializers.zeros, (c.heads,))
        self.bias = self.param("bias", nn.initializers.zeros, ())
        self.drop = Dropout(c.dropout)

    def weights(self, rows: Array, seen: Array, item: dict) -> Array:
        """a [B, heads, K, H] of candidates [B, K, ...] or [1, K, ...] over what each has seen [B, K or 1, H]."""
        query, key = item["item"], rows
        if self.config.project:
            query, key = self.query(query), self.key(key)
        query, key = split_heads(query, self.config.heads), split_heads(key, self.config.heads)
        logits = jnp.einsum("bknd,bhnd->bnkh", query, key) / jnp.sqrt(query.shape[-1])
        nothing = jnp.broadcast_to(self.nothing[:, None, None], (*logits.shape[:3], 1)).astype(logits.dtype)
        seen = jnp.broadcast_to(seen, (len(seen), *logits.shape[2:]))
        seen = jnp.pad(seen, ((0, 0), (0, 0), (0, 1)), constant_values=True)[:, None]
        return candidate_weights(jnp.concatenate([logits, nothing], -1), seen, self.config.smoothing)[..., :-1]

    def __call__(self, user: dict, past: dict, seen: Array, item: dict, train: bool = False) -> Array:
        """Scores [B, K] of candidates [B, K, ...] or [1, K, ...] after what each has seen [B, K or 1, H] of a history.

        past: rows 'item_history' [B, H, D], and without user vectors 'item_valued' and deviations 'z' [B, H].
        """
        c, values = self.config, self.drop(past["item_history"], deterministic=not train)
        weights = self.weights(values, seen, item)
        score = user["user_bias"][..., 0] + item["item_bias"][..., 0] + self.bias
        if c.user:
            score = score + jnp.sum(user["user"] * item["item"], -1)
        else:
            z = past["z"]
            mean = z.sum(1, keepdims=True) / (seen[:, 0].sum(1, keepdims=True) + DAMPING)  # [B, 1]
            score = score + self.deviation * mean + jnp.einsum("bnkh,bh->bkn", weights, z - mean) @ self.trust
            values = values + z[..., None] * self.drop(past["item_valued"], deterministic=not train)
        attended = jnp.einsum("bnkh,bhnd->bknd", weights, split_heads(values, self.config.heads))
        attended = attended.reshape(*attended.shape[:2], c.factors)
        score = score + jnp.sum(attended * item["item"], -1)
        if c.tower:
            parts = [user["user_tower"]] if c.user else []
            score = score + self.mlp([*parts, item["item_tower"], attended], deterministic=not train) @ self.hidden
        return score

    def attend(self, past: dict, mask: Array, item: dict) -> Array:
        """a [B, K, heads, H]."""
        return jnp.moveaxis(self.weights(past["item_history"], mask[:, None], item), 1, 2)


class Batch(NamedTuple):
    """Windows of one user each."""

    users: Array  # [B]
    history: Array  # [B, H], padded with I
    values: Array  # [B, H]
    targets: Array  # [B, P], padded with I
    columns: Array  # [B, P] where the targets are in the window
    wanted: Array  # [B, P] values of the targets


def make(config: Any, data: Data) -> Recommender:
    """ANCF that predicts values, by gradient steps over windows; config is an ancf.Config with a rating loss."""
    num_users, num_items, length = data.num_users, data.num_items, config.history
    net, head = RatingNet(config), make_head(config.loss, data.train.values)
    asked = min(config.targets, length)
    window_users, window_ends = map(jnp.asarray, rows_of_windows(data, length, asked))
    _, scale = moments(data.train.values)
    usual = item_means(data)  # [I + 1]
    means = jnp.asarray(usual, jnp.float32)
    history_table = "item" if config.tied else "item_history"

    def past_of(tables: dict, items: Array, values: Array) -> dict:
        past = {"item_history": tables[history_table][items]}
        if config.user:
            return past
        z = jnp.where(items < num_items, (values - means[items]) / scale, 0.0)
        return {**past, "item_valued": tables["item_valued"][items], "z": z}

    def init(key: Array) -> Params:
        keys = jax.random.split(key, 6)
        tables = init_tables(keys[:5], config, data)
        if not config.user:
            tables["item_valued"] = jnp.zeros((num_items + 1, config.factors))
        tables["user_bias"] = jnp.zeros((num_users + 1, 1))
        tables["item_bias"] = jnp.asarray((usual - usual[-1]) / scale, jnp.float32)[:, None]
        one = jnp.full((1, 1), num_items)
        user, past = user_rows(tables, jnp.full((1,), num_users)), past_of(tables, one, jnp.zeros((1, 1)))
        variables = net.init(keys[5], user, past, (one < num_items)[:, None], rows_of(tables, "item", one))
        return {"tables": tables, "net": {"rating": variables["params"], "head": head.init()}}

    def sample(key: Array, train: Interactions, index: Array) -> Batch:
        users = window_users[index]
        window, values = take_window(train, users, window_ends[index], length, num_items)
        history, targets, columns = hold_out(key, window, asked, num_items)
        history = window if config.user else history
        wanted = jnp.take_along_axis(values, columns, axis=1)
        return Batch(users, history, jnp.where(history < num_items, values, 0.0), targets, columns, wanted)

    def loss(params: Params, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user, item = user_rows(tables, batch.users), rows_of(tables, "item", batch.targets)
        past = past_of(tables, batch.history, batch.values)
        seen = (batch.history < num_items)[:, None] & (jnp.arange(length) != batch.columns[..., None])  # [B, P, H]
        variables = {"params": params["net"]["rating"]}
        scores = net.apply(variables, user, past, seen, item, True, rngs={"dropout": key})
        losses = head.loss(params["net"]["head"], scores, batch.wanted)
        if config.l2:
            own = [item["item"], item["item_bias"], user["user_bias"], *([user["user"]] if config.user else [])]
            others = [past[name] for name in ("item_history", "item_valued") if name in past]
            squares = sum(jnp.sum(part**2, -1) for part in own)  # [B, P]
            rows = jnp.asarray(sum(jnp.sum(part**2, (1, 2)) for part in others))  # [B]
            losses = losses + config.l2 * (squares + rows[:, None])
        return masked_mean(losses, batch.targets < num_items)

    def prepare(params: Params) -> dict:
        """The item part of the tower's first layer, in place of its table."""
        mlp = params["net"]["rating"].get("mlp")
        return {**params, "tables": project_items(params["tables"], config, mlp)}

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        tables, variables = ready["tables"], {"params": ready["net"]["rating"]}
        user = project_users(user_rows(tables, query.users), config, ready["net"]["rating"].get("mlp"))
        past, seen = past_of(tables, query.history, query.values), (query.history < num_items)[:, None]

        def block(ids: Array) -> Array:
            scores = net.apply(variables, user, past, seen, rows_of(tables, "item", ids))
            return head.predict(ready["net"]["head"], scores)

        width = max(config.factors, *config.tower, config.heads * length // 4)
        every = jnp.arange(num_items)[None]
        return over_items(block, every if items is None else items, items_at_once(len(query.users) * width))

    def attend(ready: dict, query: Query, items: Array) -> Array:
        past, item = past_of(ready["tables"], query.history, query.values), rows_of(ready["tables"], "item", items)
        variables = {"params": ready["net"]["rating"]}
        return net.apply(variables, past, query.history < num_items, item, method="attend")

    learn = Gradient(len(window_users), init, sample, loss, batch=max(512 // asked, 1))
    return Recommender(learn, length, prepare, score, None, attend, rates=True)


def rows_of_windows(data: Data, length: int, asked: int) -> tuple[np.ndarray, np.ndarray]:
    """Users and ends of windows, as `windows`, each as often as it takes to ask for all of it, `asked` at a time."""
    offsets = np.asarray(data.train.offsets)
    users, ends = windows(offsets, length)
    times = -(-np.minimum(ends - offsets[users], length) // asked)
    return np.repeat(users, times), np.repeat(ends, times)


def item_means(data: Data) -> np.ndarray:
    """The damped mean value of each item, mu + sum (v - mu) / (n + 5), and mu for the padding: [I + 1]."""
    mean, _ = moments(data.train.values)
    values, items = jnp.asarray(data.train.values) - mean, jnp.asarray(data.train.items)
    return mean + np.asarray(damped_means(values, items, data.num_items + 1, DAMPING))
