"""Train one model: python -m experiments.train --dataset=ml-100k --model=ancf --workdir=checkpoints/ancf

Reads the data, trains with validation picking the best epoch, tests that epoch and writes result.json. Rerunning the
same command resumes; --flagfile=experiments/recipes/NAME.flags reruns a published figure.
"""

import json
import shlex
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags
from jax.sharding import Mesh

from ancf_jax.config import define_flags, from_flags, reject_foreign
from ancf_jax.data.dataset import Dataset, cleaning, ranked
from ancf_jax.data.read.passes import count_windows, windows
from ancf_jax.devices.sharding import check_batch, connect, shard
from ancf_jax.evaluation.evaluate import make_evaluator, protocol
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.models import MODELS
from ancf_jax.runs import run as workdir
from ancf_jax.settings import DataConfig, EvalConfig, MeshConfig, TrainConfig
from ancf_jax.training import checkpoint
from ancf_jax.training.loop import batch_of, epochs_of, fit, init_state, steps_per_epoch
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import InputError
from experiments import console


def define(values: flags.FlagValues = flags.FLAGS) -> None:
    """The flags that say what is trained: data, training, and every model's own."""
    start = (
        "workdirs whose parameters of the same name and shape start this model; {seed} is --seed, {runs} the folder "
    )
    start += "two above --workdir, where a comparison keeps its runs as MODEL/SEED"
    flags.DEFINE_string("model", "ancf", f"one of {', '.join(MODELS)}", flag_values=values, allow_override=True)
    flags.DEFINE_list("warm_start", [], start, flag_values=values, allow_override=True)
    classes = dict.fromkeys(entry.config for entry in MODELS.values())
    define_flags(DataConfig, TrainConfig, EvalConfig, *classes, values=values)


def run_from_flags(runs: Path, values: flags.FlagValues = flags.FLAGS) -> workdir.Run:
    """The run that the flags describe, beside those in the folder `runs`."""
    name = values.model
    if name not in MODELS:
        raise InputError(f"--model={name} is unknown; legal are {', '.join(MODELS)}")
    config = MODELS[name].config
    reject_foreign(name, config, [entry.config for entry in MODELS.values()], values)
    data, train = from_flags(DataConfig, values), from_flags(TrainConfig, values)
    start = tuple(path.format(seed=train.seed, runs=runs) for path in values.warm_start)
    run = workdir.Run(name, data, from_flags(config, values), train, start)
    workdir.check_streams(run)
    return run


def train(run: workdir.Run, folder: Path, dataset: Dataset, label: str, mesh: Mesh | None = None) -> dict[str, Any]:
    """Train `run` in `folder`, or resume it there; test the best epoch; return what result.json holds."""
    started = time.perf_counter()
    data, model = workdir.build(run, dataset)
    model = shard(model, mesh)
    check_batch(batch_of(model.learn, run.train.batch_size), mesh)
    limits: dict[str, Any] = {"mesh": mesh, "memory_budget": from_flags(EvalConfig).memory_budget}
    on_test = workdir.evaluator_on_test(model, data, dataset, full=False, **limits)  # an empty part is refused here
    if run.train.validation and not len(dataset.valid.users):
        raise InputError("no row is held out for validation: choose --novalidation, or another --split or --fractions")
    workdir.claim(folder, run, dataset.fingerprint)
    checkpoint.write_json(folder / "cleaning.json", cleaning(dataset))
    validate = None
    if run.train.validation:
        candidates = dataset.valid_candidates
        options = limits | {"candidates": candidates, "among": ranked(dataset, dataset.valid)}
        options["repeats"] = dataset.repeats
        evaluator = make_evaluator(model, data, dataset.train, dataset.valid, **options)

        def validate(params):
            metrics = evaluator(params).metrics
            if run.train.metric not in metrics:
                raise InputError(f"--metric={run.train.metric} is unknown; legal are {', '.join(metrics)}")
            return metrics

    # What the engine calls an epoch is one window of a streamed log.
    stream, a_pass = dataset.stream, count_windows(dataset.stream) if dataset.stream else 1
    config = replace(run.train, epochs=run.train.epochs * a_pass, eval_every=run.train.eval_every * a_pass)
    parts: Any = nullcontext()
    if stream is not None:
        parts = windows(stream, config.seed, config.epochs, jax.process_index(), jax.process_count())
    tx = make_optimizer(config, steps_per_epoch(model.learn, config.batch_size) * config.epochs)
    state = init_state(model.learn, tx, run.train.seed, mesh)
    epochs = epochs_of(model.learn, config.epochs)
    with checkpoint.checkpoints(folder) as opened, console.progress(label, epochs) as bar, parts as part:
        resumed = checkpoint.load_latest(opened, state)
        if resumed is None and run.warm_start:
            state = state._replace(params=checkpoint.warm_start(state.params, [Path(w) for w in run.warm_start]))
        state = state if resumed is None else resumed
        records = read_records(folder, int(state.epoch))
        lines = [json.dumps(record) for record in records]

        def report(record):
            if stream is not None:
                done, window = divmod(record["epoch"] - 1, a_pass)
                record = record | {"pass": done + 1, "window": window + 1}
            lines.append(json.dumps(record))
            checkpoint.write_text(folder / "metrics.jsonl", "\n".join(lines) + "\n")
            shown = ("epoch", "pass", "window", "loss", "hr@10", run.train.metric, "seconds")
            bar({name: record[name] for name in dict.fromkeys(shown) if name in record})

        done = fit(
            model,
            dataset.train,
            config,
            state,
            tx,
            validate=validate,
            save=lambda epoch, state, value: checkpoint.save(opened, state, value),
            report=report,
            records=records,
            part=part,
            mesh=mesh,
        )
    best, params = checkpoint.load_best(folder, state.params)
    evaluation = on_test(params)
    workdir.save_users(folder / "users.npz", dataset, evaluation)
    result = {
        "model": run.model,
        "dataset": dataset.name,
        "split": dataset.split,
        "protocol": protocol(dataset.test_candidates, ranked(dataset, dataset.test), dataset.repeats),
        "users_tested": len(evaluation.users),
        "removed": cleaning(dataset)["removed"],
        "seed": run.train.seed,
        "epochs": len(done.records),
        "best_epoch": best,
        "valid": {name: value for name, value in done.records[best - 1].items() if "@" in name or name in ERRORS},
        **evaluation.metrics,
        "training_seconds": sum(record["seconds"] for record in done.records),
        "seconds_per_epoch": float(np.median([record["seconds"] for record in done.records])),  # compiling left out
        "epochs_per_pass": a_pass,
        "rows_per_epoch": getattr(model.learn, "rows", None),  # a sweep has none
        "this_process_seconds": time.perf_counter() - started,
        "command": shlex.join(["python", "-m", "experiments.train", *sys.argv[1:]]),
        "config": workdir.as_json(run),
        **workdir.provenance(),
    }
    checkpoint.write_json(folder / "result.json", result)
    return result


