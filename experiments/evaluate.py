"""Evaluate: python -m experiments.evaluate --workdir=checkpoints/ancf --protocol=full

Evaluates the best checkpoint of a trained run again, on its test or validation part, by the data set's own protocol or
another, with 95% intervals over users. The run's own result.json and users.npz stay as they are.
"""

from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.settings import EvalConfig, MeshConfig
from ancf_jax.types import InputError
from experiments import console


def define() -> None:
    """Which model, on what, and how."""
    define_flags(MeshConfig, EvalConfig)
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if not where they were", allow_override=True)
    flags.DEFINE_enum("part", "test", ["test", "valid"], "the part of the data", allow_override=True)
    flags.DEFINE_enum(
        "protocol",
        None,
        ["full", "ncf"],
        "full ranks all items (of a split by items the new ones), ncf the data set's candidates; its own if not given",
        allow_override=True,
    )


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.data.dataset import ranked
from ancf_jax.devices.sharding import connect
from ancf_jax.evaluation.evaluate import protocol
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.evaluation.stats import bootstrap_interval
from ancf_jax.runs.results import evaluator_of
from ancf_jax.runs.run import open_trained

# those with an interval
MAIN = ("hr@10", "ndcg@10", "gndcg@10", "recall@20", "ndcg@20", "mrr", "auc", *ERRORS, "ips", "snips")


def main() -> dict[str, Any]:
    """Evaluate, and print the metrics with their intervals."""
    options = flags.FLAGS
    if not options.workdir:
        raise InputError("--workdir is missing: the folder of a trained run")
    mesh = connect(from_flags(MeshConfig))
    console.status(f"reading {options.workdir} and its data ...")
    run, dataset, data, model, params = open_trained(Path(options.workdir), options.data_dir, mesh)
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
    limits: dict[str, Any] = {"mesh": mesh, "memory_budget": from_flags(EvalConfig).memory_budget}
    evaluator = evaluator_of(options.part, model, data, dataset, full=candidates is None, **limits)
    console.say(f"{run.model} on the {options.part} part of {dataset.name}", protocol(candidates, among))
    evaluation = evaluator(params)
    per_user = evaluation.per_user
    intervals = {name: bootstrap_interval(per_user[name]) for name in MAIN if name in per_user}
    rows = [(name, value, _interval(intervals.get(name))) for name, value in evaluation.metrics.items()]
    title = f"over {len(evaluation.users):,} users"
    console.table(("metric", "mean", "95% interval over users"), rows, title)
    return {
        "model": run.model,
        "dataset": dataset.name,
        "split": dataset.split,
        "part": options.part,
        "protocol": protocol(candidates, among),
        "users": len(evaluation.users),
        **evaluation.metrics,
        "intervals": intervals,
    }


def _interval(interval: tuple[float, float] | None) -> str | None:
    return None if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


if __name__ == "__main__":
    console.run(define, main)
