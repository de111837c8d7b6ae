"""Whom lists are for: users of the log, with what came after it, and new users given by a history."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.data import targets
from ancf_jax.data.dataset import Dataset, find_item, find_user
from ancf_jax.serving.lookup import item_of, user_of
from ancf_jax.types import Data, Interactions, Recommender

NEW = "new user"


class Rows(NamedTuple):
    """What one user did after the log was written, oldest first."""

    items: np.ndarray  # [n] int32
    values: np.ndarray  # [n] float: in the log's own units


class Person(NamedTuple):
    """Whom a list is for."""

    name: Any  # the user's own id, or NEW
    user: int  # dense id; U for who is scored by a history alone
    items: np.ndarray  # [n] int32: all that the person has, oldest first
    values: np.ndarray  # [n] float32: as the model learnt them


class Added(NamedTuple):
    """What became of new rows."""

    rows: int  # that are histories now
    users: int  # of whom they are
    new_users: int  # of these, who are not in the log
    left_out: int  # rows without a user, an item or a value, or of an item that the model does not know


def known_person(
    dataset: Dataset, data: Data, model: Recommender, log: Interactions, name: str, later: Rows | None = None
) -> Person:
    """A user by id, with what `log` holds and what came `later`, which may be all that is known.

    What comes again takes its latest place, unless the data set keeps repeats. A user without training rows is scored
    by the history, and so is one with later rows where the model reads histories and would look at its own row for the
    user alone. Raises InputError with the nearest ids if nothing is known of the user.
    """
    user = find_user(dataset, name)
    if user is None:
        if later is None:
            user_of(dataset, name)
        return _person(dataset, data.num_users, name, later or _nothing())
    offsets, trained = np.asarray(log.offsets), np.diff(np.asarray(data.train.offsets)[user : user + 2])[0] > 0
    rows = slice(offsets[user], offsets[user + 1])
    items, values = np.asarray(log.items)[rows], np.asarray(log.values)[rows]
    folded = later is not None and model.alone and model.history > 0
    asked = user if trained and not folded else data.num_users
    if later is not None and len(later.items):
        _, _, after, worth = _person(dataset, user, name, later)
        items, values = np.concatenate([items, after]), np.concatenate([values, worth])
        if not dataset.repeats:
            kept = _latest(items)
            items, values = items[kept], values[kept]
    return Person(dataset.user_ids.item(user), asked, items, values)


def new_person(dataset: Dataset, data: Data, history: Sequence[str]) -> Person:
    """A new user who has these items, oldest first. Each interaction has the median value of the training part.

    Raises InputError for an unknown item.
    """
    items = np.array([item_of(dataset, item) for item in history], np.int32)
    return Person(NEW, data.num_users, items, np.full(len(items), usual_value(data), np.float32))


def usual_value(data: Data) -> float:
    """The median value of the training part: 1 for clicks, a usual rating or quantity otherwise."""
    return float(np.median(data.train.values))


def later_rows(dataset: Dataset, frame: pd.DataFrame) -> tuple[dict[str, Rows], Added]:
    """New rows of user, item, value and time as histories by user's own id, and what became of them."""
    known = frame.dropna(subset=["user", "item", "value"])
    places = {text: find_item(dataset, text) for text in known["item"].astype(str).unique()}
    known = known.assign(place=known["item"].astype(str).map(places)).dropna(subset=["place"])
    known = known.sort_values("time", kind="stable")
    found = {
        str(user): Rows(rows["place"].to_numpy(np.int32), rows["value"].to_numpy(float))
        for user, rows in known.groupby("user", sort=False)
    }
    new = sum(find_user(dataset, user) is None for user in found)
    return found, Added(len(known), len(found), new, len(frame) - len(known))


def joined(first: Mapping[str, Rows], second: Mapping[str, Rows]) -> dict[str, Rows]:
    """Rows of users, those of the second after those of the first."""
    both = dict(first)
    for user, rows in second.items():
        before = both.get(user, _nothing())
        both[user] = Rows(*map(np.concatenate, zip(before, rows, strict=True)))
    return both


def _person(dataset: Dataset, user: int, name: str, rows: Rows) -> Person:
    """The rows with values as the model learnt them; without those of an item that comes again later."""
    users = np.full(len(rows.items), user, np.int32)
    part = Interactions(users, rows.items, rows.values.astype(np.float32), users, users, users)
    values = np.asarray(targets.apply(dataset.target, part).values)
    kept = slice(None) if dataset.repeats else _latest(rows.items)
    return Person(name, user, rows.items[kept], values[kept])


def _latest(items: np.ndarray) -> np.ndarray:
    """The places of the latest occurrence of each item, ascending."""
    _, first = np.unique(items[::-1], return_index=True)
    return np.sort(len(items) - 1 - first)


def _nothing() -> Rows:
    return Rows(np.zeros(0, np.int32), np.zeros(0))
