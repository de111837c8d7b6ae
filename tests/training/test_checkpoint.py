"""What is kept of a run, what is refused, and files that are never half written."""

import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from ancf_jax.files import read_json
from ancf_jax.training import steps
from ancf_jax.training.checkpoint import (
    in_folder,
    in_memory,
    load_best,
    load_latest,
    save,
    warm_start,
    write_json,
)
from ancf_jax.training.loop import TrainState
from ancf_jax.types import InputError


def state_of(epoch, scale=1.0, rows=3, **net):
    """A state whose every number depends on the epoch, with the moments of its parameters as optimizer state."""
    params = {
        "tables": {"item": scale * epoch * jnp.arange(2.0 * rows).reshape(rows, 2)},
        "net": {"bias": jnp.float32(scale * epoch / 3), **net},
    }
    return TrainState(jnp.int32(epoch), params, ({"count": jnp.int32(7 * epoch)}, params))


def keep(workdir, values, **options):
    """Save one state for each value, from epoch 1 on."""
    for epoch, value in enumerate(values, start=1):
        save(workdir, state_of(epoch, **options), value, [{"epoch": n} for n in range(1, epoch + 1)])
    return workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir with a run whose second of four epochs was the best."""
    return keep(tmp_path_factory.mktemp("run"), [0.1, 0.5, 0.4, 0.3])


def test_the_best_and_the_latest_are_kept(run):
    assert {path.name for path in (run / "checkpoints").iterdir()} == {"2", "4"}


def test_load_best_gives_the_best_epochs_parameters(run):
    epoch, params = load_best(run, state_of(0).params)
    assert epoch == 2
    np.testing.assert_array_equal(params["tables"]["item"], state_of(2).params["tables"]["item"])
    np.testing.assert_array_equal(params["net"]["bias"], state_of(2).params["net"]["bias"])


def test_load_latest_gives_the_whole_last_state(run):
    state, records = load_latest(run, state_of(0))
    expected = state_of(4)
    assert records == [{"epoch": epoch} for epoch in (1, 2, 3, 4)]
    assert state.epoch == 4
    np.testing.assert_array_equal(state.params["tables"]["item"], expected.params["tables"]["item"])
    np.testing.assert_array_equal(state.opt_state[0]["count"], expected.opt_state[0]["count"])
    np.testing.assert_array_equal(state.opt_state[1]["net"]["bias"], expected.opt_state[1]["net"]["bias"])
    assert state.epoch.dtype == state.opt_state[0]["count"].dtype == jnp.int32


def test_of_equal_values_the_earliest_is_best(tmp_path):
    epoch, _ = load_best(keep(tmp_path, [0.5, 0.5]), state_of(0).params)
    assert epoch == 1


def test_a_new_workdir_has_no_latest_state(tmp_path):
    assert load_latest(tmp_path, state_of(0)) is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (state_of(0, rows=4), r"params\.tables\.item is \(3, 2\) there and \(4, 2\) here"),
        (state_of(0, product=jnp.ones(5)), r"params\.net\.product is absent there and \(5,\) here"),
        (state_of(0)._replace(opt_state=()), r"trained\.opt_state\.0\.count is \(\) there and absent here"),
    ],
)
def test_another_models_checkpoint_is_refused_by_parameter(run, other, message):
    with pytest.raises(InputError, match="is of another model: " + message):
        load_latest(run, other)


def test_load_best_refuses_another_models_checkpoint(run):
    with pytest.raises(InputError, match=r"another model: params\.net\.product is absent there"):
        load_best(run, state_of(0, product=jnp.ones(5)).params)


def test_what_a_version_before_held_and_this_one_does_not_read_is_left_there(tmp_path):
    """Nothing else may be missing here: a parameter that is left out makes another model."""
    state = state_of(1)
    held = {"weights": jnp.arange(3.0), "inverse": jnp.arange(4.0)}
    save(tmp_path, state._replace(params={**state.params, "held": {"prior": held}}), 0.5)
    wanted = {**state_of(0).params, "held": {"prior": {"weights": jnp.zeros(3)}}}
    _, params = load_best(tmp_path, wanted)
    assert jax.tree.structure(params) == jax.tree.structure(wanted)
    np.testing.assert_array_equal(params["held"]["prior"]["weights"], held["weights"])
    np.testing.assert_array_equal(
        load_latest(tmp_path, state._replace(params=wanted))[0].params["net"]["bias"], jnp.float32(1 / 3)
    )
    with pytest.raises(InputError, match=r"another model: params\.net\.bias is \(\) there and absent here"):
        load_best(tmp_path, {**wanted, "net": {}})


def test_load_best_without_a_run_says_what_is_missing(tmp_path):
    missing = tmp_path / "nowhere"
    with pytest.raises(InputError, match=r"--workdir: .*nowhere holds no checkpoints; train a model there first"):
        load_best(missing, state_of(0).params)
    assert not missing.exists()
    (tmp_path / "checkpoints").mkdir()  # interrupted before the first save
    with pytest.raises(InputError, match="holds no finished checkpoint"):
        load_best(tmp_path, state_of(0).params)


def test_warm_start_averages_what_fits_and_leaves_the_rest(run, tmp_path):
    other = keep(tmp_path / "other", [0.1, 0.2, 0.3], scale=10.0, tower=jnp.full(4, 6.0))
    fresh = {
        "tables": {"item": jnp.zeros((3, 2)), "user": jnp.full((2, 2), 8.0)},
        "net": {"bias": jnp.float32(0), "tower": jnp.zeros(4)},
    }
    started = warm_start(fresh, [run, other])
    both = (np.arange(6.0) * 2 + np.arange(6.0) * 30) / 2  # epoch 2 of one and epoch 3, times 10, of the other
    np.testing.assert_allclose(started["tables"]["item"], both.reshape(3, 2))
    np.testing.assert_allclose(started["net"]["bias"], (2 / 3 + 10) / 2, rtol=1e-6)
    np.testing.assert_array_equal(started["net"]["tower"], np.full(4, 6.0))  # in one of them alone
    np.testing.assert_array_equal(started["tables"]["user"], fresh["tables"]["user"])  # in none
    assert all(isinstance(leaf, jnp.ndarray) for leaf in started["net"].values())


def test_warm_start_ignores_parameters_of_another_shape(run):
    started = warm_start({"tables": {"item": jnp.zeros((4, 2))}, "net": {"bias": jnp.float32(0)}}, [run])
    np.testing.assert_array_equal(started["tables"]["item"], np.zeros((4, 2)))
    np.testing.assert_allclose(started["net"]["bias"], 2 / 3, rtol=1e-6)


def test_warm_start_refuses_a_run_with_nothing_that_fits(run):
    with pytest.raises(InputError, match=r"--warm_start: no parameter of .* has the name and shape"):
        warm_start({"tables": {"item": jnp.zeros((9, 2))}, "net": {"weight": jnp.zeros(2)}}, [run])


def test_warm_start_refuses_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(InputError, match=r"--warm_start: .*nowhere holds no checkpoints"):
        warm_start(state_of(0).params, [tmp_path / "nowhere"])
    assert not (tmp_path / "nowhere").exists()


def test_json_round_trip(tmp_path):
    content = {"hr@10": 0.1 + 0.2, "name": "crème", "list": [1, None, True]}
    write_json(tmp_path / "new" / "result.json", content)
    assert read_json(tmp_path / "new" / "result.json") == content


@pytest.mark.parametrize("failing", ["fsync", "replace", "content"])
def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, failing):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})
    content = {"new": object()} if failing == "content" else {"new": 2}

    def full(*args):
        raise OSError("no space left on device")

    if failing != "content":
        monkeypatch.setattr(os, failing, full)
    with pytest.raises((OSError, TypeError)):
        write_json(path, content)
    assert json.loads(path.read_text()) == {"old": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]


def test_read_json_names_the_file_and_what_is_wrong(tmp_path):
    with pytest.raises(InputError, match=r"config\.json does not exist; train a model there first"):
        read_json(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"model": ')
    with pytest.raises(InputError, match=r"config\.json is damaged: "):
        read_json(tmp_path / "config.json")


@pytest.mark.parametrize("values", [[0.1, 0.5, 0.4, 0.3], [0.5, 0.5, 0.5], [-np.inf, -2.0, -1.0], [3.0]])
def test_what_is_kept_in_memory_is_what_a_folder_keeps(tmp_path, values):
    """Bit for bit, of the earliest best epoch; what is kept is safe from the step that takes the state's memory."""
    take = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    found = []
    for kept in (in_folder(tmp_path), in_memory()):
        assert kept.latest(state_of(0)) is None
        for epoch, value in enumerate(values, start=1):
            state = jax.tree.map(jnp.copy, state_of(epoch))
            kept.save(state, value, [])
            take(state)
        found.append(kept.best(state_of(0).params))
    (epoch, params), (other, same) = found
    assert epoch == other == 1 + int(np.argmax(values))
    assert jax.tree.structure(params) == jax.tree.structure(same)
    jax.tree.map(np.testing.assert_array_equal, params, same)


