"""Checkpoints with Orbax: the latest state to resume from, the best parameters to use, and the JSON files beside them.

A workdir holds config.json, metrics.jsonl (a line an epoch), checkpoints/ and result.json. Every write is atomic.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from ancf_jax.devices.sharding import is_first
from ancf_jax.training.loop import TrainState
from ancf_jax.types import Array, InputError, Params


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
    if jax.tree.leaves(state.opt_state) and not _has_optimizer(opened):
        raise InputError(f"{opened.directory.parent} was saved for use, without what training needs to go on")
    trained = {"epoch": state.epoch, "opt_state": state.opt_state}
    abstract = jax.tree.map(abstract_array, {"params": state.params, "trained": trained})
    loaded = _load(opened, opened.latest.step, abstract)
    # Restored arrays may refuse donation; passing them through jit once makes them ordinary.
    return jax.jit(lambda s: s)(
        TrainState(loaded["trained"]["epoch"], loaded["params"], loaded["trained"]["opt_state"])
    )


def _has_optimizer(opened: ocp.training.Checkpointer) -> bool:
    return len(_leaves(_stored(opened, opened.latest.step, "trained"))) > 1


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
    own, structure = _leaves(params), jax.tree.structure(params)
    found: dict[str, list[Array]] = {}
    for workdir in workdirs:
        with best_of(workdir, "warm_start") as (opened, step):
            fitting = _load_fitting(opened, step, own)
        if not fitting:
            raise InputError(f"--warm_start: no parameter of {workdir} has the name and shape of one of this model's")
        for name, leaf in fitting.items():
            found.setdefault(name, []).append(leaf)
    start = {name: sum(found[name]) / len(found[name]) if name in found else leaf for name, leaf in own.items()}
    return jax.tree.unflatten(structure, start.values())


class Keeper(NamedTuple):
    """Where the states of a training are kept."""

    save: Callable[[int, TrainState, float], None]  # epoch, state, value, as `fit` calls it
    latest: Callable[[TrainState], TrainState | None]  # a state of this structure -> the one to resume from
    best: Callable[[Params], tuple[int, Params]]  # parameters of this structure -> the best epoch and its parameters


@contextmanager
def in_folder(workdir: Path) -> Iterator[Keeper]:
    """States in the checkpoints of a workdir; `best` is for after the context."""
    with checkpoints(workdir) as opened:
        yield Keeper(
            lambda epoch, state, value: save(opened, state, value),
            partial(load_latest, opened),
            partial(load_best, workdir),
        )


@contextmanager
def in_memory() -> Iterator[Keeper]:
    """The best parameters in memory, and nothing to resume from."""
    kept: list[tuple[float, int, Params]] = []

    def keep(epoch: int, state: TrainState, value: float) -> None:
        if not kept or value > kept[0][0]:
            kept[:] = [(value, epoch, jax.tree.map(jnp.copy, state.params))]  # the next epoch takes the state's memory

    yield Keeper(keep, lambda state: None, lambda params: kept[0][1:])


def abstract_array(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of a leaf; without a sharding, on the first device of this process."""
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _load(opened: ocp.training.Checkpointer, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load, after comparing the stored tree with `abstract`: Orbax's own error for a mismatch is hard to read."""
    for part, tree in abstract.items():
        have, want = _leaves(_stored(opened, step, part)), _leaves(tree)
        for name in sorted(have.keys() | want.keys()):
            if not (name in have and name in want and _alike(have[name], want[name])):
                there, here = (tuple(leaves[name].shape) if name in leaves else "absent" for leaves in (have, want))
                raise InputError(
                    f"the checkpoint in {opened.directory} is of another model: {part}.{name} is {there} there and "
                    f"{here} here; train the model again, in another workdir"
                )
    return _restore(opened, step, abstract)


def _load_fitting(opened: ocp.training.Checkpointer, step: int, own: dict[str, Array]) -> dict[str, Array]:
    """The parameters that the checkpoint holds under a name and in the shape of one in `own`, laid out like that."""
    stored = _stored(opened, step, "params")
    fitting = {name for name, leaf in _leaves(stored).items() if name in own and _alike(leaf, own[name])}

    def wanted(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        return abstract_array(own[_name(path)] if _name(path) in fitting else leaf)

    loaded = _restore(opened, step, {"params": jax.tree_util.tree_map_with_path(wanted, stored)})["params"]
    return {name: leaf for name, leaf in _leaves(loaded).items() if name in fitting}


def _stored(opened: ocp.training.Checkpointer, step: int, part: str) -> Any:
    """A part's tree of shapes, types and shardings."""
    stored = opened.checkpointables_metadata(step).metadata[part]
    return getattr(stored, "metadata", stored)


def _restore(opened: ocp.training.Checkpointer, step: int, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load onto the devices of `abstract`, and tables with as many rows of zeros at their end as there."""
    context = ocp.Context()
    context.array.loading.enable_padding_and_truncation = True
    with context:
        return opened.load_checkpointables(step, abstract)


def _alike(stored: Any, here: Any) -> bool:
    """Whether two leaves have one shape, up to the rows added so that the model axis of a mesh divides a table.

    Of n rows in p parts, more than n - p are the table's own: the same number may be its own in both.
    """
    if stored.shape == here.shape or not stored.shape or stored.shape[1:] != here.shape[1:]:
        return stored.shape == here.shape
    mesh = stored.sharding_metadata
    split = tuple(getattr(mesh, "partition_spec", ()))[:1] == ("model",)
    there = int(mesh.shape[mesh.axis_names.index("model")]) if split else 1  # parts
    parts = here.shape[0] // here.sharding.shard_shape(here.shape)[0]
    return max(stored.shape[0] - there, here.shape[0] - parts) < min(stored.shape[0], here.shape[0])


def _leaves(tree: Any) -> dict[str, Any]:
    """Leaves by names like tables.item, which do not tell a NamedTuple from the dict that Orbax stores for it."""
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically: a reader sees the old file or the new one."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and durably; of several processes, which hold the same text, the first does."""
    if not is_first():
        return
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
