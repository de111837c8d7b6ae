"""Recommend: python -m experiments.recommend --workdir=checkpoints/ancf --user=42 --explain

The top items of users that a trained model knows (--user, repeatable), of a new user given by what they have
(--history=ITEM,ITEM,..., oldest first), or for words (--query="red mug", of models that score items by their features),
by the data's own ids and titles. An item whose id holds a comma cannot be given.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from ancf_jax.data.dataset import Dataset
from ancf_jax.runs.run import open_trained
from ancf_jax.serving.explain import ATTENTION, NOTHING, SIMILARITY, Reasons, make_explainer
from ancf_jax.serving.recommend import (
    item_of,
    known,
    query_history,
    query_text,
    query_users,
    recall_of_approximate,
    recommend,
    retrieve,
    title_of,
    user_of,
)
from ancf_jax.types import Array, Data, InputError, Recommender
from experiments import console

SAMPLE = 100  # users whose approximate lists are held against the exact ones


def define() -> None:
    """Which model, for whom, and how much."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if not where they were", allow_override=True)
    flags.DEFINE_multi_string("user", [], "a user's id; may be given several times", allow_override=True)
    flags.DEFINE_list("history", [], "a new user's item ids, oldest first, without commas in them", allow_override=True)
    flags.DEFINE_string("query", "", "words that describe the item that is wanted", allow_override=True)
    flags.DEFINE_integer("top_k", 10, "items recommended to a user", lower_bound=1, allow_override=True)
    flags.DEFINE_boolean("approximate", False, "find most of the best items, faster on a TPU", allow_override=True)
    flags.DEFINE_boolean("explain", False, "give the reasons for each recommendation", allow_override=True)
    flags.DEFINE_integer("reasons", 3, "most reasons for an item, with --explain", lower_bound=1, allow_override=True)


def main() -> dict[str, Any]:
    """Recommend, and print one table a user."""
    options = flags.FLAGS
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    if sum(map(bool, (options.user, options.history, options.query))) != 1:
        raise InputError("give either --user=ID, once or several times, or --history=ITEM,ITEM,... or --query=WORDS")
    if options.query and options.explain:
        raise InputError("flag --explain: reasons are past items, and a --query comes without them")
    run, dataset, data, model, params = open_trained(Path(options.workdir), options.data_dir, users=options.user)
    query: Any
    if options.query:
        if model.retrieve is None:
            raise InputError(f"--query: {run.model} does not score by features alone; legal are --user and --history")
        people = [options.query]
        query, seen = query_text(dataset, options.query), jnp.full((1, 1), data.num_items)
    elif options.user:
        people = list(dict.fromkeys(options.user))
        query, seen = query_users(model, data, known(dataset), [user_of(dataset, text) for text in people])
    else:
        people = ["new user"]
        query, seen = query_history(model, data, [item_of(dataset, text) for text in options.history])
        if not model.history:
            print(
                f"note: {run.model} has learnt nothing from histories, so every new user gets the same list but for "
                "the items they have",
                file=sys.stderr,
            )
    ready = jax.jit(model.prepare)(params)
    hidden = jnp.full_like(seen, data.num_items) if dataset.repeats else seen  # of what may be bought again, nothing is
    lists_of = partial(
        retrieve if options.query else recommend, model, top_k=options.top_k, approximate=options.approximate
    )
    items, scores = jax.jit(lists_of)(ready, query, hidden)
    found = approximation(dataset, data, model, ready, options.top_k) if options.approximate else {}
    reasons = None
    if options.explain:
        reasons = make_explainer(model, data.num_users, data.num_items, options.reasons)(ready, query, items, seen)
        print(f"reasons: {reasons.method}")
    lists = as_lists(dataset, items, scores, reasons)
    for person, rows in zip(people, lists, strict=True):
        title = f"{run.model} for {f'user {person}' if options.user else person}"
        show(title, rows, NOTHING if reasons is None else reasons.method)
    method = {} if reasons is None else {"method": reasons.method}
    return {"model": run.model, **method, **found, "users": dict(zip(people, lists, strict=True))}


def approximation(dataset: Dataset, data: Data, model: Recommender, ready: Any, top_k: int) -> dict[str, float]:
    """Say how much of the exact lists the approximate ones hold, for users drawn at random."""
    users = np.random.default_rng(0).permutation(data.num_users)[:SAMPLE]
    query, seen = query_users(model, data, known(dataset), users.tolist())
    share = jax.jit(partial(recall_of_approximate, model, top_k=top_k))(ready, query, seen)
    print(f"approximate lists hold {share:.1%} of the items of exact ones, over {len(users)} users drawn at random")
    return {"recall_of_approximate": float(share)}


def as_lists(dataset: Dataset, items: Array, scores: Array, reasons: Reasons | None) -> list[list[dict[str, Any]]]:
    """What is recommended to each user and why, by the data's own ids and titles."""
    nothing = np.empty((*items.shape, 0))
    past, weights = (nothing, nothing) if reasons is None else (reasons.items, reasons.weights)

    def named(items: np.ndarray, **columns: Any) -> list[dict[str, Any]]:
        """The items that are not padding, each with its cell of every column."""
        return [
            {"item": dataset.item_ids.item(int(item)), "title": title_of(dataset, item)}
            | {name: column[k] for name, column in columns.items()}
            for k, item in enumerate(items)
            if item < len(dataset.item_ids)
        ]

    rows = zip(*map(np.asarray, (items, scores, past, weights)), strict=True)
    return [
        named(items, score=scores, reasons=[named(j, weight=w) for j, w in zip(past, weights, strict=True)])
        for items, scores, past, weights in rows
    ]


def show(title: str, rows: list[dict[str, Any]], method: str) -> None:
    """The table of one user."""
    lead = "similar to" if method == SIMILARITY else "because of"
    number = "{:.0%}" if method == ATTENTION else "{:.3g}"

    def reasons(row: dict[str, Any]) -> str:
        return ", ".join(f"{reason['title']} ({number.format(reason['weight'])})" for reason in row["reasons"])

    columns = ["rank", "item", "title", "score", lead]
    cells = [[n, row["item"], row["title"], row["score"], reasons(row)] for n, row in enumerate(rows, start=1)]
    width = 4 if method == NOTHING else 5
    console.table(columns[:width], [row[:width] for row in cells], title)


if __name__ == "__main__":
    define()
    console.run(main)
