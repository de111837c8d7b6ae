"""Top-N lists from any model, for users it was trained on and for new users given by a history.

Serving predicts the future, so all that is known of a user is history: the training, validation and test parts. A new
user is the unknown-user row U with a history, so no parameter changes and nothing is retrained.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ancf_jax.data.dataset import Dataset, all_interactions
from ancf_jax.evaluation.queries import query_history, query_users
from ancf_jax.evaluation.topk import best_items, items_for
from ancf_jax.runs.results import in_units
from ancf_jax.serving.lookup import features_of, item_of, title_of, user_of
from ancf_jax.types import Array, ArrayLike, Data, InputError, Interactions, Params, Query, Recommender

BLOCK = 256  # users whose lists are made at once


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


class Listed(NamedTuple):
    """What is recommended to some people."""

    people: Sequence[str]
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


def for_users(
    server: Server,
    users: Sequence[str],
    top_k: int,
    *,
    among: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    approximate: bool = False,
) -> Iterator[Listed]:
    """The best items of users given by their ids, in blocks: of `among` alone if given, and none of `exclude`.

    Raises InputError that names an id that is unknown.
    """
    places = [user_of(server.dataset, user) for user in users]
    for start in range(0, len(places), BLOCK):
        block = slice(start, start + BLOCK)
        query, seen = query_users(server.model, server.data, server.log, places[block])
        yield _listed(server, users[block], query, seen, top_k, among, exclude, approximate)


def for_history(
    server: Server,
    history: Sequence[str],
    top_k: int,
    *,
    among: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    approximate: bool = False,
) -> Listed:
    """The best items of a new user who has the items `history`, given by their ids, oldest first. Errors likewise."""
    items = [item_of(server.dataset, item) for item in history]
    query, seen = query_history(server.model, server.data, items)
    return _listed(server, ["new user"], query, seen, top_k, among, exclude, approximate)


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


def scores_of(server: Server, users: Sequence[str], items: Sequence[str]) -> np.ndarray:
    """The scores [P], as lists show them, of P pairs of a user and an item, given by their ids.

    Raises InputError for an unknown id.
    """
    places = np.array([user_of(server.dataset, user) for user in users], np.int32)
    wanted = np.array([item_of(server.dataset, item) for item in items], np.int32)
    score, found = jax.jit(server.model.score), [np.zeros(0, np.float32)]
    for start in range(0, len(places), BLOCK):
        block = slice(start, start + BLOCK)
        query, _ = query_users(server.model, server.data, server.log, places[block].tolist())
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


def _listed(
    server: Server,
    people: Sequence[str],
    query: Query,
    seen: Array,
    top_k: int,
    among: Sequence[str] | None,
    exclude: Sequence[str],
    approximate: bool,
) -> Listed:
    options: dict[str, Any] = {"top_k": top_k, "approximate": approximate}
    if among is not None:
        options["among"] = np.unique([item_of(server.dataset, item) for item in among]).astype(np.int32)
    hidden = np.asarray(seen)
    if server.dataset.repeats:  # what may be bought again is not left out
        hidden = np.full_like(hidden, server.data.num_items)
    if exclude:
        also = np.array([item_of(server.dataset, item) for item in exclude], np.int32)
        hidden = np.concatenate([hidden, np.broadcast_to(also, (len(hidden), len(also)))], axis=1)
    items, scores = map(np.asarray, server.best(server.ready, query, hidden, **options))
    users = np.broadcast_to(np.asarray(query.users)[:, None], items.shape)
    shown = np.where(np.isfinite(scores), server.shown(users, items, scores), scores)
    return Listed(people, query, seen, jnp.asarray(items), shown)
