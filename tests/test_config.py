"""Flags become dataclasses, dataclasses become JSON, and wrong values one clear line."""

import dataclasses
import json

import pytest
from absl import flags
from absl.testing import flagsaver
from hypothesis import given
from hypothesis import strategies as st

from ancf_jax import config
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.types import InputError


@dataclasses.dataclass(frozen=True)
class MfConfig:
    factors: int = config.field(64, "width of the embeddings", low=1)
    regularization: float = config.field(0.1, "weight of the squared norms", low=0)


@dataclasses.dataclass(frozen=True)
class GmfConfig:
    factors: int = config.field(8, "width of the embeddings", low=1)
    layers: tuple[int, ...] = config.field((32, 16), "widths of the tower", low=1)
    tied: bool = config.field(False, "one table for both")
    pool: str = config.field("sum", "how the tower ends", ("sum", "mean"))


@dataclasses.dataclass(frozen=True)
class OtherConfig:
    factors: float = config.field(8.0, "a type of its own")


@pytest.fixture
def parse():
    """A function that parses flags; they are gone after the test."""
    with flagsaver.flagsaver():
        config.define_flags(DataConfig, TrainConfig, MfConfig, GmfConfig)
        yield lambda *args: flags.FLAGS(["script", *args])


def test_defaults_without_flags(parse):
    parse()
    for cls in (DataConfig, TrainConfig, MfConfig, GmfConfig):
        assert config.from_flags(cls) == cls()
    assert not config.given_flags() & {"epochs", "factors", "split"}


def test_each_type_of_flag(parse):
    parse("--factors=5", "--layers=4,2", "--tied", "--pool=mean", "--learning_rate=1e-2", "--novalidation")
    assert config.from_flags(GmfConfig) == GmfConfig(5, (4, 2), True, "mean")
    assert config.from_flags(MfConfig) == MfConfig(5, 0.1)
    assert config.from_flags(TrainConfig) == TrainConfig(learning_rate=0.01, validation=False)
    assert {"factors", "layers", "tied", "pool", "learning_rate", "validation"} <= config.given_flags()


def test_a_number_or_auto(parse):
    parse("--min_value=0", "--user_core=3", "--item_core=auto", "--anonymous_ids=", "--drop_items=")
    found = config.from_flags(DataConfig)
    assert (found.min_value, found.user_core, found.item_core, found.anonymous_ids) == (0.0, 3, "auto", ())
    assert found.drop_items == "" and found.clip_quantile == found.returns == "auto"
    assert config.from_json(DataConfig, json.loads(json.dumps(config.to_json(found)))) == found
    parse("--min_value=auto", "--anonymous_ids=auto", "--drop_items=auto", "--returns=auto", "--split=auto")
    assert config.from_flags(DataConfig) == DataConfig(user_core=3)
    parse("--anonymous_ids=-1,guest")
    assert config.from_flags(DataConfig).anonymous_ids == ("-1", "guest")
    assert config.settings_of(DataConfig)["user_core"].default == "auto"


def test_a_flag_set_to_its_default_is_given(parse):
    parse("--epochs=20")
    assert "epochs" in config.given_flags()


def test_flag_file(parse, tmp_path):
    recipe = tmp_path / "mf.flags"
    recipe.write_text("--factors=3\n--epochs=7\n")
    parse(f"--flagfile={recipe}", "--epochs=9")
    assert config.from_flags(MfConfig).factors == 3
    assert config.from_flags(TrainConfig).epochs == 9


def test_flags_of_a_recipe_leave_the_command_line_alone(parse):
    parse("--factors=3", "--epochs=9")
    recipe = flags.FlagValues()
    config.define_flags(MfConfig, TrainConfig, values=recipe)
    recipe(["recipe", "--factors=6"])
    assert config.from_flags(MfConfig, recipe).factors == 6
    assert config.from_flags(TrainConfig, recipe).epochs == TrainConfig().epochs
    assert config.given_flags(recipe) == {"factors"}
    assert config.from_flags(MfConfig).factors == 3


def test_help_says_what_is_legal_and_the_default(parse):
    assert flags.FLAGS["layers"].help == "widths of the tower"
    assert flags.FLAGS["pool"].help == "how the tower ends, one of sum, mean"
    assert flags.FLAGS["tied"].help == "one table for both"


def test_a_flag_that_is_defined_again_is_the_last_ones():
    """So scripts may be imported side by side, whatever type each gives the flag."""
    for cls, value in ((MfConfig, 3), (OtherConfig, 2.5), (GmfConfig, 3)):
        values = flags.FlagValues()
        config.define_flags(MfConfig, OtherConfig, cls, values=values)
        values(["script", f"--factors={value}"])
        assert config.from_flags(cls, values).factors == value


