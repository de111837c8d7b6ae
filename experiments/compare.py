"""Compare models: python -m experiments.compare --dataset=ml-100k --models=mf,neumf,ancf --workdir=checkpoints/compare

Each name in --models is a recipe of the data set (experiments/recipes/DATASET-NAME.flags), the file of a recipe, or a
model with its defaults; flags of data and training given here go over a recipe's. All runs are checked before the first
is trained, every seed in a workdir of its own; what a recipe starts from is trained first. Finished runs are reused,
interrupted ones resumed; then the tables, best first, and results.json, report.md, report.tex and report.html with
plots in --workdir. The columns are those of --ks, and metrics of one's own (--own_metric); the first orders the rows
and is tested.
"""

import json
import time
from collections.abc import Mapping, Sequence
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
    flags.DEFINE_integer("seeds", 1, "runs of each model, from --seed on", lower_bound=1, allow_override=True)
    flags.DEFINE_string("workdir", "", "where runs and reports are kept", allow_override=True)
    options.define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.data.store import read_arrays
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.files import read_json
from ancf_jax.models import MODELS
from ancf_jax.reports import comparison as report_compare
from ancf_jax.reports import curves as report_curves
from ancf_jax.reports import groups as report_groups
from ancf_jax.reports import latex as report_latex
from ancf_jax.reports import page, summary
from ancf_jax.runs.fit import USERS, Progress, fit_run
from ancf_jax.runs.knowledge import check_alike, rows_of
from ancf_jax.runs.records import read_records
from ancf_jax.runs.results import provenance, reported
from ancf_jax.runs.run import Run, as_json
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.training import checkpoint
from ancf_jax.types import InputError
from experiments import recipe
from experiments.jobs import Job, checked

METRICS = ("ndcg", "hr")
PUBLISHED = ("recall", "ndcg")  # of the splits that came with LightGCN
GRADED = "gndcg"
REWARDS = ("ips", "snips")


def trained_before(folder: Path, run: Run) -> dict[str, Any] | None:
    """The result of the run that its workdir holds; None if there is nothing to use: a run of fewer epochs to go on, or
    files that are damaged, which is said.
    """
    path = folder / "result.json"
    try:
        result = read_json(path) | {"users": read_arrays(folder / USERS)} if path.exists() else {}
    except InputError as error:
        console.say(f"{error}; the run is taken up once more")
        return None
    if "rows" not in result or result["config"]["train"] != as_json(run)["train"]:
        return None
    return result if result["evaluation"] == reported(from_flags(EvalConfig)) else None


def collect(folder: Path, job: Job, progress: Progress, trials: int | None) -> dict[str, Any]:
    """The result of a run, trained now unless its workdir holds it, with its trials and the metrics of each user."""
    result = trained_before(folder, job.run)
    if result is None:
        with options.watching(folder) as watch:
            result = fit_run(
                job.run,
                job.dataset,
                folder,
                evaluation=from_flags(EvalConfig),
                progress=progress,
                watch=watch,
                command=console.command("experiments.compare"),
                trials=trials,
            ).result
    return result | {"trials": trials, "users": read_arrays(folder / USERS)}


def main() -> dict[str, Any]:
    """Train what is not trained yet, and report."""
    options.keep_programs()
    given = flags.FLAGS
    every = given.models == ["all"]
    names = list(MODELS) if every else given.models
    first = from_flags(TrainConfig).seed
    dataset = given.train_path or given.dataset or DataConfig().dataset
    root = Path(given.workdir or f"checkpoints/compare-{Path(dataset).name}")
    labels = {recipe.label_of(name): name for name in names}
    if len(labels) < len(names):
        raise InputError(f"--models: two of {', '.join(names)} would have one name in the table")
    shared = recipe.given_of(DataConfig, TrainConfig)
    seeds = range(first, first + given.seeds)
    wanted = {
        root / label / str(seed): recipe.run_of(name, dataset, shared, seed, root)
        for label, name in labels.items()
        for seed in seeds
    }
    with_starts = recipe.with_starts(wanted, dataset, shared, root)
    every_name = {folder.parent.name: folder.parent.name for folder in with_starts} | labels
    trials = {label: recipe.trials_of(recipe.arguments_of(name, dataset)) for label, name in every_name.items()}
    jobs = checked(with_starts, optional=every)
    first_jobs = {folder.parent.name: job for folder, job in reversed(jobs.items())}
    check_alike({label: rows_of(*first_jobs[label]) for label in every_name if label in first_jobs})
    shown = [label for label in labels if root / label / str(first) in jobs]
    done: dict[Path, dict[str, Any]] = {}
    missing = [folder for folder, job in jobs.items() if trained_before(folder, job.run) is None]
    started = time.monotonic()
    try:
        # What is done comes first, so that it is shown in any case.
        for folder, job in sorted(jobs.items(), key=lambda item: item[0] in missing):
            many = len(missing) > 1 and folder in missing
            series = console.Series(missing.index(folder) + 1, len(missing), started) if many else None
            label = folder.parent.name
            progress = partial(console.progress, f"{label} seed {folder.name}", series=series)
            done[folder] = collect(folder, job, progress, trials[label])
    except KeyboardInterrupt:
        entries = results_of(done, root, shown, seeds)
        if entries:
            console.say(f"interrupted; of {len(shown)} models {len(entries)} are done:")
            report_on(root, entries, len(seeds))
        raise
    return report_on(root, results_of(done, root, shown, seeds), len(seeds))


