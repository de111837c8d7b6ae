"""Top-N lists from any model, for users it was trained on and for new users given by a history.

Serving predicts the future, so all that is known of a user is history: the training, validation and test parts, and
what came later. A new user is the unknown-user row U with a history, so no parameter changes and nothing is retrained.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from ancf_jax.data.dataset import Dataset, all_interactions
from ancf_jax.evaluation.blocks import AT_ONCE
from ancf_jax.evaluation.queries import BLOCK, FEW, by_width, padded, query_of, users_at_once, width_of
from ancf_jax.evaluation.topk import best_items, items_for
from ancf_jax.runs.results import in_units
from ancf_jax.serving.diversity import POOL, diversified
from ancf_jax.serving.limits import hidden_from, hidden_from_all
from ancf_jax.serving.lookup import features_of, item_of, title_of
from ancf_jax.serving.people import Person, Rows, known_person, new_person
from ancf_jax.types import Array, ArrayLike, Data, InputError, Interactions, Params, Query, Recommender

CHUNK = 8192  # users whose lists are held before they are handed on
Alike = Callable[[np.ndarray], np.ndarray]  # items [n] -> their likeness to each other [n, n]


class Server(NamedTuple):
    """A trained model, prepared for many questions, by the data's own ids."""

    dataset: Dataset
    data: Data
    model: Recommender
    ready: Any  # what `prepare` made of the parameters
    log: Interactions  # all that is known of each user
    best: Callable[..., tuple[Array, Array]]  # best_items of the model, compiled; top_k and approximate are static
    shown: Callable[[Any, Any, Any], np.ndarray]  # users, items, scores [B, k] -> as people see them
    unit: str  # what a score is, in words
    later: Mapping[str, Rows] = {}  # what came after the log, by the users' own ids


class Wanted(NamedTuple):
    """What lists are to be like. Items are by their own ids."""

    top_k: int
    among: Sequence[str] | None = None  # the only items that may be recommended
    exclude: Sequence[str] = ()  # items that may not
    categories: Sequence[str] = ()  # of which an item has to be of one, if any are given
    repeats: bool | None = None  # whether what a person has may come again; None: as the data set has it
    approximate: bool = False
    diversity: float = 0.0  # d of diversity.py
    alike: Alike | None = None  # needed with diversity


class Listed(NamedTuple):
    """What is recommended to some people."""

    people: Sequence[Any]  # their own ids
    query: Query
    seen: Array  # [B, S] what they have, padded with I
    items: Array  # [B, k] best first, padded with I
    scores: ArrayLike  # [B, k] in Server.unit, -inf at padding


def make_server(
    dataset: Dataset, data: Data, model: Recommender, params: Params, *, clip_predictions: bool = False
) -> Server:
    """Prepare a trained model; what is compiled for one question serves all of its shape.

    Scores that predict values are shown in the log's own units, with `clip_predictions` within the values of the
    training part; items are ordered by the scores as they are.
    """
    best = jax.jit(partial(best_items, model), static_argnames=("top_k", "approximate"))
    ready = jax.jit(model.prepare)(params, model.given)
    shown = in_units(dataset, clip=clip_predictions) if model.rates else lambda users, items, scores: scores
    return Server(dataset, data, model, ready, all_interactions(dataset), best, shown, _unit(dataset, model))


def person_of(server: Server, user: str, later: Rows | None = None) -> Person:
    """A user by id, with what came `later` beside what the server knows. Raises InputError as `known_person`."""
    later = server.later.get(user) if later is None else later
    return known_person(server.dataset, server.data, server.model, server.log, user, later)


def for_users(server: Server, users: Sequence[str], wanted: Wanted) -> Iterator[Listed]:
    """The best items of users given by their ids, in blocks.

    Raises InputError that names an id that is unknown, before the first block.
    """
    hidden = hidden_from_all(server.dataset, wanted.among, wanted.exclude, wanted.categories)
    people = [person_of(server, user) for user in users]

    def blocks() -> Iterator[Listed]:
        for start in range(0, len(people), CHUNK):
            chunk = people[start : start + CHUNK]
            found = best_of_many(server, chunk, hidden, wanted)
            for first in range(0, len(chunk), BLOCK):
                part = slice(first, first + BLOCK)
                yield listed(server, chunk[part], *(each[part] for each in found))

    return blocks()


def for_history(server: Server, history: Sequence[str], wanted: Wanted) -> Listed:
    """The best items of a new user who has the items `history`, given by their ids, oldest first. Errors likewise."""
    hidden = hidden_from_all(server.dataset, wanted.among, wanted.exclude, wanted.categories)
    person = new_person(server.dataset, server.data, history)
    return listed(server, [person], *best_of_many(server, [person], hidden, wanted))


def for_words(server: Server, words: str, top_k: int, *, approximate: bool = False) -> Listed:
    """The best items for whom nothing is known but `words` that describe what is wanted.

    Raises InputError if the model does not score by features alone, or if no item has one of the words.
    """
    if server.model.retrieve is None:
        raise InputError("--query: the model does not score by features alone; legal are --user and --history")
    wanted, nothing = features_of(server.dataset, words), jnp.full((1, 1), server.data.num_items)
    found = jax.jit(partial(items_for, server.model, top_k=top_k, approximate=approximate))
    query = Query(jnp.full(1, server.data.num_users), nothing[:, :0], jnp.zeros((1, 0)))
    return Listed([words], query, nothing, *found(server.ready, wanted, nothing))


