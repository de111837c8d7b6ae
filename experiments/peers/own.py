"""Our side of a benchmark: python -m experiments.peers.own, which experiments.benchmark starts and talks to."""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ancf_jax.config import from_json, to_json
from ancf_jax.data.dataset import Dataset
from ancf_jax.models import entry_of
from ancf_jax.profiling import profile
from ancf_jax.profiling.trace import operations
from ancf_jax.runs.results import evaluator_of, provenance
from ancf_jax.runs.run import Run, build, open_data
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.training.batches import batch_of
from ancf_jax.training.loop import settled
from ancf_jax.types import Data, InputError, Recommender
from experiments.peers.protocol import CALLS, Commands, seconds_of, serve


def setup(work: dict[str, Any]) -> tuple[dict[str, Any], Commands]:
    """Build the job that `work` describes and say how much one run does; then the commands to come.

    go: run once. metrics [PATH]: the full ranking of the test part by the model as it is now, or by the factors of a
    .npz file. profile: the cost of a run, and the rates of the machine. trace FOLDER: the seconds of a run by kind of
    operation, and its trace in that folder.
    """
    entry = entry_of(work["model"])
    config: Any = from_json(entry.config, work["config"])
    options = from_json(TrainConfig, work["train"])
    run = Run(work["model"], from_json(DataConfig, work["data"]), config, options)
    dataset = profile.synthetic(*work["sizes"]) if work["sizes"] else open_data(run)
    data, model = build(run, dataset)
    if work["log"]:
        save_log(work["log"], dataset)
    job = job_of(work, run, model, data, dataset)
    clock = profile.compile_clock()

    def go(_: str) -> dict[str, Any]:
        return {**seconds_of(job.run), "compile_seconds": clock(), "device_memory": profile.device_memory()}

    def metrics(path: str) -> dict[str, float]:
        if not path:
            return evaluator_of("test", model, data, dataset, knows="valid", full=True)(job.params()).metrics
        with np.load(path) as factors:
            params = profile.pad_factors(factors["user"], factors["item"])
        return evaluator_of("test", profile.inner_product(model), data, dataset, knows="valid", full=True)(
            params
        ).metrics

    def cost_and_rates(_: str) -> dict[str, float]:
        cost, rates = job.cost(), profile.machine_rates(options.precision)
        return {
            "flops": cost.flops,
            "bytes": cost.bytes,
            "machine_flops_per_second": rates.flops,
            "machine_bytes_per_second": rates.bytes,
        }

    ready = {
        "amount": job.amount,
        "unit": job.unit,
        "data": dataset.name,
        "num_users": data.num_users,
        "num_items": data.num_items,
        "interactions": len(data.train.users),
        "batch": batch_of(model.learn, options.batch_size),
        "train": to_json(settled(options, model.learn)),  # a peer does not know what a model decides by itself
        "device": jax.default_backend(),
        "provenance": provenance(),
    }

    def trace_to(folder: str) -> dict[str, dict[str, float]]:
        return {"operations": operations(job.run, Path(folder))}

    return ready, {"go": go, "metrics": metrics, "profile": cost_and_rates, "trace": trace_to}


def job_of(work: dict[str, Any], run: Run, model: Recommender, data: Data, dataset: Dataset) -> profile.Job:
    """What is timed. A model that draws negatives pair by pair trains on samples: each positive and each negative."""
    if work["what"] == "ranking":
        return profile.ranking(model, data, dataset, work["memory_budget"])
    if work["what"] == "topn":
        return profile.top_n(model, data, dataset, work["queries"], work["top_k"], work["steps"] or CALLS)
    job = profile.training(model, run.train, work["steps"])
    if work["what"] == "updates":
        return job._replace(amount=job.steps, unit="steps")
    if "negatives" in work["config"] and getattr(model.learn, "rows", 0) == len(data.train.users):
        return job._replace(amount=job.amount * (1 + work["config"]["negatives"]), unit="samples")
    return job


def save_log(path: str, dataset: Dataset) -> None:
    """All interactions in the order of time, for the peer: users, items, and part 0, 1, 2 for train, valid, test."""
    parts = (dataset.train, dataset.valid, dataset.test)
    order = np.argsort(np.concatenate([part.order for part in parts]))
    users, items = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("users", "items"))
    numbers = np.repeat(np.arange(3, dtype=np.int8), [len(part.users) for part in parts])[order]
    np.savez(path, users=users, items=items, part=numbers)


if __name__ == "__main__":
    try:
        serve(setup)
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