@pytest.mark.parametrize(
    ("cls", "flag", "message"),
    [
        (DataConfig, "--split=x", "'x' is not one of leave-one-out, random, "),
        (DataConfig, "--fractions=0.5,0.2,0.2", "sum to 1"),
        (DataConfig, "--fractions=0.5,0.5", "three numbers"),
        (DataConfig, "--fold=5", "none of --folds=5; legal are 0..4"),
        (DataConfig, "--fractions=1.2,-0.1,-0.1", "1.2 is out of range; legal is at least 0 and at most 1"),
        (DataConfig, "--fractions=a,b,c", "'a' is not a finite number"),
        (DataConfig, "--min_value=few", "'few' is not a finite number or auto"),
        (DataConfig, "--user_core=2.5", "'2.5' is not an integer or auto"),
        (DataConfig, "--clip_quantile=2", "2.0 is out of range; legal is at least 0 and at most 1 or auto"),
        (DataConfig, "--returns=", "'' is not one of match, drop, keep, auto"),
        (TrainConfig, "--epochs=0", "0 is out of range; legal is at least 1"),
        (TrainConfig, "--batch_size=-1", "-1 is out of range"),
        (TrainConfig, "--learning_rate=0", "0.0 is out of range; legal is above 0"),
        (TrainConfig, "--learning_rate=nan", "nan' is not a finite number or auto"),
        (TrainConfig, "--clip=inf", "inf is not a finite number"),
        (GmfConfig, "--layers=4,2.5", "'2.5' is not an integer"),
        (GmfConfig, "--layers=4,0", "0 is out of range"),
    ],
)
def test_illegal_values(parse, cls, flag, message):
    parse(flag)
    with pytest.raises(InputError) as caught:
        config.from_flags(cls)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"flag {flag.partition('=')[0]}:")
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    members: int = config.field(3, "models that are averaged", low=1)
    gmf: GmfConfig = config.nested(GmfConfig(factors=16, tied=True))


def test_the_settings_of_a_nested_config_count_as_the_outer_ones():
    values = flags.FlagValues()
    config.define_flags(EnsembleConfig, values=values)
    assert {"members", "factors", "layers", "tied", "pool"} <= set(values) and "gmf" not in values
    assert values["factors"].help == "width of the embeddings"
    values(["script", "--layers=4", "--notied", "--members=2"])
    assert config.from_flags(EnsembleConfig, values) == EnsembleConfig(2, GmfConfig(16, (4,), False))
    assert config.from_flags(EnsembleConfig, flags.FlagValues()) == EnsembleConfig()
    with pytest.raises(InputError, match="flag --layers: 0 is out of range; legal is at least 1"):
        config.from_json(EnsembleConfig, {"layers": [0]})
    with pytest.raises(InputError, match="'gmf' is not a setting of ensemble; legal are members, factors, layers"):
        config.from_json(EnsembleConfig, {"gmf": {}})


configs = st.builds(
    TrainConfig,
    epochs=st.integers(1),
    learning_rate=st.floats(0, exclude_min=True, allow_infinity=False),
    optimizer=st.sampled_from(["adam", "adagrad", "sgd"]),
    validation=st.booleans(),
    metric=st.text(),
) | st.builds(EnsembleConfig, gmf=st.builds(GmfConfig, layers=st.lists(st.integers(1)).map(tuple)))


@given(configs)
def test_json_round_trip(original):
    assert config.from_json(type(original), json.loads(json.dumps(config.to_json(original)))) == original


def test_from_json_keeps_defaults_and_types():
    assert config.from_json(TrainConfig, {"learning_rate": 1}) == TrainConfig(learning_rate=1.0)
    assert isinstance(config.from_json(TrainConfig, {"learning_rate": 1}).learning_rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"epoch": 3}, "'epoch' is not a setting of train; legal are seed, epochs"),
        ({"epochs": 2.5}, "2.5 is not an integer"),
        ({"epochs": True}, "True is not an integer"),
        ({"epochs": None}, "None is not an integer"),
        ({"validation": "yes"}, "'yes' is not true or false"),
        ({"metric": 3}, "3 is not a text"),
    ],
)
def test_from_json_refuses(values, message):
    with pytest.raises(InputError) as caught:
        config.from_json(TrainConfig, values)
    assert message in str(caught.value)
