"""What is tried of every model is legal and holds its defaults; runs with other settings, and starts of one shape."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from ancf_jax.config import Range, settings_of, to_json
from ancf_jax.models import MODELS
from ancf_jax.runs.run import Run, open_data
from ancf_jax.settings import SEARCH, DataConfig, TrainConfig
from ancf_jax.tuning.space import is_whole, of_one_shape, shown, space_of, values_of, with_settings
from ancf_jax.types import ClosedForm, Gradient, InputError

SWEEPS = SimpleNamespace(learn=ClosedForm(1, None, None))
STEPS = SimpleNamespace(learn=Gradient(100, None, None, None, batch=32))
NOTHING = {"popularity", "personal", "random", "global_mean"}  # models without hyperparameters


def run_of(model, **settings):
    return with_settings(Run(model, DataConfig(), MODELS[model].config(), TrainConfig()), settings)


def declared(model):
    """What is tried of a model, if all of it that can be is, and the values that it has."""
    run = run_of(model)
    values = to_json(run.train) | to_json(run.config)
    return {name: each for name, each in {**SEARCH, **MODELS[model].search}.items() if name in values}, values


def values_in(search):
    return search[:2] if isinstance(search, Range) else search


@pytest.mark.parametrize("model", MODELS)
def test_all_that_is_tried_is_legal(model):
    space, start = declared(model)
    for name, each in space.items():
        for value in values_in(each):
            changed = with_settings(run_of(model), {name: value})
            kept = to_json(changed.train) | to_json(changed.config)
            assert kept[name] == (list(value) if isinstance(value, tuple) else value)
            assert {**kept, name: start[name]} == start  # and nothing else has changed
        assert len({shown(value) for value in values_in(each)}) == len(values_in(each)) > 1
    rng = np.random.default_rng(0)
    for _ in range(30):  # all of it together
        with_settings(
            run_of(model), {name: values_in(each)[rng.integers(len(values_in(each)))] for name, each in space.items()}
        )


@pytest.mark.parametrize("model", MODELS)
def test_what_is_tried_holds_the_defaults(model):
    space, start = declared(model)
    for name, each in space.items():
        if name in ("batch_size", "learning_rate"):  # left to the model
            continue
        value = tuple(start[name]) if isinstance(start[name], list) else start[name]
        if isinstance(each, Range):
            assert each.low <= value <= each.high or (each.log and value == 0), name
        else:
            assert value in each, name


@pytest.mark.parametrize("model", MODELS)
def test_a_model_with_hyperparameters_has_a_space_of_them(model):
    own = settings_of(MODELS[model].config)
    assert bool(own) == (model not in NOTHING)
    assert bool(own.keys() & MODELS[model].search.keys()) == bool(own)


def test_what_a_file_declares_is_of_one_of_its_models_or_of_training():
    files = {
        entry.module: [each for each in MODELS.values() if each.module == entry.module] for entry in MODELS.values()
    }
    for entries in files.values():
        names = {name for entry in entries for name in settings_of(entry.config)} | settings_of(TrainConfig).keys()
        assert set(entries[0].search) <= names


def test_the_learning_rate_is_tried_of_gradient_steps_alone():
    assert "learning_rate" in space_of(run_of("mf"), STEPS) and "l2" in space_of(run_of("ease"), SWEEPS)
    assert "tower" not in space_of(run_of("gmf"), STEPS) and space_of(run_of("popularity"), SWEEPS) == {}


def test_the_space_holds_the_settings_that_the_run_has():
    space = space_of(run_of("mf", learning_rate=8.0, factors=192, l2=0.0, batch_size=0), STEPS)
    assert space["learning_rate"] == Range(SEARCH["learning_rate"].low, 8.0, log=True)
    assert space["factors"][-1] == 192 and space["l2"] == MODELS["mf"].search["l2"]  # no logarithm of 0
    assert 32 in space["batch_size"] and 0 not in space["batch_size"]
    assert values_of(run_of("mf"), STEPS)["batch_size"] == 32
    assert space_of(run_of("ease", l2=3.0), SWEEPS)["l2"].low == 3
    assert space_of(run_of("neumf", tower=(8,)), STEPS)["tower"][-1] == (8,)


def test_what_the_other_settings_refuse_is_not_tried():
    free = space_of(run_of("ancf", ordered=False), STEPS)
    assert "encoder" not in free and "encoder" in space_of(run_of("ancf", ordered=True), STEPS)
    assert free["trend"] == ("auto", 0.0) and free["prior_power"] == ("auto", 1.0, 1.2, 1.5)
    joint = space_of(run_of("ancf", ordered=False, joint=True), STEPS)
    assert joint["prior_power"] == ("auto", 1.0) and joint["prior_discount"] == ("auto", 0.0)
    apart = space_of(run_of("ancf", ordered=False, targets=0, joint=False), STEPS)
    assert "layers" not in apart and apart["heads"] == free["heads"]


def test_whole_numbers_are_known():
    assert is_whole(run_of("itemknn"), "neighbours") and is_whole(run_of("mf"), "batch_size")
    assert not is_whole(run_of("mf"), "l2")


def test_a_start_fixes_what_shapes_hang_on(tmp_path):
    rows = "".join(f"{user},{item}\n" for user in range(9) for item in range(user % 3, 7))
    (tmp_path / "log.csv").write_text("user,item\n" + rows)
    run = run_of("mf", factors=4)._replace(data=DataConfig(dataset=str(tmp_path / "log.csv")))
    space = {"factors": (4, 8), "l2": Range(0.001, 0.1), "negatives": (1, 2), "batch_size": (8, 16)}
    assert of_one_shape(run, open_data(run), space) == {name: space[name] for name in ("l2", "negatives", "batch_size")}


def test_a_model_from_outside_declares_what_it_has(tmp_path, monkeypatch):
    code = "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Config:\n    a: float = 1.0\n"
    (tmp_path / "somebodies").mkdir()
    (tmp_path / "somebodies" / "own.py").write_text(code + "SEARCH = {'b': (1, 2)}\nmake = None\n")
    monkeypatch.syspath_prepend(tmp_path)
    import somebodies.own as own

    run = Run("somebodies.own", DataConfig(), own.Config(), TrainConfig())
    with pytest.raises(InputError, match="SEARCH names 'b', which is no setting of it or of training"):
        space_of(run, SWEEPS)
    own.SEARCH = {"a": Range(0.0, 1.0)}
    assert space_of(run, SWEEPS) == own.SEARCH
    del sys.modules["somebodies.own"]


def test_values_are_shown_as_they_are_typed():
    assert [shown(value) for value in (True, False, (64, 32), (), 0.5, 8.0, 3, "bce")] == [
        *("true", "false", "64,32", "none", "0.5", "8", "3", "bce")
    ]