def best_of_many(
    server: Server, people: Sequence[Person], hidden: np.ndarray, wanted: Wanted
) -> tuple[np.ndarray, np.ndarray]:
    """What `best_of` finds, in blocks of people with histories of like length: padding costs what a history does."""
    if len(people) <= FEW:
        return best_of(server, people, hidden, wanted, width_of(server.model, [person.items for person in people]))
    ranked, parts = [], []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for width, places in by_width(server.model, np.array([len(person.items) for person in people])):
            size = users_at_once(server.model, width)
            some = [[people[place] for place in places[start:][:size]] for start in range(0, len(places), size)]
            lists = partial(best_of, server, hidden=hidden, wanted=wanted, width=width, rows=size)
            parts += [lists(some[0]), *pool.map(lists, some[1:])]  # the first compiles for the others
            ranked.append(places)
    place = np.argsort(np.concatenate(ranked))
    items, scores = (np.concatenate(part)[place] for part in zip(*parts, strict=True))
    return items, scores


def best_of(
    server: Server, people: Sequence[Person], hidden: np.ndarray, wanted: Wanted, width: int, rows: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The best items [B, k] of some people, but those that are `hidden` from all, as bits [I / 32], and their scores.

    Of their histories `width` columns are read. With `rows`, as many people are computed, so that lists of fewer take
    no program of their own.
    """
    filled = [*people, *[people[-1]] * (rows - len(people))]
    query = query_of_people(server, filled, width)
    repeats = server.dataset.repeats if wanted.repeats is None else wanted.repeats
    bits = hidden_from(hidden, filled, repeats)
    pool = POOL * wanted.top_k if wanted.diversity else wanted.top_k
    best = server.best(server.ready, query, bits, top_k=pool, approximate=wanted.approximate)
    items, scores = (np.asarray(part)[: len(people)] for part in best)
    left = np.bitwise_count(bits[: len(people)]).sum(axis=1) < server.data.num_items
    if (silent := left & ~np.isfinite(scores).any(axis=1)).any():
        what = "the model has no finite score of any item that is left; their lists are empty"
        logging.warning("for %d of %d people %s", silent.sum(), len(people), what)
    if wanted.diversity:
        assert wanted.alike is not None
        chosen = [
            diversified(*row, wanted.alike, wanted.top_k, wanted.diversity) for row in zip(items, scores, strict=True)
        ]
        items, scores = (np.take_along_axis(part, np.array(chosen), axis=1) for part in (items, scores))
    return items, scores


def listed(server: Server, people: Sequence[Person], items: np.ndarray, scores: np.ndarray) -> Listed:
    """Lists [B, k] with what they were made for, and scores as people see them."""
    query = query_of_people(server, people)
    users = np.broadcast_to(np.asarray(query.users)[:, None], items.shape)
    shown = np.where(np.isfinite(scores), server.shown(users, items, scores), scores)
    seen = jnp.asarray(padded([person.items for person in people], server.data.num_items))
    return Listed([person.name for person in people], query, seen, jnp.asarray(items), shown)


def query_of_people(server: Server, people: Sequence[Person], width: int | None = None) -> Query:
    """The query [B] of some people, of this width if it is given, and else of all that the model reads."""
    users = np.array([person.user for person in people])
    items, values = [person.items for person in people], [person.values for person in people]
    width = server.model.history if width is None else width
    return query_of(width, server.data.num_items, users, items, values)


def scores_of(server: Server, users: Sequence[str], items: Sequence[str]) -> np.ndarray:
    """The scores [P], as lists show them, of P pairs of a user and an item, given by their ids.

    Raises InputError for an unknown id.
    """
    people = {user: person_of(server, user) for user in dict.fromkeys(users)}
    wanted = np.array([item_of(server.dataset, item) for item in items], np.int32)
    score, found = jax.jit(server.model.score), [np.zeros(0, np.float32)]
    for start in range(0, len(users), BLOCK):
        block = slice(start, start + BLOCK)
        query = query_of_people(server, [people[user] for user in users[block]])
        scores = np.asarray(score(server.ready, query, jnp.asarray(wanted[block, None])))
        found.append(server.shown(np.asarray(query.users), wanted[block], scores[:, 0]))
    return np.concatenate(found)


def rows_of_list(dataset: Dataset, items: np.ndarray, **columns: Any) -> list[dict[str, Any]]:
    """The items [k] that are not padding by own id and title, each with its cell of every column [k]."""
    return [
        {"item": dataset.item_ids.item(int(item)), "title": title_of(dataset, item)}
        | {name: column[k] for name, column in columns.items()}
        for k, item in enumerate(items)
        if item < len(dataset.item_ids)
    ]


def _unit(dataset: Dataset, model: Recommender) -> str:
    if model.rates:
        order = "; ordered by its ratio to the item's mean" if dataset.target.kind == "item" else ""
        return f"predicted value in the log's own units{order}"
    return model.unit or ("inner product" if model.embed is not None else "preference on the model's own scale")
