"""A workdir belongs to one run: what is refused, what may change, and the run rebuilt from it."""

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.dataset import known_interactions
from ancf_jax.files import read_json
from ancf_jax.models import MODELS
from ancf_jax.models.factors import mf
from ancf_jax.runs.run import Run, as_kept, build, claim, from_workdir, open_data, open_trained
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.training import checkpoint
from ancf_jax.training.loop import TrainState
from ancf_jax.types import InputError, Query, shapes_of

TRAIN = TrainConfig(epochs=20, learning_rate=0.001, schedule="constant")
RUN = Run("neumf", DataConfig(dataset="log.csv"), MODELS["neumf"].config(tower=(8, 4)), TRAIN)


def changed(run, part, **values):
    return run._replace(**{part: dataclasses.replace(getattr(run, part), **values)})


def held(workdir, fingerprint="abc"):
    """A workdir of RUN with a checkpoint, and what its config.json holds."""
    claim(workdir, RUN, fingerprint)
    (workdir / "checkpoints" / "1").mkdir(parents=True)
    return read_json(workdir / "config.json")


@pytest.mark.parametrize(
    "run",
    [
        RUN,
        RUN._replace(warm_start=("a/gmf", "b/mlp")),
        changed(changed(RUN, "data", fractions=(0.8, 0.1, 0.1)), "train", schedule="cosine", validation=False),
        *(Run(name, DataConfig(), entry.config(), TrainConfig()) for name, entry in MODELS.items()),
    ],
    ids=lambda run: run.model,
)
def test_config_json_round_trip(tmp_path, run):
    claim(tmp_path, run, "0123abcd")
    assert from_workdir(tmp_path) == (run, "0123abcd")


def test_from_workdir_may_read_the_data_from_elsewhere(tmp_path):
    claim(tmp_path, RUN, "0123abcd")
    run, _ = from_workdir(tmp_path, data_dir="elsewhere")
    assert run == changed(RUN, "data", data_dir="elsewhere")


@pytest.mark.parametrize(
    ("other", "fingerprint", "message"),
    [
        (RUN._replace(model="gmf", config=MODELS["gmf"].config()), "abc", "model is 'neumf' there and 'gmf' here"),
        (changed(RUN, "data", dataset="new.csv"), "abc", "dataset is 'log.csv' there and 'new.csv' here"),
        (changed(RUN, "data", min_value=2.0), "abc", "min_value is 'auto' there and 2.0 here"),
        (RUN, "xyz", "data set is 'abc' there and 'xyz' here"),
        (changed(RUN, "train", seed=1), "abc", "seed is 0 there and 1 here"),
        (changed(RUN, "train", learning_rate=0.5), "abc", "learning_rate is 0.001 there and 0.5 here"),
        (changed(RUN, "config", tower=(8,)), "abc", r"tower is \[8, 4\] there and \[8\] here"),
        (RUN._replace(warm_start=("gmf",)), "abc", r"warm_start is \[\] there and \['gmf'\] here"),
    ],
)
def test_claim_refuses_another_run_and_names_what_differs(tmp_path, other, fingerprint, message):
    held(tmp_path)
    before = (tmp_path / "config.json").read_text()
    with pytest.raises(InputError, match=f"--workdir: .* holds another run: {message}; choose another workdir"):
        claim(tmp_path, other, fingerprint)
    assert (tmp_path / "config.json").read_text() == before


def test_claim_allows_more_epochs_patience_and_a_moved_data_dir(tmp_path):
    claim(tmp_path, RUN, "abc")
    longer = changed(changed(RUN, "train", epochs=99, patience=0), "data", data_dir="moved")
    claim(tmp_path, longer, "abc")
    assert from_workdir(tmp_path) == (longer, "abc")