def test_memory_keeps_nothing_to_resume_from():
    kept = in_memory()
    kept.save(state_of(1), 0.5, [])
    assert kept.latest(state_of(1)) is None


def flip(folder):
    """Flip a bit of the largest file of a step; that file."""
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    return path


def test_a_damaged_step_is_named_and_passed_over(run, tmp_path, caplog):
    folder = shutil.copytree(run, tmp_path / "run")
    damaged = flip(folder / "checkpoints" / "4")
    state, records = load_latest(folder, state_of(0))
    assert state.epoch == 2 and len(records) == 2 and f"{damaged} is damaged" in caplog.text
    assert load_best(folder, state_of(0).params)[0] == 2
    flip(folder / "checkpoints" / "2")
    assert load_latest(folder, state_of(0)) is None
    with pytest.raises(InputError, match=r"all checkpoints of .* are damaged"):
        load_best(folder, state_of(0).params)


def test_training_goes_back_to_before_a_best_step_that_is_damaged(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    flip(folder / "checkpoints" / "2")
    assert load_latest(folder, state_of(0)) is None  # nothing of before is kept
    save(folder, state_of(1), 0.1)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["1"]
    assert load_latest(folder, state_of(0))[0].epoch == 1


@pytest.mark.parametrize("made_of_half", [InputError("is of another model"), OSError("gone"), KeyError("bias")])
def test_a_step_that_a_running_training_deletes_as_it_is_read_is_looked_for_again(run, tmp_path, made_of_half):
    folder, read = shutil.copytree(run, tmp_path / "run"), []

    def load(step):
        read.append(step.number)
        if len(read) == 1:
            steps.remove(step.folder)
            raise made_of_half
        return step.number

    assert steps.read(folder, lambda found: found[-1], load) == 2 and read == [4, 2]


def test_a_step_of_a_later_version_is_refused(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "run")
    path = folder / "checkpoints" / "4" / "step.json"
    path.write_text(json.dumps(read_json(path) | {"format": 99}))
    with pytest.raises(InputError, match=r"step\.json is of format 99, and this version reads up to 1"):
        load_best(folder, state_of(0).params)


def test_steps_as_orbax_kept_them_before_there_was_step_json_are_read(tmp_path):
    keep = ocp.training.preservation_policies.PreserveAll()
    with ocp.training.Checkpointer(tmp_path / "checkpoints", preservation_policy=keep) as opened:
        for epoch, value in ((1, 0.5), (2, 0.25)):
            state = state_of(epoch)
            trained = {"epoch": state.epoch, "opt_state": state.opt_state}
            metrics = {"value": value, "epoch": epoch}
            opened.save_checkpointables(epoch, {"params": state.params, "trained": trained}, metrics=metrics)
    assert load_best(tmp_path, state_of(0).params)[0] == 1
    state, records = load_latest(tmp_path, state_of(0))
    assert state.epoch == 2 and records == []
