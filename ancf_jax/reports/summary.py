"""What a comparison of models says: its rows with intervals and tests, its tables, and the notes to stand with them."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ancf_jax.evaluation.metrics import merit
from ancf_jax.evaluation.stats import holm, mean_interval, paired_tests
from ancf_jax.reports.page import Section

SIGNIFICANT = 0.05
CARRIED = ("reads_order", "starts_from", "trials", "knows", "commit", "versions", "python", "hardware")
BEYOND = ("popularity@10", "novelty@10", "coverage@10", "gini@10")  # of the recommended lists, from full ranking


def summarise(entries: dict[str, list[dict[str, Any]]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """One row a model, the best by metrics[0], which all of them have, first.

    Seconds of training count those of what a model starts from. Each row says where it was measured.

    entries: model -> one result a seed, each with its metrics, seconds, and per-user values under 'users'. Each metric
    is the mean over seeds with the half width of its 95% interval over seeds and users, see stats.mean_interval; both
    None for a model without it. Those of BEYOND are means alone. 'ahead_of' names the models that are worse by
    metrics[0] with p < .05: stats.paired_tests, two-sided, Holm-corrected over all pairs.
    """
    rows = []
    for name, results in entries.items():
        row: dict[str, Any] = {"model": name, "seeds": len(results)}
        for metric in metrics:
            row[metric], row[f"{metric} ±"] = _mean_and_interval(results, metric)
        for metric in BEYOND:
            known = all(metric in result for result in results)
            row[metric] = float(np.mean([result[metric] for result in results])) if known else None
        row["epochs"] = float(np.mean([result["best_epoch"] for result in results]))
        seconds = [result["training_seconds"] + result.get("start_seconds", 0.0) for result in results]
        row["training seconds"] = float(np.mean(seconds))
        row |= {name: results[0].get(name) for name in CARRIED}
        rows.append(row)
    rows.sort(key=lambda row: -merit(metrics[0], row[metrics[0]]))
    upper = np.triu_indices(len(rows), 1)
    adjusted = holm(paired_tests([_of_users(entries[row["model"]], metrics[0]) for row in rows])[upper])
    p_values = {(rows[a]["model"], rows[b]["model"]): float(p) for a, b, p in zip(*upper, adjusted, strict=True)}
    for row in rows:
        row["p"] = {b: p for (a, b), p in p_values.items() if a == row["model"]}
        row["ahead_of"] = [b for b, p in row["p"].items() if p < SIGNIFICANT]
    return rows


def _mean_and_interval(results: list[dict[str, Any]], metric: str) -> tuple[float | None, float | None]:
    if any(metric not in result for result in results):
        return None, None
    return float(np.mean([result[metric] for result in results])), mean_interval(_of_users(results, metric))[1]


def _of_users(results: list[dict[str, Any]], metric: str) -> list[np.ndarray]:
    """The values [S, E] of every seed and user."""
    return [result["users"][metric] for result in results]


def ranking_metric(metrics: Sequence[str]) -> str:
    """The first of the metrics of ranks."""
    return next(metric for metric in metrics if "@" in metric)


def tables(rows: list[dict[str, Any]], metrics: Sequence[str]) -> list[Section]:
    """The table of the test metrics that all models have, then one for each that only some have, of these alone.

    Metrics of the same models share a table, the best by the first of them first.
    """
    having = {metric: [row for row in rows if row[metric] is not None] for metric in metrics}
    shared = [metric for metric in metrics if having[metric] == rows]
    found = [Section("Test metrics", *cells(rows, shared))]
    for some, group in groupby((metric for metric in metrics if metric not in shared), key=having.__getitem__):
        names = list(group)
        best = sorted(some, key=lambda row: -merit(names[0], row[names[0]]))
        headings = ["model", *(part for metric in names for part in (metric, "±"))]
        table = [[_marked(row), *_figures(row, names)] for row in best]
        found.append(Section(f"Test {', '.join(names)}", headings, table))
    return found


def _marked(row: dict[str, Any]) -> str:
    """A model's name, with a star if it starts from other trained models."""
    return f"{row['model']} *" if row.get("starts_from") else row["model"]


def _figures(row: dict[str, Any], metrics: Sequence[str]) -> list[str]:
    return [_figure(row[key]) for metric in metrics for key in (metric, f"{metric} ±")]


