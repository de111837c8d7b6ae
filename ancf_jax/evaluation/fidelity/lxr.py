"""LXR: a network that learns which interactions of a history speak for its best item, of a model that stays as it is.

It reads a history x, a row over items, and the item y that the model recommends, and gives a weight of every item:

    m(x, y) = sigmoid(W4 tanh(W3 tanh([W1 x, W2 y])))      [I]; each kernel with a bias, HIDDEN columns but for W4

Only the weights of the items of x are read: they are the reasons for y. They are learned on users' histories:

    min  -POSITIVE v_y(x * m) + NEGATIVE v_y(x * (1 - m)) + SPARSITY mean of m over x

so that what is kept is enough for y, and what is left without it is not. v_y is the logarithm of the curves' p_y, or
the score where nothing makes a probability of it (curves.py); it is measured by what a whole history adds to that of
none, on average over users, so that what balances the terms is the same for all models. Source: O. Barkan, V. Bogina,
L. Gurevitch, Y. Asher & N. Koenigstein, 2024, "A Counterfactual Framework for Learning and Evaluating Explanations for
Recommender Systems".

The network and what is minimised are theirs. How it starts and how the gradient is estimated are not. They multiply a
history by m. Here a history is a row of ids, of which no model reads a part of one. So an interaction stays with
probability m_j, and what does not stay is taken out as the curves take it out. The gradient of the expected cost is
that of the score function, over K = SAMPLES histories of a user, the mean cost of the others being the baseline of each
(RLOO; W. Kool, H. van Hoof & M. Welling, 2019, "Buy 4 REINFORCE Samples, Get a Baseline for Free!"):

    1 / K sum_k (c_k - mean over l != k of c_l) d/dtheta log P(b_k; m),    b_kj ~ Bernoulli(m_j)

and exact for the last term. Such a gradient is noisy, and kernels that start at random learned little by it: reasons
were hardly truer than random ones after 500 steps. So W1, W2 and W4 start as vectors of the items: the leading
eigenvectors of the cosines n_ij / sqrt(n_i n_j), n_ij being the number of users in training who have both items.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ancf_jax.evaluation.queries import by_width, latest
from ancf_jax.models.linear.singular import leading
from ancf_jax.nn.removal import without
from ancf_jax.types import LOG_ODDS, LOG_PROBABILITY, Array, Interactions, Params, Query, Recommender

POSITIVE, NEGATIVE = 1.0, 1.0
SPARSITY = 2.0  # an interaction of the mean effect is then worth what it costs
HIDDEN = 64
PAST = 0.1  # W1 starts this much smaller than W2 and W4: it is summed over a history
BOTH = 0.3  # and W3 smaller than is usual, so that no weight is sure at first
SAMPLES = 4
USERS = 32  # a step
STEPS = 700  # at most, so that what it costs does not grow with the number of users
EPOCHS = 20  # at most
RATE = 0.005  # at first; it falls to 0 by a cosine
ROUNDS = 4  # of subspace iteration


class Explained(NamedTuple):
    """Users to learn of, and what is recommended to each by the history alone."""

    users: np.ndarray  # [E] dense ids
    items: np.ndarray  # [E]


def init(key: Array, common: Array) -> Params:
    """The network before it has learned anything, by how many users have both items [I, I].

    What items start as are the rows of Q sqrt(S), Q S Q^T being the cosines, less their mean and of length sqrt(D).
    """
    num_items, (first, second) = len(common), jax.random.split(key)
    factors = min(HIDDEN, num_items)
    often = jnp.sqrt(jnp.maximum(jnp.diag(common), 1.0))

    def cosines(q: Array) -> Array:
        return (common @ (q / often[:, None])) / often[:, None]

    vectors = leading(cosines, first, num_items, factors, ROUNDS)
    vectors = vectors * jnp.sqrt(jnp.linalg.norm(cosines(vectors), axis=0))
    vectors = vectors - vectors.mean(axis=0)
    vectors = vectors * (factors / jnp.maximum((vectors**2).sum(axis=1, keepdims=True), 1e-12)) ** 0.5
    bound = BOTH * (2 * factors) ** -0.5
    return {
        "past": vectors * PAST,  # W1
        "item": vectors,  # W2
        "both": jax.random.uniform(second, (2 * factors, factors), minval=-bound, maxval=bound),  # W3
        "out": vectors,  # W4
        "past_bias": jnp.zeros(factors),
        "item_bias": jnp.zeros(factors),
        "both_bias": jnp.zeros(factors),
        "out_bias": jnp.zeros(num_items),
    }


@jax.jit
def logits(params: Params, history: Array, items: Array) -> Array:
    """The log-odds [B, H] of the weights of histories [B, H] as reasons for items [B]; of no meaning at padding."""
    num_items = len(params["out"])
    there, past = (history < num_items)[..., None], jnp.minimum(history, num_items - 1)
    read = jnp.where(there, params["past"][past], 0.0).sum(axis=1) + params["past_bias"]
    first = jnp.tanh(jnp.concatenate([read, params["item"][items] + params["item_bias"]], axis=1))
    second = jnp.tanh(first @ params["both"] + params["both_bias"])
    return jnp.einsum("bhd,bd->bh", params["out"][past], second) + params["out_bias"][past]


def train(
    model: Recommender,
    ready: Any,
    log: Interactions,
    common: Array,
    explained: Explained,
    seed: int = 0,
    report: Callable[[int, int], None] = lambda done, steps: None,
) -> Params:
    """What is learned of `explained`, whose histories `log` holds; `common` [I, I] is how many users have both items.

    `report` is told how many steps are done, and of how many.
    """
    num_items, num_users = len(common), len(log.offsets) - 1
    steps = min(STEPS, EPOCHS * -(-len(explained.users) // USERS))
    tx, key = optax.adam(optax.cosine_decay_schedule(RATE, steps)), jax.random.key(seed)
    params = jax.jit(init)(key, common)
    state, order = (params, tx.init(params)), np.random.default_rng(seed)
    lengths = np.diff(np.asarray(log.offsets))[explained.users]
    log = jax.tree.map(jnp.asarray, log)

    def ask(log: Interactions, users: Array, width: int) -> Query:
        return Query(jnp.full(len(users), num_users), *latest(log, users, width, num_items))

    @partial(jax.jit, static_argnums=3)
    def effect(ready: Any, log: Interactions, who: Explained, width: int) -> Array:
        """v_y(history) - v_y(no history) [B]."""
        query, items = ask(log, jnp.asarray(who.users), width), jnp.asarray(who.items)
        nothing = without(query, query.history < num_items, num_items)
        return _value(model, ready, query, items) - _value(model, ready, nothing, items)

    @partial(jax.jit, static_argnums=6, donate_argnums=0)
    def step(state: Any, ready: Any, log: Interactions, who: Explained, unit: Array, key: Array, width: int) -> Any:
        params, moments = state
        query = ask(log, jnp.asarray(who.users), width)
        slope = jax.grad(_cost)(params, model, ready, query, jnp.asarray(who.items), unit, key)
        updates, moments = tx.update(slope, moments, params)
        return optax.apply_updates(params, updates), moments

    batches = _batches(model, lengths, order)
    effects = [effect(ready, log, _rows(explained, places), width) for width, places in batches]
    unit = jnp.maximum(jnp.abs(jnp.concatenate(effects).mean()), 1e-6)
    for done in range(steps):
        batches = batches or _batches(model, lengths, order)
        width, places = batches.pop()
        keyed = jax.random.fold_in(key, done)
        state = step(state, ready, log, _rows(explained, places), unit, keyed, width)
        report(done + 1, steps)
    return state[0]


def _rows(explained: Explained, places: np.ndarray) -> Explained:
    return Explained(explained.users[places], explained.items[places])


def _batches(model: Recommender, lengths: np.ndarray, order: np.random.Generator) -> list[tuple[int, np.ndarray]]:
    """All users once, in random batches of one width each: widths, and places [USERS]. A width's last is filled up."""
    found: list[tuple[int, np.ndarray]] = []
    costly = model._replace(narrow=model.narrow and model.history)  # every column is, to what explains
    for width, places in by_width(costly, lengths):
        shuffled = np.resize(order.permutation(places), (-(-len(places) // USERS), USERS))
        found += [(width, batch) for batch in shuffled]
    return [found[n] for n in order.permutation(len(found))]


def _cost(params: Params, model: Recommender, ready: Any, query: Query, items: Array, unit: Array, key: Array) -> Array:
    """A number whose gradient estimates that of the expected cost, the mean over users."""
    num_items = len(params["out"])
    present, found = query.history < num_items, logits(params, query.history, items)  # [B, H]
    mask = jax.nn.sigmoid(found)
    stays = jax.random.uniform(key, (SAMPLES, *found.shape)) < jax.lax.stop_gradient(mask)  # [K, B, H]
    gone = jnp.concatenate([~stays, stays]).reshape(-1, found.shape[1])  # [2 K B, H]
    many: Query = jax.tree.map(lambda part: jnp.tile(part, (2 * SAMPLES, *[1] * (part.ndim - 1))), query)
    values = _value(model, ready, without(many, gone, num_items), jnp.tile(items, 2 * SAMPLES)) / unit
    kept, left = values.reshape(2, SAMPLES, -1)
    cost = jax.lax.stop_gradient(NEGATIVE * left - POSITIVE * kept)  # [K, B]
    ahead = (cost - cost.mean(axis=0)) * SAMPLES / (SAMPLES - 1)  # of the mean of the others
    drawn = jnp.where(present, jax.nn.log_sigmoid(jnp.where(stays, found, -found)), 0.0).sum(axis=2)
    size = jnp.where(present, mask, 0.0).sum(axis=1) / jnp.maximum(present.sum(axis=1), 1)
    return ((ahead * drawn).mean(axis=0) + SPARSITY * size).mean()


def _value(model: Recommender, ready: Any, query: Query, items: Array) -> Array:
    """v_y [B] of items [B]."""
    if model.unit == LOG_PROBABILITY:
        scores = model.score(ready, query)
        own = jnp.take_along_axis(scores, items[:, None], axis=1)[:, 0]
        return own - jax.nn.logsumexp(scores, axis=1)
    own = model.score(ready, query, items[:, None])[:, 0]
    return jax.nn.log_sigmoid(own) if model.unit == LOG_ODDS else own
