"""Train a run, in a folder that it resumes from or in memory alone, and test its best epoch."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from ancf_jax import files
from ancf_jax.config import AUTO, Auto
from ancf_jax.data.dataset import Dataset, cleaning, fold_validation, ranked
from ancf_jax.data.interactions import select
from ancf_jax.data.read.passes import count_windows, windows
from ancf_jax.data.read.sources import sums_of
from ancf_jax.devices import memory
from ancf_jax.devices.sharding import axis_size, check_batch, is_first, shard
from ancf_jax.evaluation.evaluate import Evaluation, protocol
from ancf_jax.files import locked
from ancf_jax.runs.folder import begin, emptied
from ancf_jax.runs.knowledge import rows_of, seconds_of, trains_again, what_is_known
from ancf_jax.runs.records import old_records, write_records
from ancf_jax.runs.results import DEFAULT, evaluator_of, provenance, reported, save_users
from ancf_jax.runs.run import WHOLE, Run, as_json, as_kept, build, check_claim
from ancf_jax.settings import EvalConfig
from ancf_jax.training import ahead, checkpoint
from ancf_jax.training.batches import batch_of, steps_per_epoch
from ancf_jax.training.loop import fit, init_state, last_epoch, settled
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.training.steps import steps_in
from ancf_jax.types import Data, Gradient, InputError, Params, Recommender, shapes_of

Report = Callable[[dict[str, Any]], None]  # is given the record of each epoch
SHOWN = ("epoch", "pass", "window", "loss", "hr@10")  # of a record, and the metric that picks the epoch
USERS = "users.npz"
MOMENTS = {"adam": 2, "adagrad": 1, "sgd": 0}  # numbers that an optimizer keeps of every parameter
AT_ONCE = 25_000_000  # pairs of user and item that validation scores, unless it is asked for more
LEAST_VALIDATED = 1000  # users; with fewer the best epoch is picked by chance
TIMES = ("epoch", "pass", "window", "seconds", "loss")  # of a record, and beside them the metrics of validation
Judge = Callable[[Params], Evaluation]
Progress = Callable[[int], AbstractContextManager[Report]]  # epochs -> what is told of each


def silent(epochs: int) -> AbstractContextManager[Report]:
    """No progress."""
    return nullcontext(lambda record: None)


class Trained(NamedTuple):
    """A run that is done: by what it was trained on last, which holds the validation part if it was trained again."""

    run: Run
    dataset: Dataset
    data: Data
    model: Recommender
    params: Params  # of the best epoch
    per_user: dict[str, np.ndarray]  # the test metrics of every user tested
    result: dict[str, Any]  # what result.json holds


def fit_run(
    run: Run,
    dataset: Dataset,
    folder: Path | None = None,
    *,
    evaluation: EvalConfig = DEFAULT,
    mesh: Mesh | None = None,
    progress: Progress = silent,
    watch: Report | None = None,
    command: str = "",
    trials: int | None = None,
) -> Trained:
    """Train `run` in `folder`, or resume it there, and test the best epoch; without a folder nothing is written.

    `progress` is given the number of epochs, and yields what is told of each; `watch` is told all that is known of it,
    the line of metrics.jsonl. `command` and `trials`, how many settings were compared to find these, are kept in the
    result. Raises InputError as `set_up` does, before anything is written, and what `fit` raises.
    """
    started = time.perf_counter()
    data, model, on_test, on_valid = set_up(run, dataset, evaluation, mesh)
    run = run._replace(train=settled(run.train, model.learn))
    with nullcontext() if folder is None or not is_first() else locked(folder):
        best, params, records, a_pass = learn(
            run, dataset, model, on_valid, folder, mesh=mesh, progress=progress, watch=watch
        )
        seconds = [record["seconds"] for record in records if record["epoch"]]
        result = {
            "model": run.model,
            "dataset": dataset.name,
            "split": dataset.split,
            "protocol": protocol(dataset.test_candidates, ranked(dataset, dataset.test), dataset.repeats),
            "knows": what_is_known(run, model),
            "reads_order": model.order,
            "rows": rows_of(run, dataset),
            "removed": cleaning(dataset)["removed"],
            "data": dataset.fingerprint,
            "sha256_of": sums_of(run.data),
            "seed": run.train.seed,
            "epochs": int(records[-1]["epoch"]),
            "best_epoch": best,
            "valid": {
                name: value
                for record in records
                if record["epoch"] == best
                for name, value in record.items()
                if name not in TIMES
            },
            "users_validated": users_validated(run, dataset),
            "evaluation": reported(evaluation),
            "training_seconds": sum(seconds),
            "seconds_per_epoch": float(np.median(seconds)),  # compiling left out
            "epochs_per_pass": a_pass,
            "rows_per_epoch": getattr(model.learn, "rows", None),  # a sweep has none
            "starts_from": [Path(start).parent.name for start in run.warm_start],
            "start_seconds": sum(seconds_of(Path(start)) for start in run.warm_start),
            "trials": trials,
            "command": command,
            "config": as_json(run),
            **provenance(),
        }
        if trains_again(run, model):
            later = replace(run.train, validation=False, until=best // a_pass)
            inside = None if folder is None else emptied(folder / WHOLE, later.until)
            options: dict[str, Any] = {"evaluation": evaluation, "mesh": mesh, "progress": progress, "command": command}
            again = fit_run(run._replace(train=later), fold_validation(dataset), inside, trials=trials, **options)
            run, dataset, data, model, params, per_user = again[:6]
            metrics = {name: value for name, value in again.result.items() if name not in result}
            result |= metrics | {
                "trained_again": True,
                "training_seconds": result["training_seconds"] + again.result["training_seconds"],
            }
            if folder is not None:
                files.replace(folder / USERS, lambda file: file.write((folder / WHOLE / USERS).read_bytes()))
        else:
            tested = on_test(params)
            per_user = tested.per_user
            result |= {"users_tested": len(tested.users), **tested.metrics}
            if folder is not None:
                save_users(folder / USERS, dataset, tested)
        result["this_process_seconds"] = time.perf_counter() - started
        if folder is not None:
            checkpoint.write_json(folder / "result.json", files.sealed(result))
        return Trained(run, dataset, data, model, params, per_user, result)


def prepare(
    run: Run, dataset: Dataset, evaluation: EvalConfig = DEFAULT, mesh: Mesh | None = None
) -> tuple[Data, Recommender, Judge | None]:
    """What a run is trained with: the data, the model, and its evaluator on the validation part, if it goes by that.

    The test part is not read. Raises InputError for settings that do not fit the model or the data.
    """
    data, model = build(run, dataset)
    model = shard(model, mesh)
    check_batch(batch_of(model.learn, run.train.batch_size), mesh)
    return data, model, validator(run, dataset, data, model, evaluation, mesh) if run.train.validation else None


def validator(
    run: Run, dataset: Dataset, data: Data, model: Recommender, evaluation: EvalConfig, mesh: Mesh | None = None
) -> Judge:
    """The evaluator of a model on the run's validation part. Raises InputError if that is empty, or for the metric."""
    if not len(dataset.valid.users):
        raise InputError("no row is held out for validation: choose --novalidation, or another --split or --fractions")
    dataset = validated(dataset, run.train.validate_users, run.data.split_seed)
    as_learnt = replace(evaluation, clip_predictions=False)  # what is learnt hangs on no setting of evaluation
    options: dict[str, Any] = {"knows": run.train.knows, "metric": run.train.metric, "mesh": mesh}
    return evaluator_of("valid", model, data, dataset, as_learnt, **options)


