"""Flags that several scripts share: which run is trained, and the settings of the model that it names."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.files import at_home
from ancf_jax.models import entry_of
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.types import InputError

if TYPE_CHECKING:
    from ancf_jax.runs.run import Run

DEFAULT = "ancf"
COMPILED = "~/.cache/ancf_jax/compiled"  # programs, which the next process finds there
RECIPES = Path(__file__).parent / "recipes"


def define_run(values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None) -> None:
    """The flags that say what is trained: data, training, and the model's own, which is the one that `argv` names."""
    define_data_and_training(values)
    _define_model(values)
    start = (
        "workdirs whose parameters of the same name and shape start this model; {seed} is --seed, {runs}/NAME/{seed} a "
        "recipe's or model's own run, which is trained first where it is not there"
    )
    flags.DEFINE_list("warm_start", [], start, flag_values=values, allow_override=True)
    define_flags(entry_of(model_in(sys.argv if argv is None else argv)).config, values=values)


def define_data_and_training(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags that say what is trained, whichever model it is."""
    board = "write each epoch's figures as TensorBoard event files to the folder tensorboard of its run"
    flags.DEFINE_boolean("tensorboard", False, board, flag_values=values, allow_override=True)
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
    try:
        start = tuple(path.format(seed=train.seed, runs=runs) for path in values.warm_start)
    except (ValueError, LookupError, AttributeError):
        raise InputError("flag --warm_start: legal in braces are {seed} and {runs}; write {{ for {") from None
    run = Run(values.model, data, config, train, start)
    check_streams(run)
    return run


def watching(folder: Path) -> AbstractContextManager[Any]:
    """What `fit_run` tells of the epochs of a run in this folder: event files, or nothing without --tensorboard."""
    from ancf_jax.runs.boards import event_files  # not above, as Run

    return event_files(folder / "tensorboard") if flags.FLAGS.tensorboard else nullcontext()


def _define_model(values: flags.FlagValues) -> None:
    known = "what is trained, or package.module of a model of one's own"
    flags.DEFINE_string("model", DEFAULT, known, flag_values=values, allow_override=True)


def define_cache() -> None:
    """The flag that `keep_programs` reads."""
    kept = f"keep compiled programs for the next start, in $JAX_COMPILATION_CACHE_DIR or {COMPILED}"
    flags.DEFINE_boolean("compilation_cache", True, kept, allow_override=True)


def keep_programs() -> None:
    """Keep what is compiled for the next process, unless --nocompilation_cache or where nothing can be written."""
    import jax

    kept = flags.FLAGS.compilation_cache
    jax.config.update("jax_enable_compilation_cache", kept)
    if not kept or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = at_home(COMPILED)
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    if os.access(folder, os.W_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
