"""The compiled programs that answer requests, each of one shape: once they are warm, nothing compiles.

What a model has learnt is their argument, so a newer checkpoint of the same run takes the same programs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ancf_jax.evaluation.queries import padded, width_of, widths
from ancf_jax.evaluation.topk import WORD, best_items
from ancf_jax.serving.explain import Reasons, make_explainer
from ancf_jax.serving.people import Person, new_person
from ancf_jax.serving.recommend import Server, query_of_people

SIZES = (1, 4, 16)  # people whose lists are made together
LONGEST = 100  # items in a list
SCORED = 64  # items scored for a person at once
EXPLAINED = 10  # items whose reasons are found at once
REASONS = 50  # past items behind one


class Programs(NamedTuple):
    """The programs of one model. `ready` is what `prepare` made of its parameters."""

    best: Callable[..., Any]  # ready, query [B], bits [B, I / 32] -> items, scores [B, k]
    score: Callable[..., Any]  # ready, query [1], items [1, SCORED] -> [1, SCORED]
    explain: Callable[..., Reasons]  # ready, query [1], items [1, EXPLAINED], seen [1, S]
    seen: int  # S


def make_programs(server: Server) -> Programs:
    """The programs of a server's model, compiled."""
    model, items = server.model, server.data.num_items
    best = jax.jit(partial(best_items, model, top_k=LONGEST))
    explain = make_explainer(model, server.data.num_users, items, REASONS, signed=True)
    longest = int(np.diff(np.asarray(server.log.offsets)).max(initial=1))
    programs = Programs(best, jax.jit(model.score), explain, 1 << (2 * longest - 1).bit_length())
    person = new_person(server.dataset, server.data, ())
    nothing = np.zeros(-(-items // WORD), np.uint32)
    for size in SIZES:
        lists(programs, server, [person] * size, [nothing] * size, model.history)
    for width in widths(model)[:-1] if model.narrow > 1 else ():
        lists(programs, server, [person], [nothing], width)
    scores(programs, server, person, np.zeros(1, np.int32))
    reasons(programs, server, person, np.zeros(1, np.int32))
    return programs


def lists(
    programs: Programs, server: Server, people: Sequence[Person], hidden: Sequence[np.ndarray], width: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The best items [B, k] of some people but what is hidden from each, as bits, and their scores as people see them.

    At most the last of SIZES people. Of one person the query is no wider than it has to be, where width costs much; of
    several it is whole.
    """
    size = next(size for size in SIZES if size >= len(people))
    filled, bits = [*people, *[people[-1]] * (size - len(people))], [*hidden, *[hidden[-1]] * (size - len(people))]
    if width is None:
        alone = len(people) == 1 and server.model.narrow > 1
        width = width_of(server.model, [people[0].items]) if alone else server.model.history
    query = query_of_people(server, filled, width)
    items, scores = map(np.asarray, programs.best(server.ready, query, np.stack(bits)))
    users = np.broadcast_to(np.asarray(query.users)[:, None], items.shape)
    shown = np.where(np.isfinite(scores), server.shown(users, items, scores), scores)
    return items[: len(people)], shown[: len(people)]


def scores(programs: Programs, server: Server, person: Person, items: np.ndarray) -> np.ndarray:
    """The scores [K] of items [K] for a person, as people see them."""
    query = query_of_people(server, [person])
    parts = [
        np.asarray(programs.score(server.ready, query, _filled(items[start : start + SCORED], SCORED, 0)))[0]
        for start in range(0, len(items), SCORED)
    ]
    found = np.concatenate(parts)[: len(items)]
    return server.shown(np.full(len(items), person.user), items, found)


def reasons(programs: Programs, server: Server, person: Person, items: np.ndarray) -> list[Reasons]:
    """The reasons behind items [K], for a person: of EXPLAINED items each."""
    query, nobody = query_of_people(server, [person]), server.data.num_items
    seen = np.full((1, programs.seen), nobody, np.int32)
    had = padded([person.items[-programs.seen :]], nobody)
    seen[:, -had.shape[1] :] = had
    blocks = (items[start : start + EXPLAINED] for start in range(0, len(items), EXPLAINED))
    return [programs.explain(server.ready, query, _filled(block, EXPLAINED, nobody), seen) for block in blocks]


def _filled(items: np.ndarray, length: int, padding: int) -> np.ndarray:
    return np.pad(items, (0, length - len(items)), constant_values=padding)[None].astype(np.int32)