def validated(dataset: Dataset, users: int | Auto, seed: int) -> Dataset:
    """The data set with the part of validation that is ranked: of all users who are in it, or of a random sample.

    `users` is --validate_users. All models of one data set and one split are validated on the same users.
    """
    part, everyone = dataset.valid, np.unique(dataset.valid.users)
    if users == AUTO:
        pairs = len(dataset.item_ids) if dataset.valid_candidates is None else dataset.valid_candidates.shape[1]
        count = max(AT_ONCE // pairs, LEAST_VALIDATED)
    else:
        count = users or len(everyone)
    if count >= len(everyone) or ranked(dataset, part) is not None:  # new items are ranked among all that are held out
        return dataset
    chosen = np.isin(part.users, np.random.default_rng(seed).choice(everyone, count, replace=False))
    candidates = None if dataset.valid_candidates is None else dataset.valid_candidates[chosen]
    return dataset._replace(valid=select(part, chosen), valid_candidates=candidates)


def users_validated(run: Run, dataset: Dataset) -> int:
    """How many users validation ranks for; 0 without validation."""
    if not run.train.validation:
        return 0
    return len(np.unique(validated(dataset, run.train.validate_users, run.data.split_seed).valid.users))


def check_tables(run: Run, model: Recommender, mesh: Mesh | None) -> None:
    """Raises InputError if the model's parameters, and the moments that its optimizer keeps of them, do not fit."""
    moments = MOMENTS[run.train.optimizer] if isinstance(model.learn, Gradient) else 0
    size = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes_of(model)))
    need = size * (1 + moments) // axis_size(mesh, "model")
    memory.check_memory(run.model, need, f"the parameters, {size / 2**30:.3g} GiB, and {moments} moments of each,")