def read_records(folder: Path, epochs: int) -> list[dict[str, float]]:
    """The lines of metrics.jsonl up to the epoch that training resumes from."""
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [record for record in records if record["epoch"] <= epochs]


def main() -> dict[str, Any]:
    """Train, and print the test metrics."""
    mesh = connect(from_flags(MeshConfig))
    folder = Path(flags.FLAGS.workdir or f"checkpoints/{flags.FLAGS.model}")
    run = run_from_flags(folder.parent.parent)
    dataset = workdir.open_data(run)
    describe(dataset)
    result = train(run, folder, dataset, run.model, mesh)
    names = [name for name in result if "@" in name or name in ("mrr", "auc", *ERRORS)]
    rows = [(name, result["valid"].get(name), result[name]) for name in names]
    console.table(
        ("metric", "validation", "test"), rows, f"{run.model}, epoch {result['best_epoch']}; {result['protocol']}"
    )
    print(f"wrote {folder}/result.json")
    return {name: value for name, value in result.items() if name not in ("config", "versions")}


def describe(dataset: Dataset) -> None:
    """Say what was read, dropped, changed and split."""
    done = cleaning(dataset)
    for sentence in dataset.inferred:
        print(sentence)
    for what, counts in (("dropped", done["removed"]), ("changed", done["changed"])):
        for rule, rows in counts.items():
            print(f"{what} {rows:,} rows: {rule}")
    if done["removed"]:
        print(f"kept {done['kept']:,} of {done['read']:,} rows")
    rows = {name: len(getattr(dataset, name).users) for name in ("train", "valid", "test")}
    if dataset.stream is not None:
        print(f"{rows['train']:,} training rows stay in memory; a pass is {count_windows(dataset.stream):,} windows")
        rows["train"] = int(dataset.stream.rows.sum())
    sizes = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    for side, features in (("item", dataset.features), ("user", dataset.user_features)):
        if features is not None:
            kinds = ", ".join(f"{count:,} of {kind}" for kind, count in features.kinds.items())
            again = f"; {features.repeated:,} rows of the table repeat an id, and the first counts" * (
                features.repeated > 0
            )
            print(f"{side} features: columns {kinds}; {features.missing:,} {side}s have none{again}")
    print(f"{dataset.name}: {len(dataset.user_ids):,} users, {len(dataset.item_ids):,} items; {dataset.split}: {sizes}")


if __name__ == "__main__":
    define()
    define_flags(MeshConfig)
    flags.DEFINE_string("workdir", "", "where the run is kept; checkpoints/MODEL if empty")
    console.run(main)