def results_of(
    done: Mapping[Path, dict[str, Any]], root: Path, labels: Sequence[str], seeds: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """The results of the models all of whose seeds are done, in their order."""
    folders = {label: [root / label / str(seed) for seed in seeds] for label in labels}
    return {label: [done[run] for run in runs] for label, runs in folders.items() if done.keys() >= set(runs)}


def report_on(root: Path, entries: dict[str, list[dict[str, Any]]], seeds: int) -> dict[str, Any]:
    """Write the pages and print the tables of the results of every model and seed."""
    one = next(iter(entries.values()))[0]
    metrics = columns(entries, one["split"], *shown_by_flags())
    rows = summary.summarise(entries, metrics)
    head = one | provenance()
    head["command"] = console.command("experiments.compare")
    write(root, rows, head, entries, metrics)
    for n, each in enumerate(summary.tables(rows, metrics)):
        title = each.title if n else f"{head['dataset']}, {head['split']}, best first by {metrics[0]}"
        console.table([heading.partition(" (")[0] for heading in each.headings], each.rows, title)
    console.say(*summary.notes(head, seeds, metrics, rows)[:-2])
    console.say(f"wrote {root}/results.json, {root}/report.md, {root}/report.tex and {root}/report.html")
    models = {row["model"]: {metric: row[metric] for metric in metrics} for row in rows}
    best = rows[0]["model"]
    return {"best": best, **models[best], "models": models, "workdir": str(root)}


def shown_by_flags() -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The cut-offs that are given, and the metrics of one's own."""
    judged = from_flags(EvalConfig)
    return judged.ks if "ks" in given_flags() else (), judged.own_metric


def columns(
    entries: dict[str, list[dict[str, Any]]], split: str, given: tuple[int, ...] = (), own: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """The metrics of the table, which the first orders: an error if every model predicts values.

    Those of ranks are at every cut-off that is `given`, and else at 10, or at 20 for published splits, which have the
    figures that are published for them, and no others. Beside errors stands the NDCG with graded gains too, where the
    held-out values are graded. The rewards of policies, estimated off-policy, and metrics of one's `own` come last.
    """
    if split == "published":
        return (*(f"{name}@{k}" for name in PUBLISHED for k in given or (20,)), *own)
    ks = given or (10,)
    rewards = (*(REWARDS if any(REWARDS[0] in results[0] for results in entries.values()) else ()), *own)
    predicts = ["rmse" in results[0] for results in entries.values()]
    graded = all(f"{GRADED}@{ks[0]}" in result for results in entries.values() for result in results)
    shown = (METRICS[0], GRADED, *METRICS[1:]) if any(predicts) and graded else METRICS
    ranks = tuple(f"{name}@{k}" for name in shown for k in ks)
    if not any(predicts):
        return (*ranks, *rewards)
    return (*ERRORS, *ranks, *own) if all(predicts) else (*ranks, *ERRORS, *rewards)


def write(
    root: Path,
    rows: list[dict[str, Any]],
    head: dict[str, Any],
    entries: dict[str, list[dict[str, Any]]],
    metrics: tuple[str, ...],
) -> None:
    """results.json, report.md, report.tex, report.html with plots, and plot.svg, the first of them."""
    title = f"{head['dataset']}: " + (f"{len(rows)} models compared" if len(rows) > 1 else rows[0]["model"])
    seeds = len(next(iter(entries.values())))
    remarks = summary.notes(head, seeds, metrics, rows)
    runs = {
        name: [{key: value for key, value in result.items() if key != "users"} for result in results]
        for name, results in entries.items()
    }
    kept = ("dataset", "split", "protocol", "users_tested", "command", "commit", "versions", "python", "hardware")
    content = {key: head[key] for key in kept} | {"metrics": metrics, "rows": rows, "runs": runs}
    checkpoint.write_text(root / "results.json", json.dumps(content, indent=1) + "\n")
    names = [row["model"] for row in rows]
    ranking = summary.ranking_metric(metrics)
    groups = report_groups.grouped(entries, tuple(dict.fromkeys((metrics[0], ranking))))
    curves = {}
    for name in names:
        first = entries[name][0]
        curves[name] = report_curves.curve(read_records(root / name / str(first["seed"]), first["epochs"]), first)
    sections = [
        *summary.tables(rows, metrics),
        *summary.beyond(rows, ranking),
        *report_groups.sections(groups, names),
        *report_curves.section(curves, seeds),
    ]
    checkpoint.write_text(root / "report.md", page.markdown(title, sections, remarks))
    checkpoint.write_text(root / "report.tex", report_latex.latex(title, sections, remarks))
    try:
        figures = report_compare.plots(rows, metrics, groups, curves)
        checkpoint.write_text(root / "plot.svg", report_compare.overview(rows, metrics).decode())
    except ImportError:
        remarks = [*remarks, "No plots: install the package with its [report] extra (matplotlib)."]
        figures = {}
    checkpoint.write_text(root / "report.html", page.page(title, sections, figures, remarks))


if __name__ == "__main__":
    console.run(define, main)
