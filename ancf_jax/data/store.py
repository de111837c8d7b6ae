"""A data set as one file, for a run whose data were never in a file of their own."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ancf_jax.data.clean import Changed, Removed
from ancf_jax.data.dataset import Dataset
from ancf_jax.data.features import Features
from ancf_jax.data.targets import Target
from ancf_jax.types import InputError, Interactions

PARTS = ("train", "valid", "test")
ARRAYS = ("user_ids", "item_ids", "valid_candidates", "test_candidates")
SIDES = ("features", "user_features")
VERSION = 2


def save_dataset(path: Path, dataset: Dataset) -> None:
    """Write a data set, but for how words become features, to an .npz file without pickle."""
    found: dict[str, Any] = {name: getattr(dataset, name) for name in ARRAYS}
    found |= {f"{part}.{name}": column for part in PARTS for name, column in getattr(dataset, part)._asdict().items()}
    found |= {f"target.{name}": part for name, part in dataset.target._asdict().items()}
    found["titles"] = None if dataset.titles is None else np.asarray(dataset.titles, str)
    about: dict[str, Any] = {"version": VERSION} | {
        name: getattr(dataset, name) for name in ("name", "split", "fingerprint")
    }
    for rule in ("removed", "changed"):
        about[rule] = [list(each) for each in getattr(dataset, rule)]
    for side in SIDES:
        if (features := getattr(dataset, side)) is not None:
            found[side] = features.vectors
            about[side] = {"missing": features.missing, "kinds": features.kinds}
    with path.open("wb") as file:
        np.savez_compressed(
            file, about=json.dumps(about), **{name: array for name, array in found.items() if array is not None}
        )


def load_dataset(path: Path) -> Dataset:
    """The data set that `save_dataset` wrote. Raises InputError if the file is of another version."""
    with np.load(path, allow_pickle=False) as stored:
        found = dict(stored)
    about = json.loads(found["about"].item())
    if about["version"] != VERSION:
        raise InputError(f"{path}: is of format {about['version']}, and this version reads {VERSION} alone")
    sides = {
        side: Features(found[side], about[side]["missing"], about[side]["kinds"], (), None)
        for side in SIDES
        if side in about
    }
    known: dict[str, Any] = {name: about[name] for name in ("name", "split", "fingerprint")}
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
