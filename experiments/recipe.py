"""Runs by name: a recipe's file, a recipe of a named data set, or a model with its defaults; and what they start from."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.models import MODELS
from ancf_jax.runs.fit import Progress, fit_run
from ancf_jax.runs.run import Run
from ancf_jax.settings import DATASETS
from ancf_jax.types import InputError
from experiments import console, options

START = re.compile(r"\{runs\}/([^/{}]+)/\{seed\}")  # in a recipe, a run that stands beside its own


def arguments_of(name: str, dataset: str) -> list[str]:
    """The flags of the run called `name`: a file's that ends in .flags, a recipe's of a named data set, or a model's.

    Raises InputError if it is none of them.
    """
    if name.endswith(".flags"):
        if not Path(name).is_file():
            raise InputError(f"--models: there is no recipe {name}")
        return [f"--flagfile={name}"]
    recipe = options.RECIPES / f"{dataset}-{name}.flags"
    if dataset in DATASETS and recipe.exists():
        return [f"--flagfile={recipe}"]
    if name not in MODELS and "." not in name:
        known = sorted(path.stem.removeprefix(f"{dataset}-") for path in options.RECIPES.glob(f"{dataset}-*.flags"))
        legal = ", ".join(dict.fromkeys([*MODELS, *(known if dataset in DATASETS else [])]))
        raise InputError(
            f"--models: {name!r} is neither a model nor a recipe for {dataset}; legal are {legal}, a file that ends in "
            ".flags, and package.module of a model of one's own"
        )
    return [f"--model={name}"]


def run_of(name: str, dataset: str, given: Sequence[str], seed: int, runs: Path) -> Run:
    """The run called `name` on `dataset`, with the flags `given` over its own, beside those in the folder `runs`."""
    argv = ["recipe", *arguments_of(name, dataset), *given, f"--seed={seed}"]
    values = flags.FlagValues()
    options.define_run(values, argv)
    values(argv)
    return options.run_from_flags(runs, values)
