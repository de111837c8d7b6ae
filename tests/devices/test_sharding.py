"""Eight virtual devices do what one does: the same losses, metrics and checkpoints, with tables and batches split.

The number of devices is fixed when JAX starts, so that `measure` runs in a process of its own, once.
"""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.config import from_json, settings_of
from ancf_jax.data.interactions import build
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.devices.sharding import abstract, check_batch, connect, parse_mesh, shard
from ancf_jax.evaluation.evaluate import make_evaluator
from ancf_jax.models import MODELS
from ancf_jax.settings import TrainConfig
from ancf_jax.training.checkpoint import load_best, load_latest, save, warm_start
from ancf_jax.training.loop import TrainState, fit, init_state
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import Data, InputError, shapes_of

USERS, ITEMS = 11, 13  # tables of 12 and 14 rows: 2 divides both, 4 the first alone
SMALL = {"factors": 4, "tower_factors": 4, "tower": (8, 4), "history": 5, "window": 4, "negatives": 4, "pool": 4}
CASES = {
    "mf": {"lazy_rows": True, "optimizer": "adagrad"},
    "ancf": {"ordered": True, "heads": 2, "tower": ()},
    "itemknn": {},
}
QUICK = "--xla_backend_optimization_level=0"  # compiling takes longer than all that is computed
MESHES = ("data=4,model=2", "model=4,data=2")


def part(size, seed, items=ITEMS):
    """Interactions of every user with `size` items."""
    rng = np.random.default_rng(seed)
    chosen = np.concatenate([rng.permutation(items)[:size] for _ in range(USERS)])
    users = np.repeat(np.arange(USERS), size)
    return build(users, chosen, np.ones(len(users)), np.arange(len(users)), USERS)


DATA = Data(USERS, ITEMS, part(6, seed=0))
TEST = part(2, seed=1)


@cache
def start(case, mesh, items=ITEMS):
    """The model of a case on a mesh, how it is trained, and the shapes and places of its state."""
    data = Data(USERS, items, part(6, seed=0, items=items))
    entry, values = MODELS[case], SMALL | CASES[case]
    parts = (settings_of(entry.config), settings_of(TrainConfig))
    own, shared = ({name: value for name, value in values.items() if name in part} for part in parts)
    model = shard(entry.make(from_json(entry.config, own), data), mesh)
    config = TrainConfig(epochs=3, batch_size=8, learning_rate=0.05, **shared)
    tx = make_optimizer(config, 30)
    return model, config, tx, abstract(jax.eval_shape(lambda: init_state(model, tx, config.seed, mesh)), mesh)


class Learnt(NamedTuple):
    losses: list[float | None]
    layout: dict  # of the first state
    saved: list  # the numbers that the checkpoint holds
    state: TrainState


def learn(case, mesh, state=None, folder=None):
    """Train from `state`, or from the start, to the last epoch; the state after epoch 2 is saved in a folder."""
    model, config, tx, _ = start(case, mesh)
    state = state or init_state(model, tx, config.seed, mesh)
    first, saved = layout(state), []

    def keep(now, value, records):
        nonlocal state
        state = now
        if folder and int(now.epoch) == 2:
            saved.extend(leaves(now, start(case, None)[3]))
            save(folder, now, value)

    options = {"validate": None, "save": keep, "report": lambda record: None, "mesh": mesh}
    done = fit(model, config, state, tx, **options)
    return Learnt([record.get("loss") for record in done.records], first, saved, state)


