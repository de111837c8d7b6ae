"""Evaluation of any recommender: where its held-out items rank, among all items or among given candidates.

A recommender that predicts values, or knows its propensities, is evaluated on the held-out values too, see
value_errors.py and offpolicy.py.

Users go through one jitted function in blocks of one size, so their ranks do not depend on the number of users, and
memory holds one block of scores, as large as a budget allows.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh

from ancf_jax.data.interactions import select
from ancf_jax.devices.sharding import replicate
from ancf_jax.evaluation import metrics, offpolicy, value_errors
from ancf_jax.evaluation.blocks import Step, run_in_blocks
from ancf_jax.evaluation.counted import Counted, Metric, measured, names
from ancf_jax.evaluation.queries import Asked, by_width, latest, query_of_users, users_at_once
from ancf_jax.evaluation.ranks import candidate_ranks, full_ranks, untied
from ancf_jax.evaluation.topk import top_k
from ancf_jax.settings import EvalConfig
from ancf_jax.types import Array, Data, InputError, Interactions, Params, Recommender

TIES = "ties: expectation over random orders"
NONE: Mapping[str, Metric] = MappingProxyType({})
LIST = 10  # length of the recommended lists that coverage, Gini, novelty and popularity are measured on


class Evaluation(NamedTuple):
    """What an evaluation returns: means over users, and the values behind them for tests between models."""

    metrics: dict[str, float]
    users: np.ndarray  # [E] dense ids of the users evaluated, ascending
    per_user: dict[str, np.ndarray]  # name -> [E]; of mse, rmse, mae, ips and snips see value_errors.ratio_per_user


def protocol(candidates: np.ndarray | None, among: np.ndarray | None = None, repeats: bool = False) -> str:
    """The protocol and its policy on ties in words, for tables; the arguments are those of make_evaluator."""
    if among is not None:
        return f"ranking of the {len(among):,} new items that are held out; {TIES}"
    if candidates is None:
        which = "all items, those the user has too" if repeats else "all items the user has not seen"
        return f"full ranking of {which}; {TIES}"
    return f"1 held-out item among {candidates.shape[1] - 1} given candidates; the held-out item loses ties"


def make_evaluator(
    model: Recommender,
    data: Data,
    seen: Interactions,
    held_out: Interactions,
    *,
    candidates: np.ndarray | None = None,
    among: np.ndarray | None = None,
    ks: tuple[int, ...] = EvalConfig.ks,
    own: Mapping[str, Metric] = NONE,
    in_units: value_errors.InUnits = value_errors.as_predicted,
    beyond: bool = False,
    repeats: bool = False,
    history: Interactions | None = None,
    block: int = 256,
    memory_budget: float = EvalConfig.memory_budget,
    mesh: Mesh | None = None,
) -> Callable[[Params], Evaluation]:
    """Make the function that evaluates the parameters of `model` on `held_out`; compiled on its first call.

    `seen` is what each user is known to have (training, and validation when testing): it is the history in the query,
    unless `history` is given for that, and full ranking leaves it out, but for items that are held out again. A user
    without training rows is queried as the unknown user U. Users without held-out items are not evaluated, and a
    held-out item counts once. Of a user for whom every score is NaN no metric is a number, which a warning says.

    Full ranking (`candidates` None): see full_ranks. With `beyond`, the top 10 of every user, who are given items that
    tie in the order of their ids, also give coverage@10, gini@10, novelty@10 and popularity@10, against the number of
    users who have an item in data.train.
    With `repeats`, what a user has may come again, so nothing of `seen` is left out.
    With `among` [n], item ids that hold all held-out ones, no other item is ranked.
    Where users have several held-out items and their values differ, they are graded, and gndcg@k weighs the items by
    them: a value below 0, as that of a return or below a mean that was subtracted, gains nothing, as if the item were
    not wanted. A repeated pair has the value of its first row.
    `own` metrics by name come beside those of metrics.ranking at `ks`, see Metric.
    A model that `rates` gives rmse, mae and mse of all held-out pairs too, its predictions in_units(users, items,
    predicted), and one with `propensities` ips and snips.
    Given candidates [R, K], one row a row of held_out with its item last: see candidate_ranks; among the others, the
    held-out item itself and repeated items do not count. K = 100 and the published files make the protocol of
    X. He et al., 2017, "Neural collaborative filtering".

    Users of histories of like length share programs, where the model takes narrow ones, for padding costs what a
    history does. At most `block` users are scored at once, split over the data axis of `mesh`, and fewer where the
    working memory of a device, O(block I), would exceed `memory_budget` GiB. Raises InputError if nothing is held out,
    if candidates do not fit held_out, for `beyond` with candidates, or if not even one user fits the budget.
    """
    if not len(held_out.users):
        raise InputError("nothing is held out, so there is nothing to evaluate; held-out parts need at least one row")
    whole = held_out
    if candidates is None:
        held_out = _distinct(held_out, data.num_items)
        # Users with as many held-out items share a block: full_ranks costs by the largest number in it.
        count = np.diff(held_out.offsets)
        users = np.argsort(count, kind="stable")[(count == 0).sum() :].astype(np.int32)
        rows: Any = (users,)
        step_of = partial(_full_step, model, data, seen, held_out, beyond, repeats, _graded(held_out))
        away = np.zeros(data.num_items, bool) if among is None else ~np.isin(np.arange(data.num_items), among)
        counts = np.bincount(_distinct(data.train, data.num_items).items, minlength=data.num_items)
        catalogue: Any = (away, counts)  # [I] whether an item is not ranked, and how many users have it
        bytes_per_user = (10 if beyond else 6) * data.num_items  # scores, what is hidden, the scores of what is not
    else:
        if beyond:
            raise InputError("beyond-accuracy metrics need full ranking; given candidates have no top-N lists")
        users = np.asarray(held_out.users)
        rows = (users, *_split_candidates(candidates, np.asarray(held_out.items), data.num_items))
        step_of, catalogue = partial(_given_step, model, data), ()
        bytes_per_user = 6 * candidates.shape[1]
    # Passed as arguments, for a jitted function that closed over them would compile them in.
    lengths = np.diff(np.asarray((seen if history is None else history).offsets))[users]
    seen = replicate(seen, mesh)
    trained = replicate(np.diff(data.train.offsets) > 0, mesh)
    asked = Asked(trained, seen if history is None else replicate(history, mesh))
    parts = (asked, seen, *replicate((held_out, *catalogue), mesh))
    in_blocks = partial(run_in_blocks, bytes_per_row=bytes_per_user, budget=memory_budget, mesh=mesh)

    def of_ranks(found: dict[str, Any]) -> dict[str, Any]:
        return measured(found.pop("counted"), ks, own) | found

    prepare, ways, ranked = jax.jit(model.prepare), [], [np.zeros(0, int)]
    for width, places in by_width(model, lengths):
        size = min(users_at_once(model, width), block) if model.narrow else block
        some = [column[places] for column in rows]
        ways.append(in_blocks(step_of(width), parts, some, block=size, measure=of_ranks))
        ranked.append(places)
    users = users[np.concatenate(ranked)]
    order = np.argsort(users, kind="stable")

    def rank(ready: Any) -> dict[str, np.ndarray]:
        found = [way(ready) for way in ways]
        return {name: np.concatenate([each[name] for each in found]) for name in found[0]}

    judges = []
    for of_pairs, measure in _judged(model, in_units) if candidates is None else ():
        query = partial(query_of_users, model, data, model.history)
        pairs, step = value_errors.make_predictor(of_pairs, query, whole, data.num_items)
        judges.append((in_blocks(step, (*parts[:2], replicate(whole, mesh)), pairs, block=block), measure))

    def evaluate(params: Params) -> Evaluation:
        ready = prepare(params, model.given)
        per_user = {name: values[order] for name, values in rank(ready).items()}
        if (silent := per_user.pop("silent")).any():
            what = "the model has no number as a score of any item; their metrics are no numbers"
            logging.warning("for %d of %d users %s", silent.sum(), len(silent), what)
            per_user = {
                name: values if name == "lists" else np.where(silent, np.nan, values)
                for name, values in per_user.items()
            }
        for judge, measure in judges:
            per_user |= measure(whole, **judge(ready))
        lists = per_user.pop("lists", None)
        means = {name: float(values.mean(dtype=np.float64)) for name, values in per_user.items()}
        if lists is not None:
            means[f"coverage@{LIST}"] = float(metrics.coverage(lists, data.num_items))
            means[f"gini@{LIST}"] = float(metrics.gini(lists, data.num_items))
        return Evaluation(means, users[order], per_user)

    return evaluate


def metric_names(
    model: Recommender, held_out: Interactions, *, candidates: np.ndarray | None, ks: tuple[int, ...], own: Mapping
) -> tuple[str, ...]:
    """The metrics that an evaluator with these arguments gives, but for those that `beyond` adds."""
    if candidates is not None:
        return tuple(names(ks, own))
    graded = len(held_out.users) > 0 and _graded(_distinct(held_out, int(np.max(held_out.items)) + 1))
    of_values = [*metrics.ERRORS] * model.rates + ["ips", "snips"] * (model.propensities is not None)
    return (*names(ks, own, graded=graded), *of_values)


def _graded(held_out: Interactions) -> bool:
    """Whether some user has several held-out items and values differ; one gain of a user's is ndcg, whatever it is."""
    return bool(np.diff(held_out.offsets).max() > 1 and np.ptp(np.asarray(held_out.values)) > 0)


