"""What a run's folder is like before every file event, which is what a kill there would leave; and what it ends as."""

import hashlib
import json
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

EVENTS = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir")
TIMES = (
    "seconds",
    "training_seconds",
    "training seconds",
    "seconds_per_epoch",
    "this_process_seconds",
    "command",
    "sha256",
    "data_dir",
)
active: dict[str, Any] = {}  # what the audit hook, which stays for good, is to do


@contextmanager
def shots_of(folder: Path, shots: Path) -> Iterator[list[Path]]:
    """Yields copies of a folder, as it is before every file event in it; equal ones once."""
    found: list[Path] = []
    seen: set[str] = set()
    lock = threading.RLock()

    def take() -> None:
        with lock:
            copy = shots / f"{len(found):04}"
            shutil.rmtree(copy, ignore_errors=True)
            try:
                shutil.copytree(folder, copy)
            except (OSError, shutil.Error):  # another thread changed it as it was copied: no moment of its own
                return
            if (state := _state(copy)) not in seen:
                seen.add(state)
                found.append(copy)

    if not active:
        sys.addaudithook(_hook)
    active.update(folder=str(folder.resolve()), take=take, busy=threading.local())
    try:
        yield found
    finally:
        active["folder"] = None
    shutil.rmtree(shots / f"{len(found):04}", ignore_errors=True)


def left_of(folder: Path) -> dict[str, Any]:
    """What a run has come to, but for times: its files, and its best parameters to the bit."""
    found: dict[str, Any] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = str(path.relative_to(folder))
        if path.suffix == ".jsonl":
            found[name] = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.name == "step.json":
            content = json.loads(path.read_text())
            found[name] = content["value"], content["best"], [*map(_timeless, content["about"]["records"])]
        elif path.suffix == ".json":
            found[name] = _timeless(json.loads(path.read_text()))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found[name] = {key: arrays[key].tobytes() for key in arrays}
    for step in folder.rglob("checkpoints/*/params"):
        found[str(step.relative_to(folder))] = _parameters(step.parent)
    return found


def _parameters(step: Path) -> list[Any]:
    import jax
    from orbax.checkpoint import v1 as ocp

    here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])  # wherever it was trained

    def wanted(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here)

    stored = ocp.checkpointables_metadata(step.resolve()).metadata
    trees = {part: getattr(tree, "metadata", tree) for part, tree in stored.items() if part in ("params", "trained")}
    loaded = ocp.load_checkpointables(step.resolve(), jax.tree.map(wanted, trees))
    return [(np.asarray(leaf).dtype.str, np.asarray(leaf).tobytes()) for leaf in jax.tree.leaves(dict(loaded))]


def _timeless(value: Any) -> Any:
    """The value without what the clock decides."""
    if isinstance(value, list):
        return [_timeless(part) for part in value]
    if isinstance(value, dict):
        return {name: _timeless(part) for name, part in value.items() if name not in TIMES}
    return value


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    folder = active.get("folder")
    if folder is None or event not in EVENTS or getattr(active["busy"], "now", False):
        return
    if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
        return
    if any(isinstance(each, str | Path) and str(each).startswith(folder) for each in arguments[:2]):
        active["busy"].now = True
        try:
            active["take"]()
        finally:
            active["busy"].now = False


def _state(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode() + b"\0")
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()
