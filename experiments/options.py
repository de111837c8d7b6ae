"""Flags that several scripts share: which run is trained, and the settings of the model that it names."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.models import entry_of
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig

if TYPE_CHECKING:
    from ancf_jax.runs.run import Run

DEFAULT = "ancf"
RECIPES = Path(__file__).parent / "recipes"


def define_run(values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None) -> None:
    """The flags that say what is trained: data, training, and the model's own, which is the one that `argv` names."""
    define_data_and_training(values)
    _define_model(values)
    start = (
        "workdirs whose parameters of the same name and shape start this model; {seed} is --seed, {runs} the folder "
        "two above --workdir, where a comparison keeps its runs as MODEL/SEED"
    )
    flags.DEFINE_list("warm_start", [], start, flag_values=values, allow_override=True)
    define_flags(entry_of(model_in(sys.argv if argv is None else argv)).config, values=values)


def define_data_and_training(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags that say what is trained, whichever model it is."""
    define_flags(DataConfig, TrainConfig, EvalConfig, values=values)


def model_in(argv: Sequence[str]) -> str:
    """The model that a command line or a flag file in it names."""
    alone = flags.FlagValues()
    _define_model(alone)
    alone(list(argv), known_only=True)
    return alone.model


def run_from_flags(runs: Path, values: flags.FlagValues = flags.FLAGS) -> "Run":
    """The run that the flags describe, beside those in the folder `runs`."""
    from ancf_jax.runs.run import Run, check_streams  # not above: flags are defined, and help answered, without it

    data, train = from_flags(DataConfig, values), from_flags(TrainConfig, values)
    config: Any = from_flags(entry_of(values.model).config, values)
    start = tuple(path.format(seed=train.seed, runs=runs) for path in values.warm_start)
    run = Run(values.model, data, config, train, start)
    check_streams(run)
    return run


def _define_model(values: flags.FlagValues) -> None:
    known = "what is trained, or package.module of a model of one's own"
    flags.DEFINE_string("model", DEFAULT, known, flag_values=values, allow_override=True)
