"""Ways to explain a recommendation by the history, and how true each is for a trained model (see curves.py).

Every user is asked for by the history alone, as a new user is: a vector that a model has learnt of a user is no reason
that could be taken away.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.evaluation.fidelity import curves, lxr
from ancf_jax.evaluation.fidelity.shapley import shapley
from ancf_jax.evaluation.queries import query_users
from ancf_jax.evaluation.stats import bootstrap_intervals, holm, paired_tests
from ancf_jax.models.linear.gram import gram
from ancf_jax.nn.removal import leave_one_out
from ancf_jax.types import Array, Data, InputError, Interactions, Params, Query, Recommender

BLOCK = 16  # users at once
PAIRS = 2  # of orders for Shapley values


class Asked(NamedTuple):
    """Whom and what to explain, and by what."""

    ready: Any
    common: Array  # [I, I] how many users in training have both items
    query: Query
    items: Array  # [B, 1]
    key: Array
    learned: Params  # by LXR


Weigh = Callable[[Asked], Array]  # -> [B, 1, H]


class Fidelity(NamedTuple):
    """How true each way to explain is."""

    users: np.ndarray  # [E] dense ids
    values: dict[str, dict[str, np.ndarray]]  # way -> metric -> [E]
    learned: dict[str, Any]  # of whom LXR learned, and in how many seconds


def ways(model: Recommender, num_items: int) -> dict[str, tuple[str, Weigh]]:
    """The ways to explain that the model offers, and those that are for any: name -> what a weight is, and weights."""
    found: dict[str, tuple[str, Weigh]] = {}
    if model.attend is not None:
        attend = model.attend
        found["attention weight"] = (
            "the attention paid to the interaction, the mean over heads",
            lambda asked: attend(asked.ready, asked.query, asked.items).mean(2),
        )
    if model.contribute is not None:
        contribute = model.contribute
        found["contribution"] = (
            "what the model says that it adds to the score",
            lambda asked: contribute(asked.ready, asked.query, asked.items),
        )

    def removal(asked: Asked) -> Array:
        return leave_one_out(model, num_items, asked.ready, asked.query, asked.items)

    def values(asked: Asked) -> Array:
        return shapley(model, num_items, asked.ready, asked.query, asked.items, asked.key, PAIRS)

    def cosine(asked: Asked) -> Array:
        often, item = jnp.diag(asked.common), asked.items[..., None]
        past = jnp.minimum(asked.query.history[:, None], num_items - 1)
        return asked.common[item, past] / jnp.sqrt(jnp.maximum(often[item] * often[past], 1))

    orders = f"{2 * PAIRS} orders: {PAIRS} random ones and their reverses"

    def learned(asked: Asked) -> Array:
        return lxr.logits(asked.learned, asked.query.history, asked.items[:, 0])[:, None]

    return found | {
        "leave-one-out": ("the fall of the score without it", removal),
        "Shapley": (f"its effect on the score when it joins those before it, the mean over {orders}", values),
        "LXR": (
            "log-odds by a network that learned what to keep, of users not measured where they are enough",
            learned,
        ),
        "cosine": ("n_ij / sqrt(n_i n_j) of users in training who have both items, and each", cosine),
        "random": ("a random number", lambda asked: jax.random.uniform(asked.key, asked.query.history.shape)[:, None]),
    }


def compare(
    model: Recommender,
    data: Data,
    ready: Any,
    log: Interactions,
    users: Sequence[int],
    seed: int = 0,
    report: Callable[[int], None] = lambda done: None,
    learning: Callable[[int, int], None] = lambda done, steps: None,
) -> Fidelity:
    """The metrics of every way to explain for `users`, by dense id, whose histories `log` holds.

    Users without interactions are left out. LXR learns of those who are not measured, or of all users where these are
    fewer than the measured ones. `report` is told how many users are done, `learning` how many steps of LXR, and of how
    many. Raises InputError for a model that reads no history, and if no user is left.
    """
    if not model.history:
        raise InputError("the model reads no history, so nothing can be taken out of one; legal are models that do")
    counts = np.diff(np.asarray(log.offsets))
    chosen = _by_length(counts, np.asarray(users))
    if not len(chosen):
        raise InputError("none of the users has a history to explain recommendations by")
    num_items, common = data.num_items, gram(data.train, data.num_users, data.num_items)
    best = jax.jit(partial(curves.recommended, model))
    measure = jax.jit(partial(curves.fidelity, model, num_items))
    weigh = {name: jax.jit(way) for name, (_, way) in ways(model, num_items).items()}
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in weigh}
    start = time.perf_counter()
    others = _by_length(counts, np.setdiff1d(np.arange(data.num_users), chosen))
    pupils = others if len(others) >= len(chosen) else _by_length(counts, np.arange(data.num_users))
    tops = [np.asarray(best(ready, query, hidden)) for _, query, hidden in _blocks(model, data, log, pupils)]
    explained = lxr.Explained(pupils, np.concatenate(tops)[: len(pupils)])
    params = lxr.train(model, ready, log, common, explained, seed, learning)
    learned = {"users": len(pupils), "measured": pupils is not others, "seconds": time.perf_counter() - start}
    for first, query, hidden in _blocks(model, data, log, chosen):
        items = best(ready, query, hidden)
        key = jax.random.fold_in(jax.random.key(seed), first)
        asked = Asked(ready, common, query, items[:, None], key, params)
        for name, way in weigh.items():
            found[name].append(jax.device_get(measure(ready, query, hidden, items, way(asked)[:, 0])))
        report(min(first + BLOCK, len(chosen)))
    joined = {
        name: {metric: np.concatenate([block[metric] for block in blocks])[: len(chosen)] for metric in curves.METRICS}
        for name, blocks in found.items()
    }
    return Fidelity(chosen, joined, learned)


def _by_length(counts: np.ndarray, users: np.ndarray) -> np.ndarray:
    """Those of the users who have a history, so that the histories of a block are about equally long."""
    users = users[counts[users] > 0]
    return users[np.argsort(counts[users], kind="stable")]


def _blocks(
    model: Recommender, data: Data, log: Interactions, users: np.ndarray
) -> Iterator[tuple[int, Query, np.ndarray]]:
    """The users by BLOCK: the first's place, queries by the histories alone, and who has which item [BLOCK, I].

    The last block is filled up with the last user.
    """
    for first in range(0, len(users), BLOCK):
        ids = users[np.minimum(np.arange(first, first + BLOCK), len(users) - 1)]
        query, seen = query_users(model, data, log, ids.tolist())
        has = np.zeros((len(ids), data.num_items + 1), bool)
        has[np.arange(len(ids))[:, None], np.asarray(seen)] = True
        yield first, query._replace(users=jnp.full_like(query.users, data.num_users)), has[:, :-1]


def summary(found: Fidelity) -> dict[str, dict[str, Any]]:
    """Each way's means with 95% bootstrap intervals over users, and the ways that it beats by each metric.

    One way beats another if it is better and p < .05, by paired t-tests, Holm-corrected over all pairs of ways.
    """
    names = list(found.values)
    upper = np.triu_indices(len(names), 1)
    rows: dict[str, dict[str, Any]] = {name: {"metrics": {}, "intervals": {}, "beats": {}} for name in names}
    for name, values in found.values.items():
        rows[name]["metrics"] = {metric: float(each.mean()) for metric, each in values.items()}
        bounds = bootstrap_intervals([values[metric] for metric in curves.METRICS])
        rows[name]["intervals"] = dict(zip(curves.METRICS, bounds.tolist(), strict=True))
    for metric in curves.METRICS:
        sign = -1 if metric in curves.LOWER_IS_BETTER else 1
        p_values = holm(paired_tests([found.values[name][metric] for name in names])[upper])
        for name in names:
            rows[name]["beats"][metric] = []
        for a, b, p in zip(*upper, p_values, strict=True):
            one, other = names[a], names[b]
            ahead = sign * (rows[one]["metrics"][metric] - rows[other]["metrics"][metric])
            if p < 0.05:
                rows[one if ahead > 0 else other]["beats"][metric].append(other if ahead > 0 else one)
    return rows
