"""The folder of a run: claimed before it is trained, emptied where it holds another, or written all at once."""

import shutil
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from absl import logging

from ancf_jax.data.dataset import Dataset, cleaning
from ancf_jax.data.store import save_dataset
from ancf_jax.devices.sharding import is_first
from ancf_jax.files import locked, sealed
from ancf_jax.runs.run import STORED, WHOLE, Run, as_kept, claim, from_workdir
from ancf_jax.training import checkpoint
from ancf_jax.training.loop import TrainState
from ancf_jax.training.steps import steps_in
from ancf_jax.types import InputError, Params


def begin(folder: Path, run: Run, dataset: Dataset) -> None:
    """Write config.json, cleaning.json, and the data, so that the run is used without its log.

    Not those of a log that is larger than memory; and a run trained again has those of the run around it. Raises
    InputError as `claim`.
    """
    claim(folder, run, dataset.fingerprint)
    checkpoint.write_json(folder / "cleaning.json", cleaning(dataset))
    if is_first() and dataset.stream is None and folder.name != WHOLE:
        save_dataset(folder / STORED, dataset)


def emptied(folder: Path, until: int) -> Path:
    """The folder of a run trained again, without what is there of another number of epochs, or damaged."""
    try:
        if not folder.exists() or from_workdir(folder)[0].train.until == until:
            return folder
    except InputError as error:
        logging.warning("%s; it is trained again", error)
    shutil.rmtree(folder)
    return folder


def keep(folder: Path, run: Run, dataset: Dataset, params: Params, result: dict[str, Any]) -> None:
    """Write a run that was trained in memory, to be used but not to be resumed: its best parameters are all there is.

    Raises InputError if another run is in the folder.
    """
    with locked(folder):
        begin(folder, run, dataset)
        if not steps_in(folder):
            state = TrainState(jnp.int32(result["best_epoch"]), params, ())
            checkpoint.save(folder, state, 0.0, run=as_kept(run, dataset.fingerprint))
        checkpoint.write_json(folder / "result.json", sealed(result))