def set_up(
    run: Run, dataset: Dataset, evaluation: EvalConfig = DEFAULT, mesh: Mesh | None = None
) -> tuple[Data, Recommender, Judge, Judge | None]:
    """What `prepare` gives, and what evaluates the test part. Raises InputError as it does."""
    data, model, on_valid = prepare(run, dataset, evaluation, mesh)
    # Empty parts and metrics that are none are refused here; a metric of one's own that picks the epoch is tested too.
    own = run.train.metric if ":" in run.train.metric else ""
    on_test = evaluator_of("test", model, data, dataset, evaluation, knows=run.train.knows, metric=own, mesh=mesh)
    return data, model, on_test, on_valid


def learn(
    run: Run,
    dataset: Dataset,
    model: Recommender,
    on_valid: Judge | None,
    folder: Path | None = None,
    *,
    mesh: Mesh | None = None,
    progress: Progress = silent,
    watch: Report | None = None,
    stop: Callable[[], bool] | None = None,
) -> tuple[int, Params, list[dict[str, float]], int]:
    """Train: the best epoch, its parameters, the records of all epochs, and how many of these are a pass of the log.

    Arguments as of fit_run and training.loop.fit; raises what the latter does.
    """
    # What the engine calls an epoch is one window of a streamed log.
    stream, a_pass = dataset.stream, count_windows(dataset.stream) if dataset.stream else 1
    config = settled(run.train, model.learn)
    config = replace(config, **{name: getattr(config, name) * a_pass for name in ("epochs", "eval_every", "until")})
    epochs = int(config.epochs)
    parts: Any = nullcontext()
    if stream is not None:
        parts = windows(stream, config.seed, epochs, jax.process_index(), jax.process_count())
    tx = make_optimizer(config, steps_per_epoch(model.learn, config.batch_size) * epochs)
    check_tables(run, model, mesh)
    ranks_first = getattr(model.learn, "ranks", False) and on_valid is not None and not (folder and steps_in(folder))
    run_epoch = ahead.compiling(model, config, tx) if ranks_first and stream is None and mesh is None else None
    state = init_state(model, tx, run.train.seed, mesh)
    kept = checkpoint.in_memory()
    if folder is not None:
        check_claim(folder, run, dataset.fingerprint)
        kept = checkpoint.in_folder(folder, run=as_kept(run, dataset.fingerprint))
    with progress(last := last_epoch(model.learn, config)) as told, parts as part:
        resumed, records = kept.latest(state) or (None, [])
        if resumed is None and run.warm_start:
            state = state._replace(params=checkpoint.warm_start(state.params, [Path(w) for w in run.warm_start]))
        state = state if resumed is None else resumed
        if (done := int(state.epoch)) > last:
            raise InputError(f"flag --epochs: {done} epochs are trained already; legal are at least as many")
        if folder is not None:
            if resumed is not None and not records:
                records = old_records(folder, done)
            begin(folder, run, dataset)
            write_records(folder, records)

        lines = list(records)

        def named(record: dict[str, Any]) -> dict[str, Any]:
            if stream is None:
                return record
            over, window = divmod(record["epoch"] - 1, a_pass)
            return record | {"pass": over + 1, "window": window + 1}

        def report(record: dict[str, Any]) -> None:
            lines.append(record := named(record))
            if folder is not None:
                write_records(folder, lines)
            if watch is not None:
                watch(record)
            shown = dict.fromkeys((*SHOWN, run.train.metric, "seconds"))
            told({name: record[name] for name in shown if name in record})

        trained = fit(
            model,
            config,
            state,
            tx,
            validate=None if on_valid is None else lambda params: on_valid(params).metrics,
            save=lambda state, value, records: kept.save(state, value, [*map(named, records)]),
            report=report,
            records=records,
            part=part,
            stop=stop,
            run_epoch=run_epoch,
            mesh=mesh,
        )
    best, params = kept.best(state.params)
    if best != trained.best:
        raise InputError(f"{folder}: the best checkpoint, of epoch {trained.best}, was lost; rerun to train it again")
    return best, params, trained.records, a_pass