def layout(tree):
    """Name -> shape of a leaf, and of its part on the first device."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): (leaf.shape, leaf.addressable_shards[0].data.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def leaves(tree, like):
    """The numbers of a tree, without the rows that `like` does not have."""
    return [
        np.asarray(leaf)[tuple(map(slice, own.shape))].tolist()
        for leaf, own in zip(jax.tree.leaves(tree), jax.tree.leaves(like), strict=True)
    ]


def refusal(function, *args):
    try:
        function(*args)
    except InputError as error:
        return str(error)
    return "accepted"


def measure(root):
    """Everything that the tests below look at."""
    meshes = {text: parse_mesh(text) for text in MESHES}
    wide, tall = meshes.values()
    found = {"losses": {}, "layout": {}, "metrics": {}, "resumed": {}, "restored": {}, "best": {}}
    found["meshes"] = {text: dict(mesh.shape) for text, mesh in meshes.items()}
    found["data=4"] = refusal(parse_mesh, "data=4")

    for case in CASES:
        keeps = case == "mf"
        one, mesh = learn(case, None, folder=keeps and root / "one"), learn(case, wide, folder=keeps and root / "mesh")
        found["losses"][case] = one.losses, mesh.losses
        found["layout"][case] = mesh.layout, layout(mesh.state)
        if keeps:
            found["saved"] = {"one": one.saved, "mesh": mesh.saved}
            params = ((None, one.state.params), (wide, mesh.state.params))

    candidates = np.random.default_rng(2).integers(0, ITEMS, (len(TEST.users), 4))
    candidates[:, -1] = TEST.items
    for given in (None, candidates):
        values = []
        for mesh, learnt in params:
            options = {"candidates": given, "beyond": given is None, "block": 6, "mesh": mesh}
            done = make_evaluator(start("mf", mesh)[0], DATA, DATA.train, TEST, **options)(learnt)
            values.append((done.metrics, {name: value.tolist() for name, value in done.per_user.items()}))
        found["metrics"]["all" if given is None else "given"] = values

    plain = start("mf", None)[3]
    for source, place, mesh in (("mesh", "one", None), ("mesh", "tall", tall), ("one", "mesh", wide)):
        state, _ = load_latest(root / source, start("mf", mesh)[3])
        name = f"{source} to {place}"
        found["restored"][name] = leaves(state, plain)
        if mesh:
            resumed = learn("mf", mesh, state)
            found["resumed"][name], found["layout"][name] = resumed.losses, resumed.layout
        found["best"][name] = leaves(load_best(root / source, start("mf", mesh)[3].params)[1], plain.params)
    fresh = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), start("mf", tall)[3].params)
    warm = warm_start(fresh, [root / "mesh"])
    found["warm"], found["layout"]["warm"] = leaves(warm, plain.params), layout(warm)
    recvae = MODELS["recvae"]
    sharded = shard(recvae.make(recvae.config(factors=4, hidden=4), DATA), tall)
    params = shapes_of(sharded)
    advanced = jax.eval_shape(sharded.learn.advance, params, 1)
    found["advanced"] = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in (params, advanced)]
    found["other model"] = refusal(load_latest, root / "mesh", start("mf", tall, 20)[3])
    return found


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    (folder / "found.json").write_text(json.dumps(measure(folder)))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    root = Path(__file__).parents[2]
    devices = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    folder = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [sys.executable, __file__, str(folder)],
        env=os.environ | {"XLA_FLAGS": f"{devices} {QUICK}", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("case", [case for case in CASES if case != "itemknn"])
def test_the_losses_are_those_of_one_device(found, case):
    one, mesh = found["losses"][case]
    assert len(one) == 3
    np.testing.assert_allclose(mesh, one, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_tables_and_their_moments_are_split_from_birth_and_nothing_else_is(found, case):
    for shapes in found["layout"][case]:
        tables = {name for name in shapes if ".tables." in name}
        assert any(name.startswith("params.") for name in tables)
        assert any(name.startswith("opt_state.") for name in tables) == (case != "itemknn")
        for name, (whole, here) in shapes.items():
            assert here == ([whole[0] // 2, *whole[1:]] if name in tables else whole), name


def test_metrics_are_those_of_one_device(found):
    for (one, per_user), (mesh, per_user_of_mesh) in found["metrics"].values():
        assert mesh.keys() == one.keys() and per_user_of_mesh.keys() == per_user.keys()
        np.testing.assert_allclose([mesh[name] for name in one], list(one.values()), rtol=1e-5)
        for name, values in per_user.items():
            np.testing.assert_allclose(per_user_of_mesh[name], values, rtol=1e-5, err_msg=name)


def test_a_checkpoint_is_restored_on_other_meshes_bit_for_bit(found):
    for name, numbers in found["restored"].items():
        saved = found["saved"][name.split()[0]]
        assert numbers == saved, name
        assert found["best"][name] == saved[1 : 1 + len(found["best"][name])], name  # params follow the epoch
    assert found["warm"] == found["best"]["mesh to tall"]


def test_rows_are_filled_up_to_what_each_mesh_divides(found):
    assert found["layout"]["mesh to tall"]["params.tables.item"] == [[16, 4], [4, 4]]
    assert found["layout"]["one to mesh"]["opt_state.0.sum_of_squares.tables.item"] == [[14, 4], [7, 4]]
    assert found["layout"]["warm"]["tables.item"] == [[16, 4], [4, 4]]


def test_what_is_advanced_has_the_same_rows(found):
    before, after = found["advanced"]
    assert before == after and [16, 4] in before


def test_training_goes_on_where_another_mesh_stopped(found):
    for name, losses in found["resumed"].items():
        np.testing.assert_allclose(losses, found["losses"]["mf"][0][2:], rtol=1e-5, err_msg=name)


def test_another_models_checkpoint_is_refused_on_a_mesh_too(found):
    assert "params.tables.item is (14, 4) there and (24, 4) here" in found["other model"]


def test_a_mesh_names_its_axes_in_any_order(found):
    assert list(found["meshes"].values()) == [{"data": 4, "model": 2}, {"data": 2, "model": 4}]
    assert "flag --mesh: 'data=4' is not data=A,model=B with A * B = 8, the number of devices" in found["data=4"]


@pytest.mark.parametrize("text", ["data", "data=0", "data=x", "rows=1", "data=1,data=1", "data=1;model=1", "model=2,"])
def test_bad_meshes(text):
    with pytest.raises(InputError, match=r"flag --mesh: .* is not data=A,model=B with A \* B = "):
        parse_mesh(text)


def test_batches_that_the_mesh_does_not_divide():
    mesh = SimpleNamespace(shape={"data": 4, "model": 2})
    check_batch(8, mesh)
    check_batch(7, None)
    with pytest.raises(InputError, match=r"flag --batch_size: a step of 6 .* --mesh, 4; legal are multiples of 4"):
        check_batch(6, mesh)


def test_one_process_without_a_mesh_has_none():
    assert connect(MeshConfig()) is None
    assert dict(connect(MeshConfig(mesh="data=1")).shape) == {"data": 1, "model": 1}


@pytest.mark.parametrize(
    "values",
    [
        {"coordinator": "here:1234"},
        {"num_processes": 2},
        {"process_id": 1},
        {"coordinator": "here:1234", "num_processes": 2, "process_id": 2},
    ],
)
def test_the_flags_of_several_processes_go_together(values):
    with pytest.raises(InputError, match="--coordinator, --num_processes, --process_id: legal are all three or none"):
        MeshConfig(**values)


def test_a_coordinator_has_a_port():
    with pytest.raises(InputError, match="flag --coordinator: 'here' is not HOST:PORT"):
        MeshConfig(coordinator="here", num_processes=2)
