"""Lazy rows: a gradient step that reads and writes only the table rows that its batch touches.

A batch of thousands of ids touches a sliver of a table of millions of rows, yet the gradient of a table is as large as
the table, and so is the optimizer's work. Here the touched rows and their rows of the optimizer's state are gathered,
any elementwise Optax transform steps on them as if they were the tables, and the results are scattered back in place.
The cost depends on the batch, not on the number of rows.

SGD and Adagrad leave a row alone whose gradient is zero, so lazy and dense steps are the same but for rounding. And as
SGD's update is linear in the gradient, each place where a row is read adds its own share to the table, at once: no
place has to be found that writes for all of them.
Momentum and Adam do not: here a row's moments decay only in the steps that touch it, another algorithm by definition
(LazyAdam in TensorFlow Addons). Weight decay is on the net alone, and rows without a gradient add nothing to its norm.
"""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.extend.core import get_opaque_trace_state

from ancf_jax.types import Array, InputError, Params, Rows, moved

Loss = Callable[[Params, Any, Array], tuple[Array, dict[str, Array]]]  # as in types.Gradient, given the data


def with_rows(params: Params, names: Collection[str], view: Callable[[str, Any], Rows]) -> Params:
    """`params` with view(name, table) in place of the tables in `names`."""
    tables = {name: view(name, table) if name in names else table for name, table in params["tables"].items()}
    return {**params, "tables": tables}


def read_by_rows(loss: Loss, params: Params, batch: Any, key: Array) -> set[str]:
    """The tables that the loss reads by ids alone, or not at all; found by tracing it, at no cost to the step."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)

    def works(names: Collection[str]) -> bool:
        def probe(params: Params):
            view = with_rows(params, names, lambda name, table: Rows(table.shape, table.dtype, table.__getitem__))
            return loss(view, batch, key)

        try:
            jax.eval_shape(probe, shapes)
        except (AttributeError, TypeError, ValueError):  # what JAX and Python say of an object that is no array
            return False
        return True

    names = set(params["tables"])
    return names if works(names) else {name for name in names if works({name})}


def read_ids(loss: Loss, params: Params, batch: Any, key: Array) -> dict[str, Array]:
    """The ids [n] by which the loss reads each table that it reads by rows. Tables read by the same ids share them.

    The loss runs once more for it, on the tables themselves; XLA removes all of that but the ids. Raises InputError if
    the loss reads no table by rows, or reads one inside a function that JAX transforms, which ids cannot leave.
    """
    reads: dict[str, list[Array]] = {name: [] for name in params["tables"]}
    level = get_opaque_trace_state()

    def record(name: str, table: Array) -> Rows:
        def read(ids: Array) -> Array:
            if get_opaque_trace_state() != level:
                raise InputError(
                    f"flag --lazy_rows: the loss reads the table {name!r} inside a scan, vmap or other "
                    "transformed function; legal are reads outside of them"
                )
            reads[name].append(ids)
            return table[ids]

        return Rows(table.shape, table.dtype, read)

    lazy = read_by_rows(loss, params, batch, key)
    loss(with_rows(params, lazy, record), batch, key)
    if not any(reads.values()):
        raise InputError("flag --lazy_rows: this model's loss reads no table by rows; leave the flag out")
    flat: dict[tuple[int, ...], Array] = {}
    for ids in reads.values():
        if tuple(map(id, ids)) not in flat:
            flat[tuple(map(id, ids))] = jnp.concatenate([jnp.zeros(0, jnp.int32), *map(jnp.ravel, ids)])
    return {name: flat[tuple(map(id, ids))] for name, ids in reads.items() if name in lazy}


def new_slots(params: Params) -> dict[str, Array]:
    """One int32 a row of each table: scratch memory of lazy steps, whose content before a step does not matter."""
    return {name: jnp.zeros(len(table), jnp.int32) for name, table in params["tables"].items()}


def assign(slots: Array, ids: Array) -> tuple[Array, Array]:
    """Give each distinct row of ids [n] one owner among the places 0..n-1: no sort, and no work on other rows.

    Returns slots with the owner's place at each of these rows, and where each place writes: its row if it is the
    owner, else a row past the end. Of equal ids the last is the owner, on every device.
    """
    places = jnp.arange(len(ids), dtype=jnp.int32)
    slots = slots.at[ids].set(-1).at[ids].max(places)
    return slots, jnp.where(slots[ids] == places, ids, len(slots) + places)


def at_tables(f: Callable[..., Any], names: Collection[str], tree: Any, *rest: Any) -> Any:
    """f(name, leaf, ...) at leaves that are, or in an optimizer's state mirror, a table in `names`; else the last."""

    def choose(path: tuple, *leaves: Any) -> Any:
        tables = len(path) > 1 and path[-2] == jax.tree_util.DictKey("tables") and path[-1].key in names
        return f(path[-1].key, *leaves) if tables else leaves[-1]

    return jax.tree_util.tree_map_with_path(choose, tree, *rest)


