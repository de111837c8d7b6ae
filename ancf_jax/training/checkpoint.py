"""Checkpoints: the latest state to resume from, the best parameters to use, and the JSON files beside them.

A workdir holds config.json, metrics.jsonl (a line an epoch), checkpoints/ (see steps.py) and result.json. Every write
is atomic.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding
from orbax.checkpoint import v1 as ocp

from ancf_jax import files
from ancf_jax.devices.sharding import is_first
from ancf_jax.training import steps
from ancf_jax.training.loop import TrainState
from ancf_jax.training.steps import Step
from ancf_jax.types import Array, InputError, Params

Record = dict[str, Any]  # of an epoch, as `fit` makes it


def save(workdir: Path, state: TrainState, value: float, records: Sequence[Record] = (), **about: Any) -> None:
    """Write the state after an epoch; `value` is what the best is picked by. On failure nothing older is lost.

    The records of the epochs so far go with it, and what else is to be known, as JSON has it.
    """
    trained = {"epoch": state.epoch, "opt_state": state.opt_state}
    kept = {"records": list(records), **about}
    steps.write(workdir, int(state.epoch), {"params": state.params, "trained": trained}, float(value), kept)


def load_latest(workdir: Path, state: TrainState) -> tuple[TrainState, list[Record]] | None:
    """The state to resume from, with the structure of `state`, and its records; None if there is none.

    That is the latest one, or the latest before the best if that is damaged: training comes to it once more. There are
    no records with checkpoints of old. Raises InputError on a mismatch.
    """

    def pick(found: list[Step]) -> Step | None:
        found = [step for step in found if steps.is_whole(step)]
        while found and found[-1].sums and all(step.number != found[-1].best for step in found):
            found = [step for step in found if step.number < found[-1].best]
        return found[-1] if found else None

    def load(step: Step) -> tuple[TrainState, list[Record]]:
        if jax.tree.leaves(state.opt_state) and len(_leaves(_stored(step, "trained"))) < 2:
            raise InputError(f"{workdir} was saved for use, without what training needs to go on")
        trained = {"epoch": state.epoch, "opt_state": state.opt_state}
        loaded = _load(step, jax.tree.map(abstract_array, {"params": state.params, "trained": trained}))
        # Restored arrays may refuse donation; passing them through jit once makes them ordinary.
        ordinary = jax.jit(lambda s: s)(
            TrainState(loaded["trained"]["epoch"], loaded["params"], loaded["trained"]["opt_state"])
        )
        return ordinary, step.about.get("records", [])

    return steps.read(workdir, pick, load)


def check_trained(workdir: Path, flag: str) -> None:
    """Raises InputError naming `flag` unless a workdir holds a checkpoint."""
    if not (workdir / steps.FOLDER).is_dir():
        raise InputError(f"--{flag}: {workdir} holds no checkpoints; train a model there first")
    if not steps.steps_in(workdir):
        raise InputError(f"--{flag}: {workdir} holds no finished checkpoint; train a model there first")


def load_best(workdir: Path, params: Params) -> tuple[int, Params]:
    """The best epoch of a workdir and its parameters, with the structure of `params` (arrays or their shapes)."""

    def load(step: Step) -> tuple[int, Params]:
        return step.number, _load(step, {"params": jax.tree.map(abstract_array, params)})["params"]

    return _of_best(workdir, "workdir", load)


def _of_best(workdir: Path, flag: str, load: Callable[[Step], Any]) -> Any:
    """What `load` makes of the best step. Raises InputError naming `flag` if there is none."""
    check_trained(workdir, flag)
    loaded = steps.read(workdir, lambda found: next(filter(steps.is_whole, steps.best_first(found)), None), load)
    if loaded is None:
        raise InputError(f"--{flag}: all checkpoints of {workdir} are damaged; the command that trained it, once more")
    return loaded


def warm_start(params: Params, workdirs: list[Path]) -> Params:
    """`params` with every leaf replaced that a workdir's best checkpoint holds under the same path and shape.

    What several workdirs hold is averaged. Raises InputError where a workdir has nothing that fits.
    """
    own, structure = _leaves(params), jax.tree.structure(params)
    found: dict[str, list[Array]] = {}
    for workdir in workdirs:
        fitting = _of_best(workdir, "warm_start", lambda step: _load_fitting(step, own))
        if not fitting:
            raise InputError(f"--warm_start: no parameter of {workdir} has the name and shape of one of this model's")
        for name, leaf in fitting.items():
            found.setdefault(name, []).append(leaf)
    start = {name: sum(found[name]) / len(found[name]) if name in found else leaf for name, leaf in own.items()}
    return jax.tree.unflatten(structure, start.values())


class Keeper(NamedTuple):
    """Where the states of a training are kept."""

    save: Callable[[TrainState, float, list[Record]], None]  # state, value, records, as `fit` calls it
    latest: Callable[[TrainState], tuple[TrainState, list[Record]] | None]  # as load_latest
    best: Callable[[Params], tuple[int, Params]]  # parameters of this structure -> the best epoch and its parameters


def in_folder(workdir: Path, **about: Any) -> Keeper:
    """States in the checkpoints of a workdir, and with each what else is to be known of the run."""
    steps.clear(workdir)
    return Keeper(partial(save, workdir, **about), partial(load_latest, workdir), partial(load_best, workdir))


def in_memory() -> Keeper:
    """The best parameters in memory, and nothing to resume from."""
    kept: list[tuple[float, int, Params]] = []

    def keep(state: TrainState, value: float, records: list[Record]) -> None:
        if not kept or value > kept[0][0]:  # the next epoch takes the state's memory
            kept[:] = [(value, int(state.epoch), jax.tree.map(jnp.copy, state.params))]

    return Keeper(keep, lambda state: None, lambda params: kept[0][1:])


def abstract_array(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape, type and sharding of a leaf; without a sharding, on the first device of this process."""
    sharding = getattr(leaf, "sharding", None) or SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _load(step: Step, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load, after comparing the stored tree with `abstract`: Orbax's own error for a mismatch is hard to read."""
    for part, tree in abstract.items():
        have, want = _leaves(_stored(step, part)), _leaves(tree)
        for name in sorted(have.keys() | want.keys()):
            if name not in want and name.startswith("held."):
                continue  # a version before this one held more than is read
            if not (name in have and name in want and _alike(have[name], want[name])):
                there, here = (tuple(leaves[name].shape) if name in leaves else "absent" for leaves in (have, want))
                raise InputError(
                    f"the checkpoint in {step.folder} is of another model: {part}.{name} is {there} there and "
                    f"{here} here; train the model again, in another workdir"
                )
    return _restore(step, abstract)


def _load_fitting(step: Step, own: dict[str, Array]) -> dict[str, Array]:
    """The parameters that the checkpoint holds under a name and in the shape of one in `own`, laid out like that."""
    stored = _stored(step, "params")
    fitting = {name for name, leaf in _leaves(stored).items() if name in own and _alike(leaf, own[name])}

    def wanted(path: Any, leaf: Any) -> jax.ShapeDtypeStruct:
        return abstract_array(own[_name(path)] if _name(path) in fitting else leaf)

    loaded = _restore(step, {"params": jax.tree_util.tree_map_with_path(wanted, stored)})["params"]
    return {name: leaf for name, leaf in _leaves(loaded).items() if name in fitting}


def _stored(step: Step, part: str) -> Any:
    """A part's tree of shapes, types and shardings."""
    stored = ocp.checkpointables_metadata(step.folder.resolve()).metadata[part]
    return getattr(stored, "metadata", stored)


def _restore(step: Step, abstract: dict[str, Any]) -> dict[str, Any]:
    """Load what `abstract` has onto its devices, and tables with as many rows of zeros at their end as there."""
    context = ocp.Context()
    context.array.loading.enable_padding_and_truncation = True
    context.pytree.loading.partial_load = True
    with context:
        return ocp.load_checkpointables(step.folder.resolve(), abstract)


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
    """Write JSON atomically: a reader sees the old file or the new one. What is not finite is null."""
    write_text(path, files.json_text(content))


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and durably; of several processes, which hold the same text, the first does."""
    if is_first():
        files.replace(path, lambda file: file.write(text.encode()))
