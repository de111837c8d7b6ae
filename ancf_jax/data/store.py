"""A data set as one file, by which a run is used where its log has changed or gone, or never was in a file.

Of each part the file holds what the others follow from: items, values, order, and how many rows a user has. On
MovieLens-1M that is 4 MB.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from ancf_jax.data.clean import Changed, Removed
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.features import Categories, Features, Words
from ancf_jax.data.interactions import build
from ancf_jax.data.targets import Target
from ancf_jax.files import replace
from ancf_jax.types import InputError, Interactions, Matrix

PARTS = ("train", "valid", "test")
IDS = ("user_ids", "item_ids")
ARRAYS = (*IDS, "valid_candidates", "test_candidates", "times")
SIDES = ("features", "user_features")
SPARSE = ("data", "indices", "indptr")
COLUMNS = ("items", "values", "order", "offsets")  # of a part
VERSION = 3


def packed(ids: np.ndarray) -> np.ndarray:
    """Ids as an array that needs no pickle: int64 as they are, texts as the bytes of a JSON list."""
    return np.frombuffer(json.dumps(ids.tolist()).encode(), np.uint8) if ids.dtype == object else ids


def unpacked(ids: np.ndarray) -> np.ndarray:
    """What `packed` packed."""
    return np.array(json.loads(ids.tobytes()), object) if ids.dtype == np.uint8 else ids


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises InputError naming it if absent or damaged: each has a checksum."""
    with _whole(path), np.load(path, allow_pickle=False) as stored:
        return dict(stored)


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turns whatever is found wrong with a file into an InputError: what it holds decides what NumPy and JSON say."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train a model there first") from None
    except Exception as error:
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def save_dataset(path: Path, dataset: Dataset) -> None:
    """Write a data set that is in memory to an .npz file without pickle. Atomic."""
    found: dict[str, Any] = {name: getattr(dataset, name) for name in ARRAYS}
    for part in PARTS:
        found |= {f"{part}.{name}": getattr(getattr(dataset, part), name) for name in COLUMNS}
    found |= {name: packed(found[name]) for name in IDS}
    found |= {f"target.{name}": part for name, part in dataset.target._asdict().items()}
    found["titles"] = None if dataset.titles is None else packed(np.array(dataset.titles, object))
    about: dict[str, Any] = {"version": VERSION} | {
        name: getattr(dataset, name) for name in ("name", "split", "fingerprint", "repeats")
    }
    for rule in ("removed", "changed"):
        about[rule] = [list(each) for each in getattr(dataset, rule)]
    for side in SIDES:
        if (features := getattr(dataset, side)) is not None:
            found |= _pieces(side, features.vectors)
            about[side] = {"shape": features.vectors.shape, "missing": features.missing, "kinds": features.kinds}
            if features.words is not None:
                about[side]["terms"], found[f"{side}.idf"] = features.words.terms.tolist(), features.words.idf
    if dataset.categories is not None:
        found |= _pieces("categories", dataset.categories.of)
        about["categories"] = dataset.categories.names
    kept = {name: array for name, array in found.items() if array is not None}
    replace(path, lambda file: np.savez_compressed(file, about=json.dumps(about), **kept))


def load_dataset(path: Path) -> Dataset:
    """The data set that `save_dataset` wrote. Raises InputError if the file is damaged or of another version."""
    with _whole(path):
        return _dataset_of(path, read_arrays(path))


def _dataset_of(path: Path, found: dict[str, Any]) -> Dataset:
    found |= {name: unpacked(found[name]) for name in (*IDS, "titles") if name in found}
    about = json.loads(found["about"].item())
    if about["version"] != VERSION:
        raise InputError(f"{path}: is of format {about['version']}, and this version reads {VERSION} alone")
    known: dict[str, Any] = {name: about[name] for name in ("name", "split", "fingerprint", "repeats")}
    known |= {name: found.get(name) for name in ARRAYS} | {part: _part(found, part) for part in PARTS}
    items = len(found["item_ids"])
    return Dataset(
        **known,
        features=_features(about, found, "features"),
        user_features=_features(about, found, "user_features"),
        target=Target(*(found[f"target.{name}"][()] for name in Target._fields)),
        titles=found["titles"].tolist() if "titles" in found else None,
        removed=[Removed(*each) for each in about["removed"]],
        changed=[Changed(*each) for each in about["changed"]],
        categories=Categories(names, _matrix(found, "categories", (items, len(names))))
        if (names := about.get("categories")) is not None
        else None,
    )


def _part(found: dict[str, np.ndarray], name: str) -> Interactions:
    items, values, order, offsets = (found[f"{name}.{column}"] for column in COLUMNS)
    users = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
    return build(users, items, values, order, len(offsets) - 1)


def _features(known: dict[str, Any], found: dict[str, np.ndarray], side: str) -> Features | None:
    if (about := known.get(side)) is None:
        return None
    words = Words(np.array(about["terms"], object), found[f"{side}.idf"]) if "terms" in about else None
    return Features(_matrix(found, side, tuple(about["shape"])), about["missing"], about["kinds"], (), words)


def _pieces(name: str, matrix: Matrix) -> dict[str, np.ndarray]:
    sparse = scipy.sparse.csr_array(matrix)
    return {f"{name}.{part}": getattr(sparse, part) for part in SPARSE}


def _matrix(found: dict[str, np.ndarray], name: str, shape: tuple[int, int]) -> scipy.sparse.csr_matrix:
    return scipy.sparse.csr_matrix(tuple(found[f"{name}.{part}"] for part in SPARSE), shape=shape)
