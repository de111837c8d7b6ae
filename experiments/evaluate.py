"""Evaluate: python -m experiments.evaluate --workdir=checkpoints/ancf --protocol=full

Evaluates the best checkpoint of a trained run again, on its test or validation part, by the data set's own protocol or
another, with 95% intervals over users. The run's own result.json and users.npz stay as they are.
--per_user=FILE.parquet keeps the values of every user.
"""

from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.settings import EvalConfig
from ancf_jax.types import InputError
from experiments import console
from experiments.options import define_cache, keep_programs


def define() -> None:
    """Which model, on what, and how."""
    define_flags(MeshConfig, EvalConfig)
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if not where they were", allow_override=True)
    flags.DEFINE_enum("part", "test", ["test", "valid"], "the part of the data", allow_override=True)
    flags.DEFINE_string("per_user", "", "a .parquet file for every user's values, by own ids", allow_override=True)
    flags.DEFINE_enum(
        "protocol",
        None,
        ["full", "ncf"],
        "full ranks all items (of a split by items the new ones), ncf the data set's candidates; its own if not given",
        allow_override=True,
    )
    define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import numpy as np
import pandas as pd

from ancf_jax.data.dataset import Dataset, ranked
from ancf_jax.devices.sharding import connect, is_first
from ancf_jax.evaluation.evaluate import Evaluation, protocol
from ancf_jax.evaluation.stats import bootstrap_intervals
from ancf_jax.runs.results import evaluator_of
from ancf_jax.runs.run import open_trained


def main() -> dict[str, Any]:
    """Evaluate, and print the metrics with their intervals."""
    options = flags.FLAGS
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    exported = Path(options.per_user) if options.per_user else None
    if exported and (exported.suffix != ".parquet" or not exported.parent.is_dir()):
        raise InputError(f"flag --per_user: {exported} is no .parquet file in a folder that exists")
    keep_programs()
    mesh = connect(from_flags(MeshConfig))
    console.status(f"reading {options.workdir} and its data ...")
    opened = open_trained(Path(options.workdir), options.data_dir, mesh, whole=options.part == "test")
    run, dataset, data, model, params = opened
    if options.part == "valid" and not run.train.validation:
        raise InputError(
            f"--part=valid: {options.workdir} was trained with --novalidation, so on its validation part too; "
            "legal is --part=test"
        )
    candidates = dataset.test_candidates if options.part == "test" else dataset.valid_candidates
    if options.protocol == "ncf" and candidates is None:
        raise InputError(f"--protocol=ncf: {dataset.name} comes without candidates; legal is --protocol=full")
    if options.protocol == "full":
        candidates = None
    among = ranked(dataset, getattr(dataset, options.part))
    config = from_flags(EvalConfig)
    evaluator = evaluator_of(
        options.part, model, data, dataset, config, knows=run.train.knows, full=candidates is None, mesh=mesh
    )
    how = protocol(candidates, among, dataset.repeats)
    console.say(f"{run.model} on the {options.part} part of {dataset.name}", how)
    evaluation = evaluator(params)
    bounds = bootstrap_intervals(list(evaluation.per_user.values()))
    intervals = dict(zip(evaluation.per_user, map(tuple, bounds.tolist()), strict=True))
    rows = [(name, value, _interval(intervals.get(name))) for name, value in evaluation.metrics.items()]
    title = f"over {len(evaluation.users):,} users"
    console.table(("metric", "mean", "95% interval over users"), rows, title)
    if exported:
        export(exported, dataset, evaluation)
    return {
        "model": run.model,
        "dataset": dataset.name,
        "split": dataset.split,
        "part": options.part,
        "protocol": how,
        "users": len(evaluation.users),
        **evaluation.metrics,
        "intervals": intervals,
    }


def export(path: Path, dataset: Dataset, evaluation: Evaluation) -> None:
    """Write the values behind the means as a table: the users' own ids, and a column a metric."""
    users = {"user": np.asarray(dataset.user_ids)[evaluation.users]}
    if is_first():
        try:
            pd.DataFrame(users | evaluation.per_user).to_parquet(path, index=False)
        except OSError as error:
            raise InputError(f"flag --per_user: {path}: {error.strerror or error}") from error
    print(f"wrote {path}: {len(evaluation.users):,} rows, column user and one a metric")


def _interval(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


if __name__ == "__main__":
    console.run(define, main)
