"""A data set as one file, for a run whose data were never in a file of their own."""

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from ancf_jax.data.clean import Changed, Removed
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.features import Features
from ancf_jax.data.targets import Target
from ancf_jax.files import replace
from ancf_jax.types import InputError, Interactions

PARTS = ("train", "valid", "test")
IDS = ("user_ids", "item_ids")
ARRAYS = (*IDS, "valid_candidates", "test_candidates", "times")
SIDES = ("features", "user_features")
SPARSE = ("data", "indices", "indptr")
VERSION = 2


def packed(ids: np.ndarray) -> np.ndarray:
    """Ids as an array that needs no pickle: int64 as they are, texts as the bytes of a JSON list."""
    return np.frombuffer(json.dumps(ids.tolist()).encode(), np.uint8) if ids.dtype == object else ids


def unpacked(ids: np.ndarray) -> np.ndarray:
    """What `packed` packed."""
    return np.array(json.loads(ids.tobytes()), object) if ids.dtype == np.uint8 else ids


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name. Raises InputError naming it if absent or damaged: each has a checksum."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return dict(stored)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train a model there first") from None
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged: {error}") from None


def save_dataset(path: Path, dataset: Dataset) -> None:
    """Write a data set, but for how words become features, to an .npz file without pickle."""
    found: dict[str, Any] = {name: getattr(dataset, name) for name in ARRAYS}
    found |= {f"{part}.{name}": column for part in PARTS for name, column in getattr(dataset, part)._asdict().items()}
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
            sparse = scipy.sparse.csr_array(features.vectors)
            found |= {f"{side}.{name}": getattr(sparse, name) for name in SPARSE}
            about[side] = {"shape": sparse.shape, "missing": features.missing, "kinds": features.kinds}
    kept = {name: array for name, array in found.items() if array is not None}
    replace(path, lambda file: np.savez_compressed(file, about=json.dumps(about), **kept))


def load_dataset(path: Path) -> Dataset:
    """The data set that `save_dataset` wrote. Raises InputError if the file is damaged or of another version."""
    found: dict[str, Any] = read_arrays(path)
    found |= {name: unpacked(found[name]) for name in (*IDS, "titles") if name in found}
    about = json.loads(found["about"].item())
    if about["version"] != VERSION:
        raise InputError(f"{path}: is of format {about['version']}, and this version reads {VERSION} alone")
    sides = {
        side: _features(about[side], *(found[f"{side}.{name}"] for name in SPARSE)) for side in SIDES if side in about
    }
    known: dict[str, Any] = {name: about[name] for name in ("name", "split", "fingerprint", "repeats")}
    known |= {name: found.get(name) for name in ARRAYS}
    known |= {part: Interactions(*(found[f"{part}.{name}"] for name in Interactions._fields)) for part in PARTS}
    return Dataset(
        **known,
        **sides,  # type: ignore[arg-type]
        target=Target(*(found[f"target.{name}"][()] for name in Target._fields)),
        titles=found["titles"].tolist() if "titles" in found else None,
        removed=[Removed(*each) for each in about["removed"]],
        changed=[Changed(*each) for each in about["changed"]],
    )


def _features(about: dict[str, Any], *parts: np.ndarray) -> Features:
    vectors = scipy.sparse.csr_matrix(parts, shape=tuple(about["shape"]))
    return Features(vectors, about["missing"], about["kinds"], (), None)
