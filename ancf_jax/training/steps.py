"""The steps of a run's checkpoints: each a folder that is whole or not there, every file of it with a checksum.

checkpoints/N holds what Orbax writes of the state after epoch N, and step.json: the value by which the best is picked,
what else is to be known of the step, and the sha256 of every other file. A folder is given its name once all of that is
written, and loses it before anything is deleted. So a process may be killed at any time, and others may read meanwhile.
"""

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from ancf_jax import files
from ancf_jax.devices.sharding import is_first
from ancf_jax.types import InputError

FILE = "step.json"
FOLDER = "checkpoints"
FORMAT = 1  # of step.json
T = TypeVar("T")


class Step(NamedTuple):
    """A step as it lies there."""

    number: int
    folder: Path
    value: float = -math.inf  # the greatest is the best
    best: int = -1  # the best step as this one was written
    about: Mapping[str, Any] = MappingProxyType({})  # what is kept with the state
    sums: Mapping[str, str] = MappingProxyType({})  # file -> sha256; empty before there was step.json
    damage: str = ""  # what is wrong with step.json


def steps_in(workdir: Path) -> list[Step]:
    """The steps in their order, without a look at what Orbax wrote.

    Raises InputError for one that a later version wrote.
    """
    folder = workdir / FOLDER
    while True:
        numbers = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal() and path.is_dir())
        steps = [_read(folder / str(number)) for number in numbers]
        if all(step.folder.is_dir() for step in steps):  # none was deleted meanwhile
            return steps


def best_first(steps: list[Step]) -> list[Step]:
    """The steps by their value, the earlier of equals first."""
    return sorted(steps, key=lambda step: (-step.value, step.number))


def is_whole(step: Step) -> bool:
    """Whether every file of a step is as it was written; if not, it is said what is wrong."""
    damage = step.damage
    for name, checksum in step.sums.items():
        try:
            if files.checksum_of(step.folder / name) != checksum:
                damage = f"{step.folder / name} is damaged"
        except OSError as error:
            damage = f"{step.folder / name} cannot be read: {error.strerror}"
    if damage and step.folder.is_dir():  # else it was deleted by a running training
        logging.warning("%s; this checkpoint is passed over", damage)
    return not damage


def read(workdir: Path, pick: Callable[[list[Step]], Step | None], load: Callable[[Step], T]) -> T | None:
    """What `load` makes of the step that `pick` takes; None where it takes none.

    A step that a running training deletes meanwhile is looked for again. Of several processes the first one picks.
    """
    while True:
        number = _pick(workdir, pick) if is_first() else -1
        number = int(multihost_utils.broadcast_one_to_all(np.int32(number)))
        if number < 0:
            return None
        step = _read(workdir / FOLDER / str(number))
        try:
            return load(step)
        except (InputError, OSError, ValueError, KeyError) as error:
            if not step.folder.is_dir():  # whatever was made of half of it
                continue
            if isinstance(error, InputError):
                raise
            raise InputError(f"{step.folder} cannot be read: {error}") from error


def _pick(workdir: Path, pick: Callable[[list[Step]], Step | None]) -> int:
    while True:
        steps = steps_in(workdir)
        found = pick(steps)
        if found is not None:
            return found.number
        if all(step.folder.is_dir() for step in steps):
            return -1


def write(workdir: Path, number: int, parts: dict[str, Any], value: float, about: Mapping[str, Any]) -> None:
    """Save the parts as the latest step, and delete those that are neither that nor the best up to it.

    If that fails, nothing older is lost. All processes call this, of which the first one names and deletes.
    """
    folder = (workdir / FOLDER).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    partial, named = folder / f".{number}", folder / str(number)
    try:
        ocp.save_checkpointables(partial, parts, overwrite=True)
        if is_first():
            remove(named)  # one that is damaged
            before = [step for step in steps_in(workdir) if step.number < number and not step.damage]
            chosen = best_first([*before, Step(number, named, value)])[0].number
            written = sorted(path for path in partial.rglob("*") if path.is_file())
            sums = {str(path.relative_to(partial)): files.checksum_of(path) for path in written}
            content = {"format": FORMAT, "value": value, "best": chosen, "about": about, "files": sums}
            files.replace(partial / FILE, lambda file: file.write(files.json_text(files.sealed(content)).encode()))
            partial.rename(named)
            for step in steps_in(workdir):
                if step.number not in (number, chosen):
                    remove(step.folder)
    except BaseException:
        clear(workdir)
        raise
    multihost_utils.sync_global_devices(f"step {number}")


def remove(folder: Path) -> None:
    """Delete a step: from the first moment on it is no step."""
    if folder.is_dir():
        shutil.rmtree(folder.rename(folder.with_name(f".{folder.name}.old")))


def clear(workdir: Path) -> None:
    """Delete what an interrupted process left: what is no step, and steps before the latest that it was to delete.

    For the one process that writes there.
    """
    if not is_first():
        return
    for path in (workdir / FOLDER).glob("*"):
        if not path.name.isdecimal() and path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
    *before, latest = steps_in(workdir) or [Step(-1, workdir)]
    for step in before if latest.sums else ():
        if step.number != latest.best:
            remove(step.folder)


def _read(folder: Path) -> Step:
    path, before = folder / FILE, folder / "metrics" / "metrics"
    step = Step(int(folder.name), folder)
    try:
        if before.exists() and not path.exists():  # as Orbax kept them before there was step.json
            return step._replace(value=files.read_json(before, value=float)["value"])
        content = files.read_json(path, format=int, best=int, about=dict, files=dict)
    except InputError as error:
        return step._replace(damage=str(error))
    if content["format"] > FORMAT:
        raise InputError(f"{path} is of format {content['format']}, and this version reads up to {FORMAT}")
    value = -math.inf if content["value"] is None else content["value"]
    return step._replace(value=value, best=content["best"], about=content["about"], sums=content["files"])
