"""Compare models: python -m experiments.compare --dataset=ml-100k --models=mf,neumf,ancf --workdir=checkpoints/compare

Each name in --models is a recipe (experiments/recipes/DATASET-NAME.flags) or else a model with its defaults. Every
model is trained for every seed in a workdir of its own, finished runs are reused, interrupted ones resumed; then the
tables, best first, and results.json, report.md and report.html with plots in --workdir.
"""

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import from_flags, given_flags
from experiments import console, options


def define() -> None:
    """The flags of the data and of training, and the comparison's own."""
    options.define_data_and_training()
    flags.DEFINE_list("models", ["all"], "recipes or models, or all: every model", allow_override=True)
    flags.DEFINE_integer("seeds", 1, "runs of each model, with seeds 0, 1, ...", lower_bound=1, allow_override=True)
    flags.DEFINE_string("workdir", "", "where runs and reports are kept", allow_override=True)


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import numpy as np

from ancf_jax.data.dataset import Dataset
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.models import MODELS
from ancf_jax.reports import comparison as report_compare
from ancf_jax.reports import curves as report_curves
from ancf_jax.reports import groups as report_groups
from ancf_jax.reports import page as report
from ancf_jax.runs.fit import Progress, fit_run, read_records
from ancf_jax.runs.results import provenance
from ancf_jax.runs.run import Run, as_json, claim, open_data, reads_features
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.training import checkpoint
from ancf_jax.types import InputError
from experiments import train

METRICS = ("ndcg@10", "hr@10")
PUBLISHED = ("recall@20", "ndcg@20")  # of the splits that came with LightGCN
GRADED = "gndcg@10"
REWARDS = ("ips", "snips")


def recipe(name: str, dataset: str, seed: int, root: Path) -> Run:
    """The run called `name` on `dataset`: its recipe, then the flags given to this script, then the seed."""
    path = options.RECIPES / f"{Path(dataset).name.partition('.')[0]}-{name}.flags"
    if not path.exists() and name not in MODELS:
        recipes = sorted(p.stem.removeprefix(f"{dataset}-") for p in options.RECIPES.glob(f"{dataset}-*.flags"))
        legal = ", ".join(dict.fromkeys([*MODELS, *recipes]))
        raise InputError(f"--models: {name!r} is neither a model nor a recipe for {dataset}; legal are {legal}")
    values = flags.FlagValues()
    shared = {field for cls in (DataConfig, TrainConfig) for field in cls.__dataclass_fields__}
    given = [flags.FLAGS[flag].serialize() for flag in sorted(shared & given_flags())]
    written = [f"--flagfile={path}"] if path.exists() else [f"--model={name}"]
    argv = ["recipe", *written, *given, f"--seed={seed}"]
    options.define_run(values, argv)
    values(argv)
    return options.run_from_flags(root, values)


def trained_before(folder: Path, run: Run) -> dict[str, Any] | None:
    """The result of the run that its workdir holds; None if there is nothing, or a run of fewer epochs, to go on."""
    path = folder / "result.json"
    result = checkpoint.read_json(path) if path.exists() else None
    return result if result is not None and result["config"]["train"] == as_json(run)["train"] else None


def collect(folder: Path, run: Run, dataset: Dataset, progress: Progress) -> dict[str, Any]:
    """The result of a run, trained now unless its workdir holds it, with the metrics of each user."""
    result = trained_before(folder, run)
    if result is not None:
        claim(folder, run, dataset.fingerprint)
    else:
        result = fit_run(
            run,
            dataset,
            folder,
            memory_budget=from_flags(EvalConfig).memory_budget,
            progress=progress,
            command=console.command("experiments.compare"),
        ).result
    with np.load(folder / "users.npz") as users:
        return result | {"users": dict(users)}


