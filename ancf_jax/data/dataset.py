"""From a configuration to the arrays that everything else works on."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.config import SPLITS, DataConfig
from ancf_jax.data import splits
from ancf_jax.data.clean import Removed, clean
from ancf_jax.data.interactions import build, encode, merge, select, vocabulary
from ancf_jax.data.sources import Source, read, read_titles
from ancf_jax.data.stream import Stream, scan
from ancf_jax.types import InputError, Interactions

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
    stream: Stream | None = None  # with it, `train` only has the rows of users who are held out too, or were asked for


def load(config: DataConfig, users: Sequence[str] = ()) -> Dataset:
    """Read, clean, encode and split the data set that `config` names.

    The split is leave-one-out unless --split says otherwise, and ncf for ncf-ml-1m, whose published candidates are in
    the vocabulary although two of them occur in no training row. With --stream the training part stays where it is, but
    for the rows that evaluation needs, and those of `users`, given by their ids. Raises InputError for bad input.
    """
    if config.stream:
        return _streamed(config, users)
    source = read(config)
    published = source.test is not None
    split = config.split or ("ncf" if published else "leave-one-out")
    if split not in SPLITS:
        raise InputError(f"--split={split} must be one of {', '.join(SPLITS)}")
    if split == "ncf" and not published:
        raise InputError(f"--split=ncf needs the published files of --dataset=ncf-ml-1m, not {config.dataset}")
    if published and split != "ncf":
        source = source._replace(frame=pd.concat([source.frame, source.test], ignore_index=True))
    frame, removed = clean(
        source.frame, min_value=config.min_value, user_core=config.user_core, item_core=config.item_core
    )
    encoded = _published(source, frame, config.split_seed) if split == "ncf" else _own(frame, split, config)
    user_ids, item_ids, parts, valid_candidates, test_candidates = encoded
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
        fingerprint=_fingerprint(user_ids, item_ids, *parts, valid_candidates, test_candidates),
    )


def fold_validation(dataset: Dataset) -> Dataset:
    """The data set with its validation part in train, for a last run with all that was learnt from validation.

    The fingerprint stays: it is the same data.
    """
    stream = dataset.stream and dataset.stream._replace(rows=dataset.stream.folded)
    train = merge(dataset.train, dataset.valid, len(dataset.user_ids))
    empty = select(dataset.valid, np.zeros(len(dataset.valid.users), bool))
    return dataset._replace(train=train, valid=empty, valid_candidates=None, stream=stream)


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
    )


def _own(frame: pd.DataFrame, split: str, config: DataConfig) -> Encoded:
    """A log split by our own rules, to be ranked against all items."""
    user_ids, item_ids = vocabulary(frame["user"]), vocabulary(frame["item"])
    log = _encode(frame, _order(frame), user_ids, item_ids)
    if split == "random":
        parts = splits.at_random(log, config.fractions, config.split_seed)
    elif split == "time":
        parts = splits.by_time(log, config.fractions)
    else:
        parts = splits.leave_one_out(log)
    return user_ids, item_ids, parts, None, None


def _published(source: Source, frame: pd.DataFrame, seed: int) -> Encoded:
    """The published NCF split and candidates; `frame` is its training part, cleaned."""
    test, negatives = source.test, source.negatives
    assert test is not None and negatives is not None
    user_ids = vocabulary(frame["user"], test["user"])
    item_ids = vocabulary(frame["item"], test["item"], negatives.ravel())
    order = _order(pd.concat([frame, test]))
    train = _encode(frame, order[: len(frame)], user_ids, item_ids)
    train, valid, valid_candidates = splits.ncf(train, len(item_ids), seed)
    test_order = order[len(frame) :]
    candidates = np.column_stack(
        [encode(negatives.ravel(), item_ids).reshape(negatives.shape), encode(test["item"], item_ids)]
    )
    by_user = np.lexsort((test_order, encode(test["user"], user_ids)))  # as Interactions are sorted
    parts = splits.Parts(train, valid, _encode(test, test_order, user_ids, item_ids))
    return user_ids, item_ids, parts, valid_candidates, candidates[by_user]


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