def _judged(
    model: Recommender, in_units: value_errors.InUnits
) -> list[tuple[Callable[..., dict[str, Array]], Callable[..., dict[str, np.ndarray]]]]:
    """What held-out values judge: (ready, query, items [B, P] -> named [B, P], and what makes metrics of all pairs)."""
    found: list = []
    if model.rates:
        found.append(
            (lambda *args: {"predicted": model.score(*args)}, partial(value_errors.per_user, in_units=in_units))
        )
    if model.propensities is not None:
        propensities = model.propensities
        found.append(
            (lambda *args: dict(zip(("log_pi", "log_beta"), propensities(*args), strict=True)), offpolicy.per_user)
        )
    return found


def _full_step(
    model: Recommender,
    data: Data,
    seen: Interactions,
    held_out: Interactions,
    beyond: bool,
    repeats: bool,
    graded: bool,
    width: int,
) -> Step:
    most_seen, most_held = (int(np.diff(part.offsets).max()) for part in (seen, held_out))

    def step(
        ready: Any,
        asked: Asked,
        seen: Interactions,
        held_out: Interactions,
        away: Array,
        counts: Array,
        users: Array,
    ) -> dict[str, Any]:
        scores = model.score(ready, query_of_users(model, data, width, asked, users))  # [B, I]
        held, gains = latest(held_out, users, most_held, data.num_items)  # [B, P] twice
        rows = jnp.arange(len(users))[:, None]
        hidden = jnp.broadcast_to(away, scores.shape)
        if not repeats:
            known = latest(seen, users, most_seen, data.num_items)[0]  # [B, S]
            hidden = hidden.at[rows, known].set(True, mode="drop")
        hidden = hidden.at[rows, held].set(False, mode="drop")  # [B, I]
        ranks, visible = full_ranks(scores, hidden, held)
        count = (held < data.num_items).sum(axis=1)  # [B]
        values: dict[str, Any] = {"counted": Counted(ranks, count, visible, jnp.maximum(gains, 0) if graded else None)}
        values["silent"] = (hidden | jnp.isnan(scores)).all(axis=1)
        if beyond:
            fit = jnp.where(hidden | jnp.isnan(scores), -jnp.inf, scores)  # [B, I]
            lists = top_k(fit, min(LIST, data.num_items))[1]  # [B, LIST]
            unfit = hidden[rows, lists] | jnp.isnan(scores[rows, lists])
            lists = jnp.where(unfit, data.num_items, lists)
            values["lists"] = lists
            values[f"novelty@{LIST}"] = metrics.novelty(lists, counts, data.num_users)
            values[f"popularity@{LIST}"] = metrics.popularity(lists, counts)
        return values

    return step


