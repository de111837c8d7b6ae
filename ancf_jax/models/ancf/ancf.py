"""Attention Neural Collaborative Filtering (ANCF).

A user's history j_1..j_H is encoded, e = encoder(r_j1..r_jH), by 0 or more layers of multi-head self-attention, either
order-aware (positions, causal) or order-free. Then the candidate item i attends to it, with one weight per past
interaction h and head:

    f_ih = <W_q q_i, W_k e_h> / sqrt(d) + recency_(H-1-h)      (recency only if order-aware)
    a_ih = exp(f_ih) / (sum over h' of exp(f_ih'))^smoothing
    c_ui = concatenation over heads of sum over h of a_ih W_v e_h

and the attended history joins user and item in the element-wise path and in the tower:

    s_ui = w_g . (p_u * q_i) + w_a . (c_ui * q_i) + w_t . tower([p'_u, q'_i, c_ui]) + b_i + b
         + <e_H, q_i> + w_c z_ui + w_e z'_ui + w_r r_i + w_n log(1 + n_ui)

or, with a `temperature` t, cos(w_g * p_u + w_a * c_ui, q_i) / t in place of the first two (Chen, Wu, Wu, Cao, Zhou &
He, Adap-tau: Adaptively Modulating Embedding Magnitude for Recommendation, 2023). Here e_H, the encoder's latest state,
scores only if order-aware, and z_ui is a closed form (prior.py, filtered.py) from which training starts and apart from
which the rest learns, w_c as given; or beside which, if `joint`, and w_c is learnt. Apart, z'_ui is, beside a closed
form that learns from the order, EASE's score by the whole history, as a set (`taste`). r_i is how far i is on
the rise, and n_ui how often u did it (untaught.py). Each part can be switched off. Without attention this is NeuMF (He
et al., Neural Collaborative Filtering, 2017); with only an order-free attention it is NAIS (He et al., NAIS: Neural
Attentive Item Similarity Model, 2018), whose network f = h . relu(W (q_i * e_h) + b) is `scorer` > 0; with a causal
encoder and its latest state alone it is SASRec (Kang & McAuley, Self-Attentive Sequential Recommendation, 2018); with a
recurrent encoder it is close to NARM (Li, Ren, Chen, Ren, Lian & Ma, Neural Attentive Session-based Recommendation,
2017).

A training row is a window of one user's interactions. Order-free, these are a random sample of the user's. A random
part of them are the targets and the rest is the history, or each is the target of all the others, so a target never
sees itself; and of a longer history a sample is attended to that hangs on its items alone. With `latest`, both are
consecutive, which is knowledge of the order. With `prior_next` the closed form knows what came after what in the log,
and of a history, whose order it does not see, what is in it. Order-aware: every interaction is the target of those
before it, all in one pass (see attention.py), and the window ends at a random place.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.samplers import over_windows
from ancf_jax.models.ancf.batch import (
    Batch,
    Own,
    into_columns,
    is_inner,
    last_columns,
    lengths_in,
    sample_of,
    sampler,
    shuffled,
)
from ancf_jax.models.ancf.config import SEARCH, Config, resolved
from ancf_jax.models.ancf.net import Net, init_tables, project_items, project_users, user_rows
from ancf_jax.nn import removal
from ancf_jax.nn.layers import items_at_once, over_items, rows_of, with_one
from ancf_jax.nn.losses import UNITS, bpr_max, catalogue_softmax, masked_mean, pair_loss
from ancf_jax.types import Array, Data, Given, Gradient, Params, Query, Recommender

PEOPLE = 32  # scored at once: more leave room for few items in the cache

__all__ = ["SEARCH", "Config", "make", "resolved"]


def make(config: Config, data: Data) -> Recommender:
    """ANCF by gradient steps over windows of users' histories."""
    from ancf_jax.data.interactions import latest, whole_history  # help of the default model does not wait for pandas
    from ancf_jax.models.ancf import filtered, prior, untaught

    config = resolved(config, data)
    again, trend, taste = float(config.again), float(config.trend), float(config.taste)
    num_users, num_items, length = data.num_users, data.num_items, config.history
    sampled = length > 0 and not config.ordered and not config.latest
    log, data = data.train, data._replace(train=shuffled(data.train)) if sampled else data
    of_set = config.prior_next and not config.latest
    reads = max(whole_history(data), length) if sampled or again or taste or of_set else length
    closed = filtered if config.prior_filter else prior
    net, first = Net(config), closed.make(config, data) if config.prior else None
    second = prior.make(config, data, is_slit=False) if taste else None
    history_table = "item" if config.tied else "item_history"
    popular = round(float(config.popular) * config.negatives)
    # How often an item is drawn against uniform negatives, as a logarithm.
    share = np.bincount(data.train.items, minlength=num_items + 1) / max(len(data.train.items), 1)
    odds = np.log(1 + popular / config.negatives * (share * num_items - 1)).astype(np.float32)
    windows = over_windows(data, max(length, 1)).own
    rise = np.float32(trend) * untaught.rises(data.train, num_items) if trend else ()
    given = Given(data.train, Own(windows, odds, first.known if first else (), rise, log if of_set else ()))

    def init(key: Array, given: Given) -> Params:
        keys = jax.random.split(key, 6)
        tables = init_tables(keys[:5], config, data)
        history = jnp.full((1, length), num_items)
        variables = net.init(
            keys[len(tables) - 1],
            user_rows(tables, jnp.full((1,), num_users)),
            tables[history_table][history] if length else None,
            history < num_items,
            rows_of(tables, "item", jnp.full((1, 1), num_items)),
        )
        params = {"tables": tables, "net": variables["params"]}
        if first is None:
            return params
        net_params = {**variables["params"], "prior": jnp.float32(config.prior)}
        held = {"prior": first.fit(given.own.log if of_set else given.train, given.own.prior)}
        if not config.joint:
            held["prior"].pop("inverse", None)  # P is for training beside it
        if second is not None:
            held["taste"] = {"weights": second.fit(given.train, given.own.prior)["weights"]}
        return {**params, "net": net_params, "held": held}

    def squares(user: dict, target: dict) -> Array:
        """The L2 penalty of each positive [B, P]."""
        of_users = jnp.sum(user["user"] ** 2, -1) if config.user else 0.0
        return config.l2 * (jnp.sum(target["item"] ** 2, -1) + of_users)

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables = params["tables"]
        user = user_rows(tables, batch.users)
        history = tables[history_table][batch.history] if length else None
        mask = batch.history < num_items
        target, other = rows_of(tables, "item", batch.targets), rows_of(tables, "item", batch.negatives)
        apply = {"variables": {"params": params["net"]}, "rngs": {"dropout": key}}
        if config.loss == "full_softmax" and is_inner(config):
            states = net.apply(apply["variables"], user, history, mask, rngs=apply["rngs"], method="vectors")
            positive = jnp.sum(states * target["item"], -1, dtype=jnp.float32) + target["item_bias"][..., 0]
            every = jnp.concatenate([tables["item"][:num_items], tables["item_bias"][:num_items]], axis=1)
            counted = batch.targets < num_items
            positive = positive - (squares(user, target) if config.l2 else 0.0)  # whose negative is in the loss
            return catalogue_softmax(with_one(states), every, positive, counted)
        if config.ordered:
            positive, negative = net.apply(
                apply["variables"], user, history, mask, target, other, rngs=apply["rngs"], method="windowed"
            )
        else:
            both = jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis=1), target, other)
            scores = net.apply(apply["variables"], user, history, mask, both, True, rngs=apply["rngs"])
            positive, negative = scores[:, : batch.targets.shape[1]], scores[:, None, batch.targets.shape[1] :]
        if first is not None and config.joint:
            weight = params["net"]["prior"].astype(jnp.float32)
            ours, theirs = first.of_batch(params["held"]["prior"], given.own.prior, given.train, *batch[:4])
            positive, negative = positive + weight * ours, negative + weight * theirs
        if popular:
            negative = negative - jnp.asarray(given.own.odds)[batch.negatives][:, None]
        negative = jnp.where(batch.absent[:, None], -jnp.inf, negative)
        if config.loss == "bpr_max":
            losses = bpr_max(positive, negative, config.score_l2)
        else:
            losses = pair_loss(config.loss, positive, negative, num_items=num_items, ratio=config.ratio)
        if config.l2:
            losses = losses + squares(user, target)
        return masked_mean(losses, batch.targets < num_items)

    def prepare(params: Params, given: Given) -> dict:
        """The item part of the tower's first layer, in place of its table, biases that rise, the closed form."""
        tables = project_items(params["tables"], config, params["net"].get("mlp"))
        if trend:
            tables = {**tables, "item_bias": tables["item_bias"] + given.own.trend[:, None]}
        ready = {**params, "tables": tables}
        if first is not None:
            ready["held"] = first.ready(params["held"]["prior"], given.own.prior)
        if second is not None:
            ready["taste"] = second.ready(params["held"]["taste"], given.own.prior)
        return ready

    def score(ready: dict, query: Query, items: Array | None = None) -> Array:
        return added(near(ready, query, items), of_all(ready, query), items)

    def added(scores: Array, terms: Sequence[tuple[Array | float, Array]], items: Array | None) -> Array:
        """Scores [B, I], or [B, K] of `items`, and weighted terms [B, I]."""
        for weight, given in terms:
            scores = scores + weight * (given if items is None else jnp.take_along_axis(given, items, axis=1))
        return scores

    def near(ready: dict, query: Query, items: Array | None = None) -> Array:
        """The part of the scores that, order-aware, reads the latest H alone."""
        apply = partial(net.apply, {"params": ready["net"]})
        user = project_users(user_rows(ready["tables"], query.users), config, ready["net"].get("mlp"))
        encoded, (history, _) = None, attended_to(query.history)
        mask = history < num_items
        if length:
            encoded = apply(ready["tables"][history_table][history], mask, False, method="encode")
        ids = jnp.arange(num_items)[None] if items is None else items

        def scored(people: tuple) -> Array:
            user, encoded, mask = people

            def block(ids: Array) -> Array:
                scores = apply(user, encoded, mask, rows_of(ready["tables"], "item", ids), method="after")
                return jnp.broadcast_to(scores, (len(mask), ids.shape[-1]))  # item biases alone are one row

            # A quarter of the weights with a tower, as products batched over users gain from more items at once.
            weights = int(config.heads) * length * max(config.scorer, 1) // (4 if config.tower or config.scorer else 1)
            width = max(config.factors, *config.tower, weights)
            alone = not (config.heads or config.tower or config.user)  # the state is, in one product
            return over_items(block, ids, items_at_once(4 * (len(mask) + width) if alone else len(mask) * width))

        size = PEOPLE if length and config.heads and items is None and len(mask) % PEOPLE == 0 else len(mask)
        if len(mask) > size:
            parts = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), (user, encoded, mask))
            scores = jax.lax.map(scored, parts).reshape(len(mask), -1)
        else:
            scores = scored((user, encoded, mask))
        if first is None:
            return scores
        weight = ready["net"]["prior"].astype(jnp.float32)
        return added(scores, [(weight, first.of_history(ready["held"], query.history))], items)

    def of_all(ready: dict, query: Query) -> list[tuple[float, Array]]:
        """What the whole history says beside, [B, I], and its weights."""
        found = [] if second is None else [(taste, second.of_history(ready["taste"], query.history))]
        return [*found, (again, untaught.often(query.history, num_items))] if again else found

    def falls(ready: dict, query: Query, items: Array) -> Array:
        found = removal.falls(partial(near, ready), num_items, query, items, length)
        if second is not None:
            found = found + taste * second.falls(ready["taste"], query.history, items)
        return found + again * untaught.falls_of_often(query.history, items) if again else found

    def over_history(method: str, ready: dict, query: Query, items: Array) -> Array:
        history, columns = attended_to(query.history)
        user, item = user_rows(ready["tables"], query.users), rows_of(ready["tables"], "item", items)
        rows, variables = ready["tables"][history_table][history], {"params": ready["net"]}
        found = net.apply(variables, user, rows, history < num_items, item, method=method)
        return into_columns(found, columns, query.history.shape[1])

    def contribute(ready: dict, query: Query, items: Array) -> Array:
        found = over_history("contribute", ready, query, items)
        if first is not None:
            found = found + ready["net"]["prior"] * first.contribute(ready["held"], query.history, items)
        if second is not None:
            found = found + taste * second.contribute(ready["taste"], query.history, items)
        return found + again * untaught.share_out_often(query.history, items) if again else found

    def attended_to(history: Array) -> tuple[Array, Array | None]:
        """The interactions of histories [B, whole] that are attended to [B, H], and their columns if not all are."""
        if sampled:
            return sample_of(history, length, num_items)
        width = history.shape[1]
        if width <= length:
            return history, None
        return history[:, width - length :], jnp.broadcast_to(jnp.arange(width - length, width), (len(history), length))

    sample, lengths = sampler(config, num_items, popular), lengths_in(given.own.windows, config, data.train)
    batch = max(1024 * len(lengths) // max(int(lengths.sum()), 2 * len(lengths), 1) // 4 * 4, 4)  # 1,024 interactions
    learn = Gradient(len(lengths), init, sample, loss, batch)
    aligned = config.ordered is True or config.targets == 0
    learn = learn._replace(lengths=lengths, narrow=partial(last_columns, aligned)) if length else learn
    epochs = int(np.clip(3_000_000 // max(len(data.train.items), 1), 4, 30))  # many over a small log, few over a large
    learn = learn._replace(ranks=first is not None, epochs=epochs, learning_rate=0.002, schedule="cosine")
    order = "yes" if config.ordered else "no" if sampled else latest(data, length)
    order = "in training" if order == "no" and config.prior_next else order
    paid = partial(over_history, "attend") if length and config.heads else None
    unit, told = UNITS.get(config.loss, ""), paid and not config.tower  # of a tower, nothing can be shared out
    narrow = length if config.ordered or config.layers else min(reads, 1)  # else a column is no more than read
    model = Recommender(learn, given, reads, prepare, score, None, paid, unit=unit, order=order, narrow=narrow)
    if (config.ordered or (config.latest and config.prior_next)) and reads > length:
        model = model._replace(falls=falls)
    return model._replace(contribute=contribute, additive=not config.state) if told else model