def cells(rows: list[dict[str, Any]], metrics: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the table of test metrics, with what reads the order and the trials if any are known."""
    reads = ["reads order"] if any(row.get("reads_order") for row in rows) else []
    tried = ["trials"] if any(row.get("trials") is not None for row in rows) else []
    figures = [part for metric in metrics for part in (metric, "±")]
    headings = ["model", *reads, *figures, "best epoch", "train s", *tried, "ahead of (p < .05)"]
    table = []
    for n, row in enumerate(rows):
        ahead = _ahead([other["model"] for other in rows[n + 1 :]], row["ahead_of"])
        measured = [f"{row['epochs']:.0f}", f"{row['training seconds']:.1f}"]
        trials = [_figure(row.get("trials"), 0) for _ in tried]
        order = [row.get("reads_order") or "-" for _ in reads]
        table.append([_marked(row), *order, *_figures(row, metrics), *measured, *trials, ahead])
    return headings, table


def _ahead(below: list[str], ahead_of: list[str]) -> str:
    """The models that a row is ahead of, those at the end of the table in short: 'all below', 'mf; bpr and below'."""
    last = next((n for n in range(len(below)) if below[n:] == ahead_of[len(ahead_of) - len(below) + n :]), len(below))
    tail = below[last:]
    if tail and tail == below:
        return "all below"
    if len(tail) < 3:
        return ", ".join(ahead_of) or "-"
    return "; ".join(filter(None, [", ".join(ahead_of[: -len(tail)]), f"{tail[0]} and below"]))


def beyond(rows: list[dict[str, Any]], accuracy: str) -> list[Section]:
    """What the recommended lists are like beside their accuracy, a section if any model's are known."""
    if all(row[name] is None for row in rows for name in BEYOND):
        return []
    table = [
        [row["model"], _figure(row[accuracy]), *(_figure(row[name], 1 if name == BEYOND[0] else 3) for name in BEYOND)]
        for row in rows
    ]
    note = (
        "Of the ten items recommended to each user, those that tie in the order of their ids. Popularity: how many "
        "users have an item, in the mean; novelty: its self-information in bits; coverage: the share of all items that "
        "anyone is recommended; Gini index: 0 where recommendations fall on all items alike."
    )
    return [Section("Beyond accuracy", ["model", accuracy, *BEYOND], table, note)]


def _figure(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def notes(head: dict[str, Any], seeds: int, metrics: Sequence[str], rows: Sequence[dict[str, Any]] = ()) -> list[str]:
    """What must stand with the table of `rows`: data, protocol, what was known, intervals, tests, where measured."""
    errors = ["Errors of predicted values are over all held-out pairs; lower is better."] if "rmse" in metrics else []
    graded = ["gndcg: NDCG with the held-out values as gains."] if any("gndcg" in name for name in metrics) else []
    policy = "ips, snips: what a choice of the model's policy would earn, estimated off-policy from held-out values."
    rewards = [policy] if "ips" in metrics else []
    several = seeds > 1
    over = "over seeds and users" if several else "over users alone, which tells nothing of other seeds"
    two_way = ", two-way random effects, rather too wide; Owen, 2007" if several else ""
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items())
    return [
        f"Data: {head['dataset']}, split {head['split']}, {head['users_tested']:,} users tested.",
        f"Protocol: {head['protocol']}.",
        *_knowledge(rows),
        *_starts(rows),
        *_trials(rows),
        "Epochs are picked on validation, or stand in the recipe where a run trains on the validation part too.",
        f"Seeds: {seeds}. ±: half width of the 95% interval {over} (Student's t{two_way}).",
        f"Ahead of: paired t-test {over.partition(',')[0]}, two-sided, Holm-corrected over all pairs, p < .05.",
        *errors,
        *graded,
        *rewards,
        f"Measured on {head['hardware']}; Python {head['python']}, {versions}; commit {head['commit']}.",
        f"Command: `{head['command']}`",
    ]


def _knowledge(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the models knew as they were tested."""
    by: dict[str, list[str]] = {}
    for row in rows:
        if row.get("knows"):
            by.setdefault(row["knows"], []).append(row["model"])
    if len(by) < 2:
        return [f"Known at test: {what}." for what in by]
    return ["Known at test: " + "; ".join(f"{what} ({', '.join(names)})" for what, names in by.items()) + "."]


def _starts(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Which models start from others."""
    found = [f"{row['model']} from {', '.join(row['starts_from'])}" for row in rows if row.get("starts_from")]
    return [f"* starts from trained models, whose seconds are counted: {'; '.join(found)}."] if found else []


def _trials(rows: Sequence[dict[str, Any]]) -> list[str]:
    """What the column of trials counts, where there is one."""
    told = "Trials: settings compared to find those of a model's recipe; 0: not tuned, -: not recorded."
    return [told] if any(row.get("trials") is not None for row in rows) else []
