"""Recommend: python -m experiments.recommend --workdir=checkpoints/ancf --user=42 --explain

The top items of users that a trained model knows (--user, repeatable), of a new user given by what they have
(--history=ITEM,ITEM,..., oldest first), or for words (--query="red mug", of models that score items by their features),
by the data's own ids and titles. An item whose id holds a comma cannot be given.
"""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from experiments import console


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


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import jax
import numpy as np

from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.queries import query_users
from ancf_jax.evaluation.topk import recall_of_approximate
from ancf_jax.runs.run import open_trained
from ancf_jax.serving.explain import ATTENTION, NOTHING, SIMILARITY, Reasons, make_explainer
from ancf_jax.serving.recommend import Listed, Server, for_history, for_users, for_words, make_server, rows_of_list
from ancf_jax.types import InputError

SAMPLE = 100  # users whose approximate lists are held against the exact ones


def main() -> dict[str, Any]:
    """Recommend, and print one table a user."""
    options = flags.FLAGS
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    if sum(map(bool, (options.user, options.history, options.query))) != 1:
        raise InputError("give either --user=ID, once or several times, or --history=ITEM,ITEM,... or --query=WORDS")
    if options.query and options.explain:
        raise InputError("flag --explain: reasons are past items, and a --query comes without them")
    console.status(f"reading {options.workdir} and its data ...")
    run, dataset, data, model, params = open_trained(Path(options.workdir), options.data_dir, users=options.user)
    server = make_server(dataset, data, model, params)
    how: dict[str, Any] = {"top_k": options.top_k, "approximate": options.approximate}
    if options.query:
        listed: Iterable[Listed] = [for_words(server, options.query, **how)]
    elif options.user:
        listed = for_users(server, list(dict.fromkeys(options.user)), **how)
    else:
        listed = [for_history(server, options.history, **how)]
        if not model.history:
            print(
                f"note: {run.model} has learnt nothing from histories, so every new user gets the same list but for "
                "the items they have",
                file=sys.stderr,
            )
    found: dict[str, Any] = approximation(server, options.top_k) if options.approximate else {}
    explain = make_explainer(model, data.num_users, data.num_items, options.reasons) if options.explain else None
    lists: dict[str, list[dict[str, Any]]] = {}
    for block in listed:
        reasons = explain and explain(server.ready, block.query, block.items, block.seen)
        if reasons and not lists:
            console.say(f"reasons: {reasons.method}")
            found["method"] = reasons.method
        for person, rows in zip(block.people, as_lists(dataset, block, reasons), strict=True):
            title = f"{run.model} for {f'user {person}' if options.user else person}"
            show(title, rows, NOTHING if reasons is None else reasons.method)
            lists[person] = rows
    return {"model": run.model, **found, "users": lists}


def approximation(server: Server, top_k: int) -> dict[str, float]:
    """Say how much of the exact lists the approximate ones hold, for users drawn at random."""
    users = np.random.default_rng(0).permutation(server.data.num_users)[:SAMPLE]
    query, seen = query_users(server.model, server.data, server.log, users.tolist())
    share = jax.jit(partial(recall_of_approximate, server.model, top_k=top_k))(server.ready, query, seen)
    held = f"{share:.1%} of the items of exact ones, over {len(users)} users drawn at random"
    console.say(f"approximate lists hold {held}")
    return {"recall_of_approximate": float(share)}


def as_lists(dataset: Dataset, listed: Listed, reasons: Reasons | None) -> list[list[dict[str, Any]]]:
    """What is recommended to each user and why, by the data's own ids and titles."""
    nothing, named = np.empty((*listed.items.shape, 0)), partial(rows_of_list, dataset)
    past, weights = (nothing, nothing) if reasons is None else (reasons.items, reasons.weights)

    rows = zip(*map(np.asarray, (listed.items, listed.scores, past, weights)), strict=True)
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
    console.run(define, main)
