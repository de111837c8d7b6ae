"""From a configuration to the arrays that everything else works on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.config import AUTO
from ancf_jax.data import splits, targets
from ancf_jax.data.clean import Changed, Removed, Rules, clean, rules_of, time_baskets
from ancf_jax.data.features import Categories, Features, item_categories, item_features, user_features
from ancf_jax.data.interactions import merge, select
from ancf_jax.data.parts import divide, divide_published
from ancf_jax.data.read.sources import read, read_titles
from ancf_jax.data.read.stream import Stream, scan
from ancf_jax.data.read.tables import Source
from ancf_jax.settings import SPLITS, DataConfig
from ancf_jax.types import InputError, Interactions

PUBLISHED = {"ncf": "ncf-ml-1m", "published": "gowalla, yelp2018 or amazon-book"}  # split -> whose it is
BLOCK = 2**26  # bytes that are digested at once


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
    inferred: Sequence[str] = ()  # sentences on what neither files nor flags stated
    repeats: bool = False  # whether what a user has may be recommended, and is tested, again
    times: np.ndarray | None = None  # [R] ascending: the time of every place in `order`; None without times
    target: targets.Target = targets.Target("value")  # what the values of the parts are
    categories: Categories | None = None  # of the items, by which lists may be limited


class Cleaned(NamedTuple):
    """A data set after cleaning, before it is encoded and split."""

    source: Source  # its frame has the rows kept; without a test part unless that is the one to be used
    split: str
    rules: Rules  # what it was cleaned by
    removed: list[Removed]
    changed: list[Changed]


def load(config: DataConfig, users: Sequence[str] = (), features: bool = False) -> Dataset:
    """Read, clean, encode and split the data set that `config` names.

    The split is leave-one-out unless --split says otherwise, leave-last-basket-out with baskets, ncf for ncf-ml-1m,
    whose published candidates are in the vocabulary although two of them occur in no training row, published for data
    sets with a published test part alone, and "files" where these hold the parts. With --stream the training part
    stays where it is, but for the rows that evaluation needs, and those of `users`, given by their ids. With
    `features`, items and users have what the data set or flags say of them, and the fingerprint covers it. Raises
    InputError for bad input.
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
    if source.test is None and "basket" in source.frame:
        own = "leave-last-basket-out"
    if "part" in source.frame:
        own = "files"
    split = own if config.split == AUTO else config.split
    if split not in (*SPLITS, own):
        raise InputError(f"--split={split} must be one of {', '.join(SPLITS)}")
    if split in PUBLISHED and split != own:
        raise InputError(
            f"--split={split} needs the published files of --dataset={PUBLISHED[split]}, not {config.dataset}"
        )
    if source.test is not None and split != own:
        source = source._replace(frame=pd.concat([source.frame, source.test], ignore_index=True), test=None)
    rules = rules_of(config, source.rules)
    frame, removed, changed = clean(source.frame, rules)
    if "basket" in frame:
        frame, _, moved = time_baskets(frame)
        changed = changed + moved if source.timed else changed
    source = source._replace(frame=frame)
    return Cleaned(source, split, rules, [*source.removed, *removed], [*source.changed, *changed])


def divided(log: Cleaned, config: DataConfig, features: bool = False) -> Dataset:
    """A cleaned data set, encoded and split, as `load` returns it. Raises InputError for bad input."""
    source, split, rules, removed, changed = log
    found = divide_published(source, config, rules) if split in PUBLISHED else divide(source, split, config, rules)
    user_ids, item_ids, parts = found.user_ids, found.item_ids, found.parts
    target = targets.fit(config.target, parts.train, len(item_ids))
    parts = splits.Parts(*(targets.apply(target, part) for part in parts))
    known = item_features(config, source.items, item_ids) if features else None
    people = user_features(config, source.users, user_ids) if features else None
    origins = [origin for side in (known, people) if side for origin in side.origins]
    candidates = (found.valid_candidates, found.test_candidates)
    return Dataset(
        name=source.name,
        split=split,
        user_ids=user_ids,
        item_ids=item_ids,
        titles=_titles(source.titles, item_ids),
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        valid_candidates=found.valid_candidates,
        test_candidates=found.test_candidates,
        removed=[*removed, *found.removed],
        fingerprint=_fingerprint(user_ids, item_ids, *parts, *candidates, *origins),
        features=known,
        changed=[*changed, *found.changed],
        user_features=people,
        config=config,
        inferred=(*source.inferred, *found.inferred),
        repeats=rules.repeats == "keep",
        times=found.times if source.timed else None,
        target=target,
        categories=item_categories(config, source.items, item_ids),
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
    id: str | int = text
    if ids.dtype.kind == "i":
        try:
            id = int(np.int64(text))
        except (ValueError, OverflowError):
            return None
        if str(id) != text:  # 007 is not 7
            return None
    place = int(np.searchsorted(ids, id))
    return place if place < len(ids) and ids[place] == id else None


def _streamed(config: DataConfig, users: Sequence[str]) -> Dataset:
    """A log that is larger than memory."""
    found = scan(config, users)
    repeats, parts, bought_before = config.repeats == "keep", found.parts, []
    if not repeats:
        (_, *held_out), _, _ = splits.merge_repeats(parts, "latest")
        again = sum(len(part.users) for part in parts[1:]) - sum(len(part.users) for part in held_out)
        parts = splits.Parts(parts.train, *held_out)
        bought_before = [Removed("held out, but user and item of an earlier part", again)] if again else []
    return Dataset(
        name=Path(config.dataset).name,
        split="time",
        user_ids=found.user_ids,
        item_ids=found.item_ids,
        titles=_titles(read_titles(config) if config.items_path else None, found.item_ids),
        train=parts.train,
        valid=parts.valid,
        test=parts.test,
        valid_candidates=None,
        test_candidates=None,
        removed=[*found.removed, *bought_before],
        fingerprint=found.fingerprint,
        stream=found.stream,
        changed=found.changed,
        config=config,
        inferred=found.inferred,
        repeats=repeats,
        target=targets.Target(config.target),
    )


def _titles(titles: pd.Series | None, item_ids: np.ndarray) -> list[str] | None:
    if titles is None:
        return None
    names = pd.Index(item_ids).astype("str")  # an item table may hold the same ids as numbers or as text
    found = titles.str.strip().set_axis(titles.index.astype("str")).reindex(names)
    return found.fillna(pd.Series(names, names)).tolist()


def _fingerprint(*fields) -> str:
    digest = hashlib.sha256()
    for field in fields:
        for array in field if isinstance(field, tuple) else (field,):
            if array is None:
                continue
            width = max(map(len, array.tolist()), default=1) or 1 if array.dtype == object else 0
            dtype = np.dtype(f"<U{width}") if width else array.dtype
            digest.update(f"{dtype}{array.shape}".encode())
            step = max(BLOCK // max(dtype.itemsize, 1), 1)  # strings of one width, as NumPy has them, but not at once
            for start in range(0, len(array), step):
                digest.update(np.ascontiguousarray(array[start : start + step], dtype).tobytes())
    return digest.hexdigest()[:16]