def _given_step(model: Recommender, data: Data, width: int) -> Step:
    def step(
        ready: Any,
        asked: Asked,
        seen: Interactions,
        held_out: Interactions,
        users: Array,
        items: Array,
        others: Array,
    ) -> dict[str, Any]:
        scores = model.score(ready, query_of_users(model, data, width, asked, users), items)  # [B, K]
        ranks = untied(candidate_ranks(scores, others)[:, None])  # [B, 1]
        counted = Counted(ranks, jnp.ones(len(users), jnp.int32), others.sum(axis=1) + 1)
        return {"counted": counted, "silent": jnp.isnan(scores).all(axis=1)}

    return step


def _distinct(part: Interactions, num_items: int) -> Interactions:
    """Each user's items once: the first row of each."""
    pairs = np.asarray(part.users, np.int64) * num_items + np.asarray(part.items)
    once = np.zeros(len(pairs), bool)
    once[np.unique(pairs, return_index=True)[1]] = True
    return select(part, once)


def _split_candidates(candidates: np.ndarray, positives: np.ndarray, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The candidates as ids [R, K] and which of the first K - 1 are distinct others [R, K - 1]."""
    candidates = np.asarray(candidates, np.int32)
    if candidates.ndim != 2 or len(candidates) != len(positives):
        raise InputError(
            f"candidates have shape {candidates.shape}, but need one row for each of {len(positives)} held-out rows"
        )
    wrong = np.flatnonzero(
        (candidates[:, -1] != positives) | ((candidates < 0) | (candidates >= num_items)).any(axis=1)
    )
    if len(wrong):
        raise InputError(f"candidates row {wrong[0]}: needs item ids in 0..{num_items - 1} and the held-out item last")
    others = np.sort(candidates[:, :-1], axis=1)
    distinct = np.diff(others, axis=1, prepend=-1) != 0
    return np.concatenate([others, positives[:, None]], axis=1), distinct & (others != positives[:, None])
