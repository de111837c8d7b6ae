"""REINFORCE on logged feedback: a softmax policy over items, corrected for who logged and for the length of a list.

Chen, Beutel, Covington, Jain, Belletti & Chi, Top-K Off-Policy Correction for a REINFORCE Recommender System, 2019. The
state s_t has read the user's history by a GRU, the policy and the one that logged the data (the behaviour) are

    pi(a | s) = softmax_a <s, q_a>,    beta(a | s) = softmax_a <s', b_a>,    s' = s without its gradient

and the logged item a_t, which brought the return R_t = sum_{n >= 0} discount^n r_{t + n}, adds to the loss

    - w lambda R_t log pi(a_t | s_t) - log beta(a_t | s_t),    w = min(pi / beta, cap),    lambda = K (1 - pi)^(K - 1)

with w and lambda constants to the gradient: w weighs what the policy would choose more often than the log has it, and
lambda lets go of an item that a slate of K draws is sure to hold already. The reward r is the interaction's value as it
is, so ratings of 1 to 5 are rewards of 1 to 5 and clicks are 1: even the lowest rating is a choice that was made. A
training row is a window of one user's interactions, and each of its columns acts next. As in gru4rec the item vectors
are also the GRU's input; the two normalisers are exact, where the paper samples the policy's.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.config import Range, Space, field
from ancf_jax.data.samplers import over_windows, shift_ends, take_window
from ancf_jax.models.sequential.next_item import over_next_items, states_of
from ancf_jax.nn.layers import Recurrence, table
from ancf_jax.nn.losses import log_sums, masked_mean
from ancf_jax.types import Array, Data, Given, Interactions, Params, Query, Recommender

SEARCH: Space = {
    "factors": (32, 64, 128),
    "dropout": Range(0.0, 0.6),
    "slate": (1, 2, 4, 8, 16),
    "cap": Range(0.5, 50.0, log=True),
    "discount": Range(0.0, 0.9),
    "stddev": Range(0.01, 0.3, log=True),
    "batch_size": (16, 32, 64, 128),
}


@dataclass(frozen=True)
class Config:
    """REINFORCE."""

    factors: int = field(64, "embedding width D, and width of the state", low=1)
    history: int = field(100, "latest interactions that are read, H", low=1)
    dropout: float = field(0.2, "dropout on embeddings and on states", low=0, high=0.99)
    slate: int = field(16, "items K that a list shows at once, for the top-K correction (1: none)", low=1)
    cap: float = field(20.0, "largest importance weight pi / beta", above=0)
    discount: float = field(0.0, "discount of future rewards in the return (0: the immediate reward)", low=0, high=1)
    stddev: float = field(0.05, "standard deviation of the initial embeddings", low=0)


class Batch(NamedTuple):
    """Windows of one user each: action p follows the history up to column p."""

    history: Array  # [B, H]
    actions: Array  # [B, H], padded with I
    returns: Array  # [B, H]


def make(config: Config, data: Data) -> Recommender:
    """A policy by gradient steps over windows of users' histories."""
    num_items, length = data.num_items, config.history
    net = Recurrence(1, "gru", config.dropout)
    # Of the values, the returns alone are read.
    returns = data.train._replace(values=discounted(data.train, config.discount))
    given = over_windows(data._replace(train=returns), length)

    def init(key: Array, given: Given) -> Params:
        item, behaviour, rest = jax.random.split(key, 3)
        variables = net.init(rest, jnp.zeros((1, length, config.factors)), jnp.ones((1, length), bool))
        tables = {
            "item": table(item, num_items, config.factors, config.stddev),
            "behaviour": table(behaviour, num_items, config.factors, config.stddev),
        }
        return {"tables": tables, "net": variables["params"]}

    def sample(key: Array, given: Given, index: Array) -> Batch:
        users, ends = given.own.at(index)
        ends = shift_ends(key, given.train, users, ends, length)
        items, gains = take_window(given.train, users, ends, length + 1, num_items)
        history = items[:, :-1]
        return Batch(history, jnp.where(history < num_items, items[:, 1:], num_items), gains[:, 1:])

    def loss(params: Params, given: Given, batch: Batch, key: Array) -> tuple[Array, dict[str, Array]]:
        tables, states = params["tables"], states_of(net, params, batch.history, key)
        log_pi = log_probabilities(states, tables["item"], batch.actions[..., None])[..., 0]  # [B, H]
        fixed = jax.lax.stop_gradient(states)
        log_beta = log_probabilities(fixed, tables["behaviour"], batch.actions[..., None])[..., 0]
        weights = jax.lax.stop_gradient(correction(log_pi, log_beta, config.slate, config.cap))
        return masked_mean(-weights * batch.returns * log_pi - log_beta, batch.actions < num_items)

    def propensities(params: Params, query: Query, items: Array) -> tuple[Array, Array]:
        user, tables = states_of(net, params, query.history)[:, -1], params["tables"]
        log_pi, log_beta = (log_probabilities(user, tables[name], items) for name in ("item", "behaviour"))
        return log_pi, log_beta

    model = over_next_items(given, length, net, init, sample, loss, columns=Batch._fields)
    return model._replace(propensities=propensities)


def discounted(train: Interactions, discount: float) -> np.ndarray:
    """The return of each row [R] float32, R_t = r_t + discount R_{t + 1}, up to the end of the user's rows."""
    from scipy.signal import lfilter  # takes half a second, which only a discount should cost

    found = np.array(train.values, np.float64)
    for start, end in pairwise(np.asarray(train.offsets)) if discount else ():
        found[start:end] = lfilter([1.0], [1.0, -discount], found[start:end][::-1])[::-1]
    return found.astype(np.float32)


def log_probabilities(states: Array, table: Array, items: Array) -> Array:
    """log softmax_i <states, table_i> at `items` [..., K], for states [..., D] and table [I + 1, D]; in float32."""
    scores = jnp.einsum("...d,...kd->...k", states, table[items], preferred_element_type=jnp.float32)
    sums = log_sums(states.reshape(-1, states.shape[-1]), table[:-1])
    return scores - sums.reshape(*states.shape[:-1], 1)


def correction(log_pi: Array, log_beta: Array, slate: int, cap: float) -> Array:
    """min(pi / beta, cap) K (1 - pi)^(K - 1) for arrays of one shape."""
    absent = jnp.maximum(-jnp.expm1(log_pi), 0.0)
    return jnp.minimum(jnp.exp(log_pi - log_beta), cap) * slate * absent ** (slate - 1)