def make_lazy_step(loss: Loss, tx: optax.GradientTransformation) -> Callable:
    """(params, opt_state, slots), batch, key -> the same, sums: one gradient step on the rows that the batch touches.

    Tables that the loss does not read by rows alone, and the net, take the dense step. Errors as in `read_ids`.
    """

    def step(carry: tuple[Params, Any, dict[str, Array]], batch: Any, key: Array):
        params, opt_state, slots = carry
        ids = read_ids(loss, params, batch, key)
        # Tables of one length that are read by the same ids use the slots of the first of them.
        first = {a: next(b for b in ids if ids[b] is ids[a] and len(slots[b]) == len(slots[a])) for a in ids}
        places = {}
        for name in dict.fromkeys(first.values()):
            slot, places[name] = assign(slots[name], ids[name])
            slots = {**slots, name: slot}

        def loss_of(rows: Params):
            def view(name: str, rows: Array) -> Rows:
                slot = slots[first[name]]
                return Rows((len(slot), *rows.shape[1:]), rows.dtype, lambda ids: rows[slot[ids]])

            return loss({**params, **with_rows(rows, ids, view)}, batch, key)

        def put(name: str, table: Array, rows: Array) -> Array:
            return table.at[places[first[name]]].set(rows, mode="drop", unique_indices=True)

        rows, row_state = at_tables(lambda name, table: table[ids[name]], ids, (moved(params), opt_state))
        (_, sums), gradient = jax.value_and_grad(loss_of, has_aux=True)(rows)
        updates, row_state = tx.update(gradient, row_state, rows)
        rows = optax.apply_updates(rows, updates)
        moving, opt_state = at_tables(put, ids, (moved(params), opt_state), (rows, row_state))
        return ({**params, **moving}, opt_state, slots), sums

    return step


def make_direct_step(loss: Loss, tx: optax.GradientTransformation) -> Callable:
    """(params, opt_state), batch, key -> the same, sums: the lazy step of an optimizer whose update is linear.

    That is SGD without a bound on the gradient's norm. Errors as in `read_ids`.
    """

    def step(carry: tuple[Params, Any], batch: Any, key: Array):
        params, opt_state = carry
        ids = read_ids(loss, params, batch, key)

        def loss_of(read: Params):
            def view(name: str, rows: Array) -> Rows:
                begin = 0

                def in_turn(asked: Array) -> Array:
                    nonlocal begin
                    begin += asked.size
                    return rows[begin - asked.size : begin].reshape(*asked.shape, *rows.shape[1:])

                return Rows((len(params["tables"][name]), *rows.shape[1:]), rows.dtype, in_turn)

            return loss({**params, **with_rows(read, ids, view)}, batch, key)

        read = at_tables(lambda name, table: table[ids[name]], ids, moved(params))
        (_, sums), gradient = jax.value_and_grad(loss_of, has_aux=True)(read)
        updates, opt_state = tx.update(gradient, opt_state, read)
        moving = at_tables(
            lambda name, table, update, _: table.at[ids[name]].add(update),
            ids,
            moved(params),
            updates,
            optax.apply_updates(read, updates),
        )
        return ({**params, **moving}, opt_state), sums

    return step
