"""Checkpoints with Orbax: the latest state to resume from, the best parameters to use, and the JSON files beside them.

A workdir holds config.json, metrics.jsonl (a line an epoch), checkpoints/ and result.json. Every write is atomic.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from ancf_jax.train import TrainState
from ancf_jax.types import InputError, Params


@contextmanager
def checkpoints(workdir: Path) -> Iterator[ocp.training.Checkpointer]:
    """The checkpoints of a workdir: the latest and the best are kept. Leaving the context waits for pending writes."""
    keep = ocp.training.preservation_policies
    best = keep.BestN(get_metric_fn=lambda m: (m["value"], -m["epoch"]), n=1)  # the earliest of equals
    policy = keep.AnyPreservationPolicy([keep.LatestN(1), best])
    every = ocp.training.save_decision_policies.FixedIntervalPolicy(1)
    folder = (workdir / "checkpoints").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ocp.training.Checkpointer(
        folder, save_decision_policy=every, preservation_policy=policy, cleanup_tmp_directories=True
    ) as opened:
        yield opened


def save(opened: ocp.training.Checkpointer, state: TrainState, value: float) -> None:
    """Write the state after an epoch; `value` is what the best is picked by. On failure nothing older is lost."""
    trained = {"epoch": state.epoch, "opt_state": state.opt_state}
    metrics = {"value": float(value), "epoch": int(state.epoch)}
    opened.save_checkpointables(int(state.epoch), {"params": state.params, "trained": trained}, metrics=metrics)


def load_latest(opened: ocp.training.Checkpointer, state: TrainState) -> TrainState | None:
    """The latest state, with the structure of `state`; None if nothing was saved. Raises InputError on a mismatch."""
    if opened.latest is None:
        return None
    trained = {"epoch": state.epoch, "opt_state": state.opt_state}
    abstract = jax.tree.map(abstract_array, {"params": state.params, "trained": trained})
    loaded = _load(opened, opened.latest.step, abstract)
    # Restored arrays may refuse donation; passing them through jit once makes them ordinary.
    return jax.jit(lambda s: s)(
        TrainState(loaded["trained"]["epoch"], loaded["params"], loaded["trained"]["opt_state"])
    )


def load_best(workdir: Path, params: Params) -> tuple[int, Params]:
    """The best epoch of a workdir and its parameters, with the structure of `params` (arrays or their shapes)."""
    if not (workdir / "checkpoints").is_dir():
        raise InputError(f"--workdir: {workdir} holds no checkpoints; train a model there first")
    with checkpoints(workdir) as opened:
        if opened.latest is None:
            raise InputError(f"--workdir: {workdir} holds no finished checkpoint; train a model there first")
        best = max(opened.checkpoints, key=lambda kept: (kept.metrics["value"], -kept.step))
        return best.step, _load(opened, best.step, {"params": jax.tree.map(abstract_array, params)})["params"]


def warm_start(params: Params, workdirs: list[Path]) -> Params:
    """`params` with every leaf replaced that a workdir's best checkpoint holds under the same path and shape.

    What several workdirs hold is averaged. Raises InputError where a workdir has nothing that fits.
    """
    leaves, structure = jax.tree_util.tree_flatten_with_path(params)
    found: dict[str, list[np.ndarray]] = {}
    for workdir in workdirs:
        with checkpoints(workdir) as opened:
            if opened.latest is None:
                raise InputError(f"--warm_start: {workdir} holds no finished checkpoint")
            best = max(opened.checkpoints, key=lambda kept: (kept.metrics["value"], -kept.step))
            stored = opened.load_checkpointables(best.step, {"params": None})["params"]
        matching = {
            jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(stored)
        }
        fitting = {
            name: matching[name]
            for path, leaf in leaves
            if (name := jax.tree_util.keystr(path)) in matching and matching[name].shape == leaf.shape
        }
        if not fitting:
            raise InputError(f"--warm_start: no parameter of {workdir} has the name and shape of one of this model's")
        for name, value in fitting.items():
            found.setdefault(name, []).append(value)
    started = [
        np.mean(found[name], axis=0) if (name := jax.tree_util.keystr(path)) in found else leaf for path, leaf in leaves
    ]
    return jax.tree.unflatten(structure, [jax.numpy.asarray(leaf) for leaf in started])


def abstract_array(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of a leaf."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def _load(opened: ocp.training.Checkpointer, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load, after comparing the stored tree with `abstract`: Orbax's own error for a mismatch is hard to read."""
    stored = opened.checkpointables_metadata(step).metadata
    for part, tree in abstract.items():
        have, want = (
            _shapes(stored[part].metadata if hasattr(stored[part], "metadata") else stored[part]),
            _shapes(tree),
        )
        if have != want:
            odd = sorted(set(have.items()) ^ set(want.items()))[0][0]
            raise InputError(
                f"the checkpoint in {opened.directory} is of another model: {part}.{odd} is "
                f"{have.get(odd, 'absent')} there and {want.get(odd, 'absent')} here"
            )
    return opened.load_checkpointables(step, abstract)


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """Shapes by names like tables.item, which do not tell a NamedTuple from the dict that Orbax stores for it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): tuple(leaf.shape) for path, leaf in leaves}


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises InputError naming the file if it is absent or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train a model there first") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: {error}") from None
