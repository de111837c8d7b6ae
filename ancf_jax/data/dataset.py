"""From a configuration to the arrays that everything else works on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.data import splits, targets
from ancf_jax.data.clean import Changed, Removed, clean, rules_of
from ancf_jax.data.features import Features, item_features, user_features
from ancf_jax.data.interactions import build, encode, merge, select, vocabulary
from ancf_jax.data.read.sources import read, read_titles
from ancf_jax.data.read.stream import Stream, scan
from ancf_jax.data.read.tables import Source
from ancf_jax.settings import SPLITS, DataConfig
from ancf_jax.types import InputError, Interactions

PUBLISHED = {"ncf": "ncf-ml-1m", "published": "gowalla, yelp2018 or amazon-book"}  # split -> whose it is

# user ids, item ids, parts, candidates of validation and of test
Encoded = tuple[np.ndarray, np.ndarray, splits.Parts, np.ndarray | None, np.ndarray | None]


class Dataset(NamedTuple):
    """A data set, cleaned, encoded and split; arrays are NumPy and live on the host."""

    name: str
    split: str
    user_ids: np.ndarray  # [U] original ids, sorted; a user's place is its dense id
    item_ids: np.ndarray  # [I]
    titles: list[str] | None  # [I]; the id where a title is missing
    train: Interactions
    valid: Interactions
    test: Interactions
    valid_candidates: np.ndarray | None  # [rows of valid, 100] int32, the positive last; None: rank all items
    test_candidates: np.ndarray | None  # [rows of test, 100] int32
    removed: list[Removed]
    fingerprint: str  # of the arrays and vocabularies, 16 hexadecimal digits
    features: Features | None = None  # of the items; None unless a model reads them
    stream: Stream | None = None  # with it, `train` only has the rows of users who are held out too, or were asked for
    changed: Sequence[Changed] = ()  # what cleaning changed in rows that it kept
    user_features: Features | None = None  # as `features`, of the users
    config: DataConfig = DataConfig()  # what it was made by
    target: targets.Target = targets.Target("value")  # what the values of the parts are


class Cleaned(NamedTuple):
    """A data set after cleaning, before it is encoded and split."""

    source: Source  # its frame has the rows kept; without a test part unless that is the one to be used
    split: str
    removed: list[Removed]
    changed: list[Changed]


def load(config: DataConfig, users: Sequence[str] = (), features: bool = False) -> Dataset:
    """Read, clean, encode and split the data set that `config` names.

    The split is leave-one-out unless --split says otherwise, ncf for ncf-ml-1m, whose published candidates are in the
    vocabulary although two of them occur in no training row, and published for data sets with a published test part
    alone. With --stream the training part stays where it is, but for the rows that evaluation needs, and those of
    `users`, given by their ids. With `features`, items and users have what the data set or flags say of them, and the
    fingerprint covers it. Raises InputError for bad input.
    """
    if config.stream:
        return _streamed(config, users)
    return from_source(read(config), config, features)


def from_source(source: Source, config: DataConfig, features: bool = False) -> Dataset:
    """Clean, encode and split what was read, as `load` does. Raises InputError for bad input."""
    return divided(cleaned(source, config), config, features)


def cleaned(source: Source, config: DataConfig) -> Cleaned:
    """A data set as it was read, cleaned; `load` is this and then `divided`. Raises InputError for bad input."""
    own = "leave-one-out" if source.test is None else "published" if source.negatives is None else "ncf"
    split = config.split or own
    if split not in SPLITS:
        raise InputError(f"--split={split} must be one of {', '.join(SPLITS)}")
    if split in PUBLISHED and split != own:
        raise InputError(
            f"--split={split} needs the published files of --dataset={PUBLISHED[split]}, not {config.dataset}"
        )
    if source.test is not None and split != own:
        source = source._replace(frame=pd.concat([source.frame, source.test], ignore_index=True), test=None)
    frame, removed, changed = clean(source.frame, rules_of(config, source.rules))
    return Cleaned(source._replace(frame=frame), split, removed, changed)


def divided(log: Cleaned, config: DataConfig, features: bool = False) -> Dataset:
    """A cleaned data set, encoded and split, as `load` returns it. Raises InputError for bad input."""
    source, split, removed, changed = log
    frame = source.frame
    encoded = _published(source, frame, config.split_seed) if split in PUBLISHED else _own(frame, split, config)
    user_ids, item_ids, parts, valid_candidates, test_candidates = encoded
    target = targets.fit(config.target, parts.train, len(item_ids))
    parts = splits.Parts(*(targets.apply(target, part) for part in parts))
    known = item_features(config, source.items, item_ids) if features else None
    people = user_features(config, source.users, user_ids) if features else None
    origins = [origin for side in (known, people) if side for origin in side.origins]
    return Dataset(
        name=source.name,
        split=split,
        user_ids=user_ids,
        item_ids=item_ids,
        titles=_titles(source.titles, item_ids),
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        valid_candidates=valid_candidates,
        test_candidates=test_candidates,
        removed=removed,
        fingerprint=_fingerprint(user_ids, item_ids, *parts, valid_candidates, test_candidates, *origins),
        features=known,
        changed=changed,
        user_features=people,
        config=config,
        target=target,
    )


def fold_validation(dataset: Dataset) -> Dataset:
    """The data set with its validation part in train, for a last run with all that was learnt from validation.

    The fingerprint stays: it is the same data.
    """
    stream = dataset.stream and dataset.stream._replace(rows=dataset.stream.folded)
    train = merge(dataset.train, dataset.valid, len(dataset.user_ids))
    empty = select(dataset.valid, np.zeros(len(dataset.valid.users), bool))
    return dataset._replace(train=train, valid=empty, valid_candidates=None, stream=stream)


def known_interactions(dataset: Dataset) -> Interactions:
    """What is known of each user when the test part is predicted: train and validation."""
    return merge(dataset.train, dataset.valid, len(dataset.user_ids))


def in_log_units(dataset: Dataset, part: Interactions) -> Interactions:
    """A part of the data set with the values that were read, whatever --target is."""
    if dataset.target.kind == "value":
        return part
    values = targets.restore(dataset.target, np.asarray(part.users), np.asarray(part.items), np.asarray(part.values))
    return part._replace(values=values.astype(np.float32))


def all_interactions(dataset: Dataset) -> Interactions:
    """All that is known of each user."""
    return merge(known_interactions(dataset), dataset.test, len(dataset.user_ids))


def cleaning(dataset: Dataset) -> dict[str, Any]:
    """What cleaning did: how many rows were read and kept, and how many each rule removed or changed."""
    rows = {name: len(getattr(dataset, name).users) for name in ("train", "valid", "test")}
    if dataset.stream is not None:
        rows["train"] = int(dataset.stream.rows.sum())
    kept, removed = sum(rows.values()), {rule.rule: rule.rows for rule in dataset.removed}
    changed = {rule.rule: rule.rows for rule in dataset.changed}
    return {"read": kept + sum(removed.values()), "kept": kept, "removed": removed, "changed": changed}


def ranked(dataset: Dataset, part: Interactions) -> np.ndarray | None:
    """The items that are ranked where `part` is held out: its own where parts hold whole items, None for all."""
    return np.unique(part.items) if dataset.split == "cold-items" else None


def find_user(dataset: Dataset, text: str) -> int | None:
    """The dense id of the user whose original id is written `text`; None if there is none."""
    return _find(dataset.user_ids, text)


def find_item(dataset: Dataset, text: str) -> int | None:
    """The dense id of the item whose original id is written `text`; None if there is none."""
    return _find(dataset.item_ids, text)


def _find(ids: np.ndarray, text: str) -> int | None:
    try:
        id = ids.dtype.type(text)  # integer ids are written as numbers
    except (ValueError, OverflowError):
        return None
    place = int(np.searchsorted(ids, id))
    return place if place < len(ids) and ids[place] == id else None


def _streamed(config: DataConfig, users: Sequence[str]) -> Dataset:
    """A log that is larger than memory."""
    found = scan(config, users)
    return Dataset(
        name=Path(config.dataset).name,
        split="time",
        user_ids=found.user_ids,
        item_ids=found.item_ids,
        titles=_titles(read_titles(config) if config.items_path else None, found.item_ids),
        train=found.parts.train,
        valid=found.parts.valid,
        test=found.parts.test,
        valid_candidates=None,
        test_candidates=None,
        removed=found.removed,
        fingerprint=found.fingerprint,
        stream=found.stream,
        changed=found.changed,
        config=config,
        target=targets.Target(config.target),
    )


def _own(frame: pd.DataFrame, split: str, config: DataConfig) -> Encoded:
    """A log split by our own rules, to be ranked against all items."""
    user_ids, item_ids = vocabulary(frame["user"]), vocabulary(frame["item"])
    log = _encode(frame, _order(frame), user_ids, item_ids)
    if split == "random":
        parts = splits.at_random(log, config.fractions, config.split_seed)
    elif split == "k-fold":
        parts = splits.k_fold(log, config.folds, config.fold, config.split_seed)
    elif split == "cold-items":
        parts = splits.cold_items(log, len(item_ids), config.fractions, config.split_seed)
    elif split == "time":
        parts = splits.by_time(log, config.fractions)
    else:
        parts = splits.leave_one_out(log)
    return user_ids, item_ids, parts, None, None


def _published(source: Source, frame: pd.DataFrame, seed: int) -> Encoded:
    """The published split, and the candidates if they are published too; `frame` is its training part, cleaned."""
    test, negatives = source.test, source.negatives
    assert test is not None
    user_ids = vocabulary(frame["user"], test["user"])
    item_ids = vocabulary(frame["item"], test["item"], *([] if negatives is None else [negatives.ravel()]))
    order = _order(pd.concat([frame, test]))
    test_order = order[len(frame) :]
    train = _encode(frame, order[: len(frame)], user_ids, item_ids)
    held_out = _encode(test, test_order, user_ids, item_ids)
    if negatives is None:
        return user_ids, item_ids, splits.Parts(*splits.published(train, seed), held_out), None, None
    train, valid, valid_candidates = splits.ncf(train, len(item_ids), seed)
    candidates = np.column_stack(
        [encode(negatives.ravel(), item_ids).reshape(negatives.shape), encode(test["item"], item_ids)]
    )
    by_user = np.lexsort((test_order, encode(test["user"], user_ids)))  # as Interactions are sorted
    return user_ids, item_ids, splits.Parts(train, valid, held_out), valid_candidates, candidates[by_user]


def _order(frame: pd.DataFrame) -> np.ndarray:
    """The place [R] of every row under a stable sort by time."""
    order = np.empty(len(frame), np.int32)
    order[np.argsort(frame["time"].to_numpy(), kind="stable")] = np.arange(len(frame))
    return order


def _encode(frame: pd.DataFrame, order: np.ndarray, user_ids: np.ndarray, item_ids: np.ndarray) -> Interactions:
    users, items = encode(frame["user"], user_ids), encode(frame["item"], item_ids)
    return build(users, items, frame["value"], order, len(user_ids))


def _titles(titles: pd.Series | None, item_ids: np.ndarray) -> list[str] | None:
    if titles is None:
        return None
    names = item_ids.astype(str)  # an item table may hold the same ids as numbers or as text
    return titles.str.strip().set_axis(titles.index.astype(str)).reindex(names).fillna(pd.Series(names, names)).tolist()


def _fingerprint(*fields) -> str:
    digest = hashlib.sha256()
    for field in fields:
        for array in field if isinstance(field, tuple) else (field,):
            if array is not None:
                digest.update(f"{array.dtype}{array.shape}".encode())
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