def main() -> dict[str, Any]:
    """Train what is not trained yet, and report."""
    given = flags.FLAGS
    names = list(MODELS) if given.models == ["all"] else given.models
    seeds = range(given.seeds)
    dataset = given.dataset or DataConfig().dataset
    root = Path(given.workdir or f"checkpoints/compare-{Path(dataset).name}")
    runs = {(name, seed): recipe(name, dataset, seed, root) for name in names for seed in seeds}
    datasets: dict[Any, Dataset] = {}
    entries: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    missing = [(name, seed) for (name, seed), run in runs.items() if not trained_before(root / name / str(seed), run)]
    started = time.monotonic()
    for (name, seed), run in runs.items():
        key = (run.data, run.train.validation, reads_features(run))
        if key not in datasets:
            console.say(f"reading {run.data.dataset} ...")
            datasets[key] = open_data(run)
            train.describe(datasets[key])
        place = (name, seed)
        many = len(missing) > 1 and place in missing
        series = console.Series(missing.index(place) + 1, len(missing), started) if many else None
        progress = partial(console.progress, f"{name} seed {seed}", series=series)
        entries[name].append(collect(root / name / str(seed), run, datasets[key], progress))
    if len({(results[0]["split"], results[0]["users_tested"]) for results in entries.values()}) > 1:
        raise InputError("--models: the recipes read or split the data differently, so they cannot share a table")
    metrics = columns(entries, entries[names[0]][0]["split"])
    rows = report.summarise(entries, metrics)
    head = entries[names[0]][0] | provenance()
    head["command"] = console.command("experiments.compare")
    write(root, rows, head, entries, metrics)
    for n, each in enumerate(report.tables(rows, metrics)):
        title = each.title if n else f"{head['dataset']}, {head['split']}, best first by {metrics[0]}"
        console.table([heading.partition(" (")[0] for heading in each.headings], each.rows, title)
    console.say(*report.notes(head, len(seeds), metrics)[:-2])
    console.say(f"wrote {root}/results.json, {root}/report.md and {root}/report.html")
    models = {row["model"]: {metric: row[metric] for metric in metrics} for row in rows}
    best = rows[0]["model"]
    return {"best": best, **models[best], "models": models, "workdir": str(root)}


def columns(entries: dict[str, list[dict[str, Any]]], split: str) -> tuple[str, ...]:
    """The metrics of the table, which the first orders: an error if every model predicts values.

    Published splits have the figures that are published for them, and no others. Beside errors stands the NDCG with
    graded gains too, where the held-out values are graded. The rewards of policies, estimated off-policy, come last.
    """
    if split == "published":
        return PUBLISHED
    rewards = REWARDS if any(REWARDS[0] in results[0] for results in entries.values()) else ()
    predicts = ["rmse" in results[0] for results in entries.values()]
    if not any(predicts):
        return (*METRICS, *rewards)
    graded = all(GRADED in result for results in entries.values() for result in results)
    ranks = (METRICS[0], GRADED, *METRICS[1:]) if graded else METRICS
    return (*ERRORS, *ranks) if all(predicts) else (*ranks, *ERRORS, *rewards)


def write(
    root: Path,
    rows: list[dict[str, Any]],
    head: dict[str, Any],
    entries: dict[str, list[dict[str, Any]]],
    metrics: tuple[str, ...],
) -> None:
    """results.json, report.md, report.html with plots, and plot.svg, the first of them."""
    title = f"{head['dataset']}: " + (f"{len(rows)} models compared" if len(rows) > 1 else rows[0]["model"])
    seeds = len(next(iter(entries.values())))
    remarks = report.notes(head, seeds, metrics)
    runs = {
        name: [{key: value for key, value in result.items() if key != "users"} for result in results]
        for name, results in entries.items()
    }
    kept = ("dataset", "split", "protocol", "users_tested", "command", "commit", "versions", "python", "hardware")
    content = {key: head[key] for key in kept} | {"metrics": metrics, "rows": rows, "runs": runs}
    checkpoint.write_text(root / "results.json", json.dumps(content, indent=1) + "\n")
    names = [row["model"] for row in rows]
    ranking = report.ranking_metric(metrics)
    groups = report_groups.grouped(entries, tuple(dict.fromkeys((metrics[0], ranking))))
    curves = {}
    for name in names:
        first = entries[name][0]
        curves[name] = report_curves.curve(read_records(root / name / "0", first["epochs"]), first)
    sections = [
        *report.tables(rows, metrics),
        *report.beyond(rows, ranking),
        *report_groups.sections(groups, names),
        *report_curves.section(curves, seeds),
    ]
    checkpoint.write_text(root / "report.md", report.markdown(title, sections, remarks))
    try:
        figures = report_compare.plots(rows, metrics, groups, curves)
        checkpoint.write_text(root / "plot.svg", report_compare.overview(rows, metrics).decode())
    except ImportError:
        remarks = [*remarks, "No plots: install the package with its [report] extra (matplotlib)."]
        figures = {}
    checkpoint.write_text(root / "report.html", report.page(title, sections, figures, remarks))


if __name__ == "__main__":
    console.run(define, main)
