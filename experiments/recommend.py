"""Recommend: python -m experiments.recommend --workdir=checkpoints/ancf --user=42 --explain

The top items of users that a trained model knows (--user, repeatable, or --users=all or a file of ids), of a new user
given by what they have (--history=ITEM,ITEM,..., oldest first), or for words (--query="red mug", of models that score
items by their features), by the data's own ids and titles. --similar=ITEM lists items like one, --pairs=FILE scores
given pairs, --vectors=FILE writes the vectors whose inner product is the score. The log itself is not needed. An item
whose id holds a comma cannot be given in --history.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from experiments import console
from experiments.options import define_cache, keep_programs


def define() -> None:
    """Which model, for whom, and how much."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if the run kept none", allow_override=True)
    flags.DEFINE_multi_string("user", [], "a user's id; may be given several times", allow_override=True)
    flags.DEFINE_string("users", "", "all, or a file with a user's id a line; needs --output", allow_override=True)
    flags.DEFINE_list("history", [], "a new user's item ids, oldest first, without commas in them", allow_override=True)
    flags.DEFINE_string("query", "", "words that describe the item that is wanted", allow_override=True)
    flags.DEFINE_string("similar", "", "an item's id, for items like it", allow_override=True)
    flags.DEFINE_string("pairs", "", "a file with columns of users and items, to be scored", allow_override=True)
    flags.DEFINE_string("vectors", "", "a .parquet file for the vectors of items and users", allow_override=True)
    flags.DEFINE_string("output", "", "a .parquet or .csv file for lists or scores", allow_override=True)
    flags.DEFINE_integer("top_k", 10, "items recommended to a user", lower_bound=1, allow_override=True)
    flags.DEFINE_string("items", "", "a file with an item's id a line: no others are listed", allow_override=True)
    flags.DEFINE_string("exclude_items", "", "a file with an item's id a line: these are not", allow_override=True)
    flags.DEFINE_list("categories", [], "of the item table: only items of one of these", allow_override=True)
    again = "what a user has may come again (as the data set has it if not given)"
    flags.DEFINE_boolean("repeats", None, again, allow_override=True)
    unlike = "from 0, the best by score, to 1, the most unlike each other (MMR)"
    flags.DEFINE_float("diversity", 0.0, unlike, lower_bound=0, upper_bound=1, allow_override=True)
    rows = "a file of rows that came after the log, in its columns, which histories go on with"
    flags.DEFINE_string("new_rows", "", rows, allow_override=True)
    flags.DEFINE_boolean("approximate", False, "find most of the best items, faster on a TPU", allow_override=True)
    clip = "predicted values stay within those of the training part"
    flags.DEFINE_boolean("clip_predictions", False, clip, allow_override=True)
    flags.DEFINE_boolean("explain", False, "give the reasons for each recommendation", allow_override=True)
    flags.DEFINE_integer("reasons", 3, "most reasons for an item, with --explain", lower_bound=1, allow_override=True)
    define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import jax
import numpy as np

from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.queries import query_users
from ancf_jax.evaluation.topk import recall_of_approximate
from ancf_jax.files import at_home
from ancf_jax.runs.run import Run, open_trained
from ancf_jax.serving import tables
from ancf_jax.serving.explain import ATTENTION, NOTHING, SIMILARITY, Reasons, make_explainer
from ancf_jax.serving.lookup import item_of, title_of
from ancf_jax.serving.people import later_rows
from ancf_jax.serving.recommend import (
    Listed,
    Server,
    Wanted,
    for_history,
    for_users,
    for_words,
    make_server,
    rows_of_list,
    scores_of,
)
from ancf_jax.serving.similar import likeness_of, similar_items
from ancf_jax.types import InputError

SAMPLE = 100  # users whose approximate lists are held against the exact ones
ASKED = ("user", "users", "history", "query", "similar", "pairs", "vectors")
SHOWN = 20  # pairs on the screen


def main() -> dict[str, Any]:
    """Recommend, and print one table a user or write one file."""
    options = flags.FLAGS
    check(options)
    keep_programs()
    console.status(f"reading {options.workdir} and its data ...")
    run, dataset, data, model, params = open_trained(Path(options.workdir), options.data_dir, users=options.user)
    server = make_server(dataset, data, model, params, clip_predictions=options.clip_predictions)
    found: dict[str, Any] = {"model": run.model}
    if options.new_rows:
        later, added = later_rows(dataset, tables.frame_of(options.new_rows, run.data))
        server = server._replace(later=later)
        found["new_rows"] = added._asdict()
        console.say(
            f"{added.rows:,} new rows in the histories of {added.users:,} users, {added.new_users:,} of them new; "
            f"{added.left_out:,} rows left out, without an id or a value or of an item that the model does not know"
        )
    if options.similar:
        return found | similar(server, options.similar, options.top_k)
    if options.pairs:
        return found | pairs(server, run)
    if options.vectors:
        return found | vectors(server, run.model)
    return found | lists(server, run)


def check(options: Any) -> None:
    """Raises InputError for flags that do not go together."""
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    if sum(bool(getattr(options, name)) for name in ASKED) != 1:
        raise InputError(
            "give one of --user=ID (once or several times), --users=all or a file, --history=ITEM,ITEM,..., "
            "--query=WORDS, --similar=ITEM, --pairs=FILE and --vectors=FILE"
        )
    if options.query and options.explain:
        raise InputError("flag --explain: reasons are past items, and a --query comes without them")
    if options.users and not options.output:
        raise InputError("flag --users: many lists go to a file; name it by --output=FILE.parquet or FILE.csv")
    if options.output and not (options.users or options.user or options.history or options.pairs):
        raise InputError("flag --output: goes with --users, --user, --history or --pairs")
    for flag, legal in (("output", tables.SUFFIXES), ("vectors", (".parquet",))):
        if getattr(options, flag):
            tables.check_output(getattr(options, flag), flag, legal)