def test_a_setting_that_config_json_does_not_name_yet_has_its_default(tmp_path):
    stored = held(tmp_path)
    del stored["train"]["precision"], stored["data"]["min_value"], stored["config"]["dropout"]
    (tmp_path / "config.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match="precision is 'float32' there and 'bfloat16' here; choose another workdir"):
        claim(tmp_path, changed(RUN, "train", precision="bfloat16"), "abc")
    claim(tmp_path, RUN, "abc")
    assert json.loads((tmp_path / "config.json").read_text())["train"]["precision"] == "float32"


def test_from_workdir_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(InputError, match=r"config\.json does not exist; train a model there first"):
        from_workdir(tmp_path)
    stored = held(tmp_path)
    for change, message in (
        ({"model": "oracle"}, "--model=oracle is unknown; legal are popularity, "),
        ({"model": 5}, "config.json is damaged: 'model' is missing or no str"),
        ({"version": 99}, "config.json is of format 99, and this version reads up to 3"),
        ({"novel": 1}, "config.json: 'novel' is unknown to this version"),
        ({"train": stored["train"] | {"novel": 1}}, "config.json: 'novel' is not a setting of train"),
        ({"data": stored["data"] | {"folds": "many"}}, "config.json: flag --folds: 'many' is not an integer"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(stored | change))
        with pytest.raises(InputError, match=message):
            from_workdir(tmp_path)


def test_a_run_that_has_saved_nothing_does_not_hold_its_workdir(tmp_path):
    claim(tmp_path, RUN, "abc")
    claim(tmp_path, changed(RUN, "train", seed=1), "abc")
    assert from_workdir(tmp_path)[0].train.seed == 1


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_a_lost_config_json_is_taken_from_the_checkpoints(trained, damage):
    folder = trained[0]
    expected = from_workdir(folder)
    damage(folder / "config.json")
    assert from_workdir(folder) == expected


@pytest.mark.parametrize("key", ["learning_rate", "seed", "fingerprint"])
def test_a_digit_that_changed_in_config_json_is_found(tmp_path, key):
    held(tmp_path, "abc0")
    path = tmp_path / "config.json"
    path.write_text(re.sub(rf'("{key}": \D*)\d', r"\g<1>7", path.read_text()))
    with pytest.raises(InputError, match=r"config\.json is damaged: it does not fit its \"sha256\""):
        from_workdir(tmp_path)


@pytest.fixture
def trained(tmp_path):
    """The workdir of a popularity model trained on a file of three users with four purchases each."""
    log = tmp_path / "log.csv"
    log.write_text("user,item\n" + "".join(f"{user},{(user + n) % 5}\n" for n in range(4) for user in range(3)))
    run = Run("popularity", DataConfig(dataset=str(log)), MODELS["popularity"].config(), TrainConfig())
    dataset = open_data(run)
    claim(tmp_path / "run", run, dataset.fingerprint)
    _, model = build(run, dataset)
    params = model.learn.sweep(model.learn.init(jax.random.key(0), model.given), model.given, jax.random.key(0))
    kept = as_kept(run, dataset.fingerprint)
    checkpoint.save(tmp_path / "run", TrainState(jnp.int32(1), params, ()), 0.5, run=kept)
    return tmp_path / "run", log


def test_open_trained_rebuilds_data_model_and_parameters(trained):
    run, dataset, data, model, params = open_trained(trained[0])
    assert run.model == "popularity" and (data.num_users, data.num_items) == (3, 5)
    counts = np.bincount(dataset.train.items, minlength=5)
    np.testing.assert_array_equal(params["tables"]["item"][:, 0], [*counts, 0])
    query = Query(jnp.zeros(1, jnp.int32), jnp.zeros((1, 0), jnp.int32), jnp.zeros((1, 0)))
    np.testing.assert_array_equal(model.score(params, query), [counts])


def test_the_model_is_built_in_the_arithmetic_of_the_run(trained, monkeypatch):
    run = from_workdir(trained[0])[0]._replace(model="mf", config=MODELS["mf"].config(factors=2))
    made, make = [], mf.make
    monkeypatch.setattr(mf, "make", lambda *args: made.append(make(*args)) or made[-1])
    dataset = open_data(run)
    assert build(run, dataset)[1] is made[0]
    _, model = build(changed(run, "train", precision="bfloat16"), dataset)
    ready = jax.eval_shape(model.prepare, shapes_of(model), model.given)
    assert {leaf.dtype for leaf in jax.tree.leaves(ready)} == {jnp.bfloat16.dtype}


@pytest.mark.parametrize("setting", [{"lazy_rows": True}, {"precision": "bfloat16"}])
def test_settings_of_gradient_steps_are_refused_for_sweeps(trained, setting):
    run = from_workdir(trained[0])[0]
    with pytest.raises(InputError, match=f"flag --{next(iter(setting))}: .*popularity learns in sweeps"):
        build(changed(run, "train", **setting), open_data(run))


def test_open_trained_refuses_changed_data(trained):
    folder, log = trained
    log.write_text(log.read_text() + "2,1\n")
    with pytest.raises(InputError, match=r"was trained on other data than --dataset=.*log\.csv holds now"):
        open_trained(folder)


def test_what_is_known_and_what_is_trained_on(trained):
    run = from_workdir(trained[0])[0]
    dataset = open_data(run)
    log = [[(user + n) % 5 for n in range(4)] for user in range(3)]
    assert dataset.train.items.reshape(3, 2).tolist() == [row[:2] for row in log]
    known = known_interactions(dataset)
    assert known.items.reshape(3, 3).tolist() == [row[:3] for row in log]
    whole = open_data(changed(run, "train", validation=False))
    assert whole.train.items.reshape(3, 3).tolist() == [row[:3] for row in log]
    assert len(whole.valid.users) == 0 and whole.fingerprint == dataset.fingerprint
