"""Runs by name: the file of a recipe, one of a named data set, or a model with its defaults; what they start from; and
the recipe of a run."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import given_flags, settings_of, text_of, to_json
from ancf_jax.models import MODELS
from ancf_jax.runs.run import FREE, Run
from ancf_jax.settings import DATASETS
from ancf_jax.types import InputError
from experiments import options

TRIALS = "# trials:"


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
        recipes = sorted(options.RECIPES.glob(f"{dataset}-*.flags")) if dataset in DATASETS else []
        legal = ", ".join(dict.fromkeys([*MODELS, *(path.stem.removeprefix(f"{dataset}-") for path in recipes)]))
        raise InputError(
            f"--models: {name!r} is neither a model nor a recipe for {dataset}; legal are {legal}, a file that ends in "
            ".flags, and package.module of a model of one's own"
        )
    return [f"--model={name}"]


def trials_of(arguments: Sequence[str]) -> int | None:
    """How many settings were compared to find those of the flag file among the arguments, if it says: `# trials: 12`.

    Raises InputError if that is no number.
    """
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = argument.partition("=")
        if name.lstrip("-") != "flagfile" or not name.startswith("-"):
            continue
        path = Path(value if equals else following)
        for line in path.read_text().splitlines():
            if line.startswith(TRIALS):
                number = line.removeprefix(TRIALS).strip()
                if not number.isdecimal():
                    raise InputError(f"--flagfile: {path} has {line!r}; after {TRIALS!r} stands a number, from 0 on")
                return int(number)
    return None


def label_of(name: str) -> str:
    """What a run is called in tables and folders: a file by its name alone."""
    return Path(name).stem if name.endswith(".flags") else name


def given_of(*classes: type) -> list[str]:
    """The flags of these dataclasses that this script was given, but for the seed."""
    names = {name for cls in classes for name in settings_of(cls)} - {"seed"}
    return [flags.FLAGS[name].serialize() for name in sorted(names & given_flags())]


def run_of(name: str, dataset: str, given: Sequence[str], seed: int, runs: Path) -> Run:
    """The run called `name` on `dataset`, with the flags `given` over its own.

    What it starts from stands beside it in the folder `runs`.
    """
    argv = ["recipe", *arguments_of(name, dataset), *given, f"--seed={seed}"]
    values = flags.FlagValues()
    options.define_run(values, argv)
    values(argv)
    return options.run_from_flags(runs, values)


def with_starts(wanted: Mapping[Path, Run], dataset: str, given: Sequence[str], runs: Path) -> dict[Path, Run]:
    """The runs by their folders, and before each what it starts from, if that is RUNS/NAME/SEED and not done yet.

    `given` as in run_of, for the runs that are added.
    """
    found: dict[Path, Run] = {}

    def add(folder: Path, run: Run) -> None:
        for start in map(Path, run.warm_start):
            if start in found or start.parent.parent != runs or not start.name.isdigit():
                continue
            if start in wanted:
                add(start, wanted[start])
            elif not (start / "result.json").exists():
                add(start, run_of(start.parent.name, dataset, given, int(start.name), runs))
        found[folder] = run

    for folder, run in wanted.items():
        if folder not in found:
            add(folder, run)
    return found


def flags_of(run: Run, runs: Path, named: Collection[str] = ()) -> list[str]:
    """The flags of a recipe that is this run: what differs from the defaults, and the settings in `named`.

    The seed is left to whoever runs it, and what it starts from in the folder `runs` is called by its name.
    """
    beside = [Path(start).parent.parent == runs for start in run.warm_start]
    starts = [
        f"{{runs}}/{Path(start).parent.name}/{{seed}}" if here else start
        for start, here in zip(run.warm_start, beside, strict=True)
    ]
    return [
        *_flags(run.data, ("dataset",), FREE["data"]),
        f"--model={run.model}",
        *([f"--warm_start={','.join(starts)}"] if starts else []),
        *_flags(run.config, named),
        *_flags(run.train, named, ("seed",)),
    ]


def _flags(config: Any, always: Collection[str], never: Collection[str] = ()) -> Iterator[str]:
    defaults = {name: setting.default for name, setting in settings_of(type(config)).items()}
    for name, value in to_json(config).items():
        default = list(defaults[name]) if isinstance(defaults[name], tuple) else defaults[name]
        if name in never or (value == default and name not in always):
            continue
        yield f"--{'no' * (not value)}{name}" if isinstance(value, bool) else f"--{name}={text_of(value)}"