def lists(server: Server, run: Run) -> dict[str, Any]:
    """Top-N lists, on the screen or in a file."""
    options, dataset, data, model = flags.FLAGS, server.dataset, server.data, server.model
    wanted = Wanted(
        options.top_k,
        tables.ids_in(options.items, "items") if options.items else None,
        tables.ids_in(options.exclude_items, "exclude_items") if options.exclude_items else (),
        options.categories,
        options.repeats,
        options.approximate,
    )
    if options.diversity:
        wanted = wanted._replace(diversity=options.diversity, alike=likeness_of(server).among)
    if options.query:
        listed: Iterable[Listed] = [for_words(server, options.query, options.top_k, approximate=options.approximate)]
    elif options.history:
        listed = [for_history(server, options.history, wanted)]
        if not model.history:
            print(
                f"note: {run.model} has learnt nothing from histories, so every new user gets the same list but for "
                "the items they have",
                file=sys.stderr,
            )
    else:
        listed = for_users(server, people_of(dataset), wanted)
    found: dict[str, Any] = approximation(server, options.top_k) if options.approximate else {}
    explain = make_explainer(model, data.num_users, data.num_items, options.reasons) if options.explain else None
    print(f"score: {server.unit}")
    explained = ((block, explain and explain(server.ready, block.query, block.items, block.seen)) for block in listed)
    if options.output:
        return {"score": server.unit, **found, **written(server, explained)}
    by_person: dict[str, list[dict[str, Any]]] = {}
    for block, reasons in explained:
        if reasons and not by_person:
            console.say(f"reasons: {reasons.method}")
            found["method"] = reasons.method
        for person, rows in zip(block.people, as_lists(dataset, block, reasons), strict=True):
            title = f"{run.model} for {f'user {person}' if options.user else person}"
            show(title, rows, NOTHING if reasons is None else reasons.method)
            by_person[str(person)] = rows
    return {"score": server.unit, **found, "users": by_person}


def people_of(dataset: Dataset) -> list[str]:
    """The ids of the users that flags ask for."""
    options = flags.FLAGS
    if options.users == "all":
        return [str(user) for user in dataset.user_ids]
    return list(dict.fromkeys(options.user or tables.ids_in(options.users, "users")))


def written(server: Server, listed: Iterator[tuple[Listed, Reasons | None]]) -> dict[str, Any]:
    """Lists in a file, block by block."""
    path, users, rows, started = at_home(flags.FLAGS.output), 0, 0, time.perf_counter()
    with tables.writing(path) as write:
        for block, reasons in listed:
            table = tables.table_of_lists(server, block, reasons)
            write(table)
            users, rows = users + len(block.people), rows + len(table)
    seconds = time.perf_counter() - started
    console.say(f"wrote {path}: {rows:,} rows, lists of {users:,} users, {users / seconds:,.0f} a second")
    return {"output": str(path), "rows": rows, "users": users, "seconds": seconds}


def similar(server: Server, id: str, top_k: int) -> dict[str, Any]:
    """Items like an item."""
    item, likeness = item_of(server.dataset, id), likeness_of(server)
    items, alike = similar_items(likeness, item, top_k)
    rows = rows_of_list(server.dataset, items, score=alike)
    console.say(f"likeness: {likeness.method}")
    cells = [[n, row["item"], row["title"], row["score"]] for n, row in enumerate(rows, start=1)]
    console.table(["rank", "item", "title", "score"], cells, f"like {title_of(server.dataset, item)}")
    return {"method": likeness.method, "item": server.dataset.item_ids.item(item), "similar": rows}


def pairs(server: Server, run: Run) -> dict[str, Any]:
    """Scores of given pairs, on the screen or in a file."""
    options = flags.FLAGS
    frame = tables.frame_of(options.pairs, run.data, "pairs", values=False).dropna(subset=["user", "item"])
    users, items = (frame[side].astype(str).tolist() for side in ("user", "item"))
    scores = scores_of(server, users, items)
    print(f"score: {server.unit}")
    if options.output:
        path = at_home(options.output)
        with tables.writing(path) as write:
            write(tables.table_of_pairs(server, users, items, scores))
        console.say(f"wrote {path}: {len(users):,} rows")
        return {"score": server.unit, "output": str(path), "rows": len(users)}
    every = list(zip(users, items, scores.tolist(), strict=True))
    more = f", the first {SHOWN} of {len(every):,}; --output=FILE takes all" if len(every) > SHOWN else ""
    console.table(["user", "item", "score"], every[:SHOWN], f"{run.model} on pairs{more}")
    named = [dict(zip(("user", "item", "score"), row, strict=True)) for row in every]
    return {"score": server.unit, "pairs": named}


def vectors(server: Server, model: str) -> dict[str, Any]:
    """The vectors of items and users in a file."""
    path, rows = at_home(flags.FLAGS.vectors), 0
    with tables.writing(path) as write:
        for table in tables.vectors_of(server, model):
            write(table)
            rows += len(table)
    console.say(f"wrote {path}: {rows:,} rows, columns kind, id, title, vector")
    return {"output": str(path), "rows": rows}


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
