"""From a cleaned log to its encoded parts: by a split of our own, by the files of a split, or by a published one."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ancf_jax.data import splits
from ancf_jax.data.clean import Changed, Removed, Rules, basket_numbers
from ancf_jax.data.interactions import build, encode, vocabulary
from ancf_jax.data.read.tables import Source
from ancf_jax.settings import DataConfig
from ancf_jax.types import InputError, Interactions

BY_CHANCE = ("random", "k-fold", "cold-items")  # splits that take no notice of time


class Divided(NamedTuple):
    """The parts of a log, its vocabularies, and what dividing it did to rows."""

    user_ids: np.ndarray  # [U] original ids, sorted
    item_ids: np.ndarray  # [I]
    parts: splits.Parts
    times: np.ndarray  # [R] ascending: the time of every place in `order`
    valid_candidates: np.ndarray | None = None  # [rows of valid, K] int32, the positive last; None: rank all items
    test_candidates: np.ndarray | None = None  # [rows of test, K] int32
    removed: Sequence[Removed] = ()
    changed: Sequence[Changed] = ()
    inferred: Sequence[str] = ()  # sentences on what neither files nor flags stated


def divide(source: Source, split: str, config: DataConfig, rules: Rules) -> Divided:
    """Encode and split a log that `rules` have cleaned, to be ranked against all items or against --negatives_path.

    Unless repeats are kept, rows of one user and item become one, as `merge_repeats` says: after a split by time or by
    files, whose held-out rows are then new to their users; before a split by chance, which deals out pairs, each in the
    place of its latest row. Raises InputError for a log that cannot be split so.
    """
    frame = source.frame.iloc[_in_time(source.frame)]
    user_ids, item_ids = vocabulary(frame["user"]), vocabulary(frame["item"])
    log = _encode(frame, np.arange(len(frame)), user_ids, item_ids)
    merge, times = rules.repeats == "merge", frame["time"].to_numpy()
    inferred = _remarks(frame, rules)
    removed: list[Removed] = []
    changed: list[Changed] = []
    if merge and split in BY_CHANCE:
        (log,), times, removed, changed = _merge([log], times, rules.duplicates)
    train, valid, test = _split(log, frame, times, split, config, merge, len(item_ids))
    if split == "leave-last-basket-out" and (few := len(user_ids) - len(np.unique(test.users))):
        inferred.append(f"{few:,} of {len(user_ids):,} users have fewer than 3 baskets, and only train")
    if merge and split not in BY_CHANCE:
        (train, valid, test), times, removed, changed = _merge([train, valid, test], times, rules.duplicates)
    candidates, valid_candidates = None, None
    if config.negatives_path:
        candidates = _candidates(Path(config.negatives_path), test, user_ids, item_ids)
    if split == "files" and not config.valid_path:
        if candidates is None:
            train, valid = splits.published(train, config.split_seed)
            inferred.append("validation, of which there is no file, is a random tenth of each user's training rows")
        else:
            inferred.append(
                "validation, of which there is no file, is each user's last training row, among random items"
            )
            negatives = candidates.shape[1] - 1
            train, valid, valid_candidates = splits.ncf(train, len(item_ids), config.split_seed, negatives)
    parts = splits.Parts(train, valid, test)
    return Divided(user_ids, item_ids, parts, times, valid_candidates, candidates, removed, changed, inferred)


def divide_published(source: Source, config: DataConfig, rules: Rules) -> Divided:
    """Encode a published split, whose training part `rules` have cleaned, and whose test part stays as it is."""
    frame, test, negatives = source.frame, source.test, source.negatives
    assert test is not None
    user_ids = vocabulary(frame["user"], test["user"])
    item_ids = vocabulary(frame["item"], test["item"], *([] if negatives is None else [negatives.ravel()]))
    both = pd.concat([frame, test], ignore_index=True)
    rows = _in_time(both)
    order, times = np.empty(len(rows), np.int32), both["time"].to_numpy()[rows]
    order[rows] = np.arange(len(rows))
    train = _encode(frame, order[: len(frame)], user_ids, item_ids)
    held_out = _encode(test, order[len(frame) :], user_ids, item_ids)
    removed: list[Removed] = []
    changed: list[Changed] = []
    if rules.repeats == "merge":
        (train,), removed, changed = splits.merge_repeats([train], rules.duplicates)
        (train, held_out), times = _renumbered([train, held_out], times)
    if negatives is None:
        train, valid = splits.published(train, config.split_seed)
        parts = splits.Parts(train, valid, held_out)
        return Divided(user_ids, item_ids, parts, times, removed=removed, changed=changed)
    train, valid, valid_candidates = splits.ncf(train, len(item_ids), config.split_seed)
    candidates = np.column_stack(
        [encode(negatives.ravel(), item_ids).reshape(negatives.shape), encode(test["item"], item_ids)]
    )
    by_user = np.lexsort((order[len(frame) :], encode(test["user"], user_ids)))  # as Interactions are sorted
    parts = splits.Parts(train, valid, held_out)
    return Divided(user_ids, item_ids, parts, times, valid_candidates, candidates[by_user], removed, changed)


def _split(
    log: Interactions,
    frame: pd.DataFrame,
    times: np.ndarray,
    split: str,
    config: DataConfig,
    merge: bool,
    num_items: int,
) -> splits.Parts:
    """The parts of a log, whose `frame` and `times` are in the order of time."""
    fractions, seed = config.fractions, config.split_seed
    if split == "files":
        return splits.cut(log, frame["part"].to_numpy()[log.order], 1, 2)
    if split == "random":
        return splits.at_random(log, fractions, seed)
    if split == "k-fold":
        return splits.k_fold(log, config.folds, config.fold, seed)
    if split == "cold-items":
        return splits.cold_items(log, num_items, fractions, seed)
    if split == "time":
        return splits.by_time(log, times, fractions)
    if split == "leave-last-basket-out":
        return splits.leave_last_out(log, splits.changes(basket_numbers(frame)[log.order]))
    return splits.leave_last_out(log, splits.first_rows(log)) if merge else splits.leave_one_out(log)


def _remarks(frame: pd.DataFrame, rules: Rules) -> list[str]:
    """What is to be said of repeats and baskets."""
    found = []
    if rules.repeats == "keep":
        found.append("repeats are kept: what a user has may be recommended, and is tested, again")
    if "basket" in frame:
        owners = frame.groupby("basket")["user"].nunique()
        if (owners > 1).any():
            found.append(
                f"{int((owners > 1).sum()):,} ids of baskets are of several users: each has a basket of that id"
            )
    return found


def _in_time(frame: pd.DataFrame) -> np.ndarray:
    """The rows [R] in the order of time; at equal times in that of the file, but for baskets, which stay together."""
    time = frame["time"].to_numpy()
    if "basket" not in frame:
        return np.argsort(time, kind="stable")
    return np.lexsort((basket_numbers(frame), time))  # numbered in the order of the file


def _encode(frame: pd.DataFrame, order: np.ndarray, user_ids: np.ndarray, item_ids: np.ndarray) -> Interactions:
    users, items = encode(frame["user"], user_ids), encode(frame["item"], item_ids)
    return build(users, items, frame["value"], order, len(user_ids))


def _merge(
    parts: Sequence[Interactions], times: np.ndarray, how: str
) -> tuple[list[Interactions], np.ndarray, list[Removed], list[Changed]]:
    """The parts without repeats, the times of the places left, and what was removed and changed."""
    merged, removed, changed = splits.merge_repeats(parts, how)
    return *_renumbered(merged, times), removed, changed


def _renumbered(parts: Sequence[Interactions], times: np.ndarray) -> tuple[list[Interactions], np.ndarray]:
    """Parts whose places in the order of time are 0, 1, ... again, and the times of these places."""
    places = np.sort(np.concatenate([part.order for part in parts]))
    order = [np.searchsorted(places, part.order).astype(np.int32) for part in parts]
    return [part._replace(order=new) for part, new in zip(parts, order, strict=True)], times[places]


def _candidates(path: Path, test: Interactions, user_ids: np.ndarray, item_ids: np.ndarray) -> np.ndarray:
    """The items [rows of test, K + 1] that each test row is ranked among, its own last, as a file names them.

    Raises InputError for an item that the log has not, a test row without a line, and one with two.
    """
    numbers, pairs, listed = _read_negatives(path)
    users, items = (pd.Index(ids).astype(str) for ids in (user_ids, item_ids))
    others = items.get_indexer(listed.ravel()).reshape(listed.shape)
    strange = np.argwhere(others < 0)
    if len(strange):
        line, column = strange[0]
        raise InputError(f"{path}: line {numbers[line]}: item '{listed[line, column]}' is in no row of the log")
    found = pd.MultiIndex.from_arrays([users.get_indexer(pairs[:, 0]), items.get_indexer(pairs[:, 1])])
    wanted = pd.MultiIndex.from_arrays([np.asarray(test.users), np.asarray(test.items)])
    twice = np.flatnonzero(found.duplicated() & found.isin(wanted))
    if len(twice):
        line = twice[0]
        raise InputError(f"{path}: line {numbers[line]}: ({','.join(pairs[line])}) has a line before")
    once = np.flatnonzero(~found.duplicated())
    rows = found[once].get_indexer(wanted)
    if (rows < 0).any():
        row = int(np.argmax(rows < 0))
        pair = f"({user_ids[test.users[row]]},{item_ids[test.items[row]]})"
        raise InputError(f"{path}: no line begins with {pair}, which is a test row")
    return np.column_stack([others[once[rows]], test.items]).astype(np.int32)


def _read_negatives(path: Path) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The numbers of the lines `(USER,ITEM)` and items, between tabs; the pairs [n, 2] and the items [n, K], as text.

    Raises InputError that names the line which is none, or has more or fewer items than the first.
    """
    if not path.is_file():
        raise InputError(f"--negatives_path={path}: no such file")
    raw = path.read_bytes()
    try:
        text = unicodedata.normalize("NFC", raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}: line {line}: a byte that is no UTF-8") from error
    numbers: list[int] = []
    pairs: list[tuple[str, ...]] = []
    listed: list[list[str]] = []
    for number, words in enumerate(text.split("\n"), 1):
        if not words.strip():
            continue
        pair, *items = (cell.strip() for cell in words.rstrip("\r").split("\t"))
        found = re.fullmatch(r"\(\s*([^,]+?)\s*,\s*([^,]+?)\s*\)", pair)
        if not found or not items or not all(items):
            shown = words.strip()[:60]
            raise InputError(f"{path}: line {number}: '{shown}'; legal are (USER,ITEM) and items, between tabs")
        if listed and len(items) != len(listed[0]):
            raise InputError(
                f"{path}: line {number}: {len(items)} items, where line {numbers[0]} has {len(listed[0])}; every test "
                "row is ranked among as many"
            )
        numbers.append(number)
        pairs.append(found.groups())
        listed.append(items)
    if not listed:
        raise InputError(f"--negatives_path={path}: the file is empty")
    return numbers, np.array(pairs, object), np.array(listed, object)
