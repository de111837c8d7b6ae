"""Checkpoints with Orbax: the latest state to resume from, the best parameters to use, and the JSON files beside them.

A workdir holds config.json, metrics.jsonl (a line an epoch), checkpoints/ and result.json. Every write is atomic.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
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


@contextmanager
def best_of(workdir: Path, flag: str) -> Iterator[tuple[ocp.training.Checkpointer, int]]:
    """The checkpoints of a trained workdir, for reading, and the step of the best. Raises InputError naming `flag`."""
    folder = (workdir / "checkpoints").resolve()
    if not folder.is_dir():
        raise InputError(f"--{flag}: {workdir} holds no checkpoints; train a model there first")
    with ocp.training.Checkpointer(folder) as opened:  # no clean-up: a run may be writing there
        if opened.latest is None:
            raise InputError(f"--{flag}: {workdir} holds no finished checkpoint; train a model there first")
        yield opened, max(opened.checkpoints, key=lambda kept: (kept.metrics["value"], -kept.step)).step


def load_best(workdir: Path, params: Params) -> tuple[int, Params]:
    """The best epoch of a workdir and its parameters, with the structure of `params` (arrays or their shapes)."""
    with best_of(workdir, "workdir") as (opened, step):
        return step, _load(opened, step, {"params": jax.tree.map(abstract_array, params)})["params"]


def warm_start(params: Params, workdirs: list[Path]) -> Params:
    """`params` with every leaf replaced that a workdir's best checkpoint holds under the same path and shape.

    What several workdirs hold is averaged. Raises InputError where a workdir has nothing that fits.
    """
    leaves, structure = jax.tree.flatten(params)
    shapes = _shapes(params)
    found: dict[str, list[np.ndarray]] = {}
    for workdir in workdirs:
        with best_of(workdir, "warm_start") as (opened, step):
            stored = opened.load_checkpointables(step, {"params": None})["params"]
        fitting = {name: leaf for name, leaf in _leaves(stored).items() if shapes.get(name) == tuple(leaf.shape)}
        if not fitting:
            raise InputError(f"--warm_start: no parameter of {workdir} has the name and shape of one of this model's")
        for name, leaf in fitting.items():
            found.setdefault(name, []).append(np.asarray(leaf))
    start = [np.mean(found[name], axis=0) if name in found else leaf for name, leaf in zip(shapes, leaves, strict=True)]
    return jax.tree.unflatten(structure, [jnp.asarray(leaf) for leaf in start])


def abstract_array(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of a leaf."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def _load(opened: ocp.training.Checkpointer, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load, after comparing the stored tree with `abstract`: Orbax's own error for a mismatch is hard to read."""
    stored = opened.checkpointables_metadata(step).metadata
    for part, tree in abstract.items():
        have, want = _shapes(getattr(stored[part], "metadata", stored[part])), _shapes(tree)
        if have != want:
            odd = sorted(set(have.items()) ^ set(want.items()))[0][0]
            raise InputError(
                f"the checkpoint in {opened.directory} is of another model: {part}.{odd} is "
                f"{have.get(odd, 'absent')} there and {want.get(odd, 'absent')} here"
            )
    return opened.load_checkpointables(step, abstract)


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by names like tables.item, which do not tell a NamedTuple from the dict that Orbax stores for it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(leaf.shape) for name, leaf in _leaves(tree).items()}


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """A JSON file's content. Raises InputError naming the file if it is absent or damaged."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train a model there first") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is damaged: {error}") from None
