"""From requests to answers: whom they are about, and what the programs say of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa

from ancf_jax.data.dataset import find_item, find_user
from ancf_jax.serving.limits import hidden_from, hidden_from_all
from ancf_jax.serving.lookup import item_of, title_of
from ancf_jax.serving.people import Person, Rows, new_person
from ancf_jax.serving.recommend import person_of, rows_of_list
from ancf_jax.serving.service import feedback, programs
from ancf_jax.serving.service.bodies import ExplainBody, RecommendBody, ScoreBody, SimilarBody, Whom
from ancf_jax.serving.service.kept import Kept, key_of
from ancf_jax.serving.service.live import Live
from ancf_jax.serving.similar import similar_items
from ancf_jax.types import InputError

SHOWN = 5  # reasons of an item in a list
Answer = dict[str, Any]


def recommend(
    jobs: Sequence[tuple[Live, RecommendBody]], store: sa.Engine | None, kept: Kept
) -> list[Answer | Exception]:
    """The answers to requests for lists, or the errors in them.

    Each is answered by one model from its beginning to its end, and those of the same model in programs that they fill.
    A list that was computed before is taken from what is kept.
    """
    later = later_of([body for _, body in jobs], jobs[0][0], store)
    found: list[Any] = [None] * len(jobs)
    ready: list[tuple[int, Live, Person, np.ndarray, bytes]] = []
    for n, (live, body) in enumerate(jobs):
        try:
            person = person_asked(live, body, later)
            hidden = _hidden(live, body, person)
            key = key_of(live.stamp, live.server.model.history, person, hidden)
            if (known := kept.get(key)) is None:
                ready.append((n, live, person, hidden, key))
            else:
                found[n] = _listed(live, body, person, *known)
        except InputError as error:
            found[n] = error
    while ready:
        live = ready[0][1]
        batch = [each for each in ready if each[1] is live]
        batch = batch[: max(size for size in programs.SIZES if size <= len(batch))]
        ready = [each for each in ready if not any(each is one for one in batch)]
        lists = programs.lists(live.programs, live.server, [each[2] for each in batch], [each[3] for each in batch])
        for (n, _, person, _, key), items, scores in zip(batch, *lists, strict=True):
            kept.put(key, items, scores)
            found[n] = _listed(live, jobs[n][1], person, items, scores)
    return found


def _hidden(live: Live, body: RecommendBody, person: Person) -> np.ndarray:
    dataset = live.server.dataset
    among = None if body.items is None else [*map(str, body.items)]
    hidden = hidden_from_all(dataset, among, [*map(str, body.exclude)], body.categories)
    return hidden_from(hidden, [person], dataset.repeats if body.repeats is None else body.repeats)[0]


def _listed(live: Live, body: RecommendBody, person: Person, items: np.ndarray, scores: np.ndarray) -> Answer:
    kept = items[: body.top_k][np.isfinite(scores[: body.top_k])]
    rows = rows_of_list(live.server.dataset, kept, score=scores.tolist())
    why = reasons_of(live, person, kept, programs.REASONS)[1] if body.explain else [[] for _ in rows]
    for row, reasons in zip(rows, why, strict=True):
        for_it = [reason for reason in reasons if reason["weight"] > 0][:SHOWN]
        row["reasons"] = [{name: reason[name] for name in ("item", "title", "weight")} for reason in for_it]
    return {"model": live.run.model, "user": _name(body, person), "items": rows}


def explain(live: Live, body: ExplainBody, store: sa.Engine | None) -> Answer:
    """The reasons for items, and what a weight is."""
    person, items = _person_and_items(live, body, store)
    found = programs.scores(live.programs, live.server, person, items).tolist()
    method, why = reasons_of(live, person, items, body.reasons)
    rows = rows_of_list(live.server.dataset, items, score=found, reasons=why)
    return {"model": live.run.model, "user": _name(body, person), "method": method, "items": rows}


def score(live: Live, body: ScoreBody, store: sa.Engine | None) -> Answer:
    """The scores of items, in the order that they were asked for."""
    person, items = _person_and_items(live, body, store)
    found = programs.scores(live.programs, live.server, person, items).tolist()
    rows = rows_of_list(live.server.dataset, items, score=found)
    return {"model": live.run.model, "user": _name(body, person), "unit": live.server.unit, "items": rows}


def similar(live: Live, body: SimilarBody) -> Answer:
    """Items like an item."""
    dataset = live.server.dataset
    item = item_of(dataset, str(body.item))
    items, alike = similar_items(live.likeness, item, body.top_k)
    rows = rows_of_list(dataset, items, score=alike.tolist())
    about = {"item": dataset.item_ids.item(item), "method": live.likeness.method}
    return {"model": live.run.model, **about, "items": rows}


def user(live: Live, name: str, store: sa.Engine | None) -> Answer:
    """What is known of a user: whether the model was trained on it, and its history, oldest first."""
    whom = Whom(user=name, history=None)
    person = person_asked(live, whom, later_of([whom], live, store))
    place = find_user(live.server.dataset, name)
    rows = rows_of_list(live.server.dataset, person.items)
    return {"user": person.name, "trained": place is not None, "history": rows}


def found_items(live: Live, text: str, limit: int) -> Answer:
    """Items whose titles hold all words of a text, those that begin with it first; of equals the shortest title."""
    words, start = text.casefold().split(), text.casefold().strip()
    found = [n for n, title in enumerate(live.titles) if all(word in title for word in words)]
    found.sort(key=lambda n: (not live.titles[n].startswith(start), len(live.titles[n]), n))
    own = find_item(live.server.dataset, text.strip())
    places = dict.fromkeys(([own] if own is not None else []) + found)
    return {"items": rows_of_list(live.server.dataset, np.array([*places][:limit], np.int64))}


def found_users(live: Live, text: str, limit: int) -> Answer:
    """Users of the log whose ids begin with a text."""
    ids = live.server.dataset.user_ids
    found: list[Any] = []
    if ids.dtype.kind != "i":
        first = int(np.searchsorted(ids, text))
        found = [id for id in ids[first : first + limit].tolist() if id.startswith(text)]
    elif not text:
        found = ids[:limit].tolist()
    elif text.isdecimal() and text.isascii() and text[0] != "0" and len(text) < 19:
        number, width = int(text), 1
        while number * width <= ids[-1] and len(found) < limit:  # 19, 190 to 199, 1900 to 1999, ...
            low, high = np.searchsorted(ids, [number * width, (number + 1) * width])
            found += ids[low:high][: limit - len(found)].tolist()
            width *= 10
    return {"users": found}


def reasons_of(live: Live, person: Person, items: np.ndarray, count: int) -> tuple[str, list[list[Answer]]]:
    """What a weight is, and the strongest reasons for each item, from what speaks most for it to what does against."""
    blocks = programs.reasons(live.programs, live.server, person, items)
    if not blocks:
        return "", []
    past, weights, heads = (
        np.concatenate([np.asarray(getattr(block, part))[0] for block in blocks])[: len(items), :count]
        for part in ("items", "weights", "heads")
    )
    named, order = live.server.dataset, np.argsort(-weights, axis=1, kind="stable")
    return blocks[0].method, [
        rows_of_list(named, row[0][place], weight=row[1][place].tolist(), heads=row[2][place].tolist())
        for *row, place in zip(past, weights, heads, order, strict=True)
    ]


def later_of(bodies: Sequence[Whom], live: Live, store: sa.Engine | None) -> dict[str, Rows]:
    """What the users in some requests did since the log was written."""
    users = sorted({str(body.user) for body in bodies if body.user is not None})
    if store is None or not users:
        return {}
    found = {}
    for name, rows in feedback.rows_of(store, users).items():
        places = [(find_item(live.server.dataset, item), value) for item, value in rows]
        known = [(place, value) for place, value in places if place is not None]
        if known:
            items, values = zip(*known, strict=True)
            found[name] = Rows(np.array(items, np.int32), np.array(values))
    return found


def person_asked(live: Live, body: Whom, later: dict[str, Rows]) -> Person:
    """Whom a request is about. Raises UnknownId with the nearest ids."""
    if body.user is not None:
        return person_of(live.server, str(body.user), later.get(str(body.user)))
    return new_person(live.server.dataset, live.server.data, [*map(str, body.history or ())])


def _person_and_items(live: Live, body: ExplainBody | ScoreBody, store: sa.Engine | None) -> tuple[Person, np.ndarray]:
    person = person_asked(live, body, later_of([body], live, store))
    return person, np.array([item_of(live.server.dataset, str(item)) for item in body.items], np.int32)


def title(live: Live, item: str) -> str:
    """The title of an item by its own id. Raises UnknownId with the nearest ids."""
    return title_of(live.server.dataset, item_of(live.server.dataset, item))


def _name(body: Whom, person: Person) -> Any:
    return None if body.user is None else person.name
