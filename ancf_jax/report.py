"""A comparison as people read it: the rows of its table, a Markdown page, a self-contained HTML page with plots."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from ancf_jax.metrics import merit
from ancf_jax.stats import bootstrap_interval, holm, mean_interval, paired_bootstrap

SIGNIFICANT = 0.05


def summarise(entries: dict[str, list[dict[str, Any]]], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """One row a model, the best by metrics[0], which all of them have, first.

    entries: model -> one result a seed, each with its metrics, seconds, and per-user values under 'users'. Each metric
    is the mean over seeds with the half width of its 95% interval: Student's t over seeds, or with one seed the
    bootstrap over users; both None for a model without it. 'ahead_of' names the models that are worse by metrics[0]
    with p < .05: paired bootstrap over users of the means over seeds, two-sided, Holm-corrected over all pairs.
    """
    rows = []
    for name, results in entries.items():
        row: dict[str, Any] = {"model": name, "seeds": len(results)}
        for metric in metrics:
            if metric not in results[0]:
                row[metric] = row[f"{metric} ±"] = None
                continue
            values = np.array([result[metric] for result in results])
            row[metric] = float(values.mean())
            if len(values) > 1:
                row[f"{metric} ±"] = float(mean_interval(values)[1])
            else:
                low, high = bootstrap_interval(results[0]["users"][metric])
                row[f"{metric} ±"] = float((high - low) / 2)
        row["epochs"] = float(np.mean([result["best_epoch"] for result in results]))
        row["training seconds"] = float(np.mean([result["training_seconds"] for result in results]))
        rows.append(row)
    rows.sort(key=lambda row: -merit(metrics[0], row[metrics[0]]))
    per_user = {name: np.mean([each["users"][metrics[0]] for each in results], 0) for name, results in entries.items()}
    pairs = [(a["model"], b["model"]) for n, a in enumerate(rows) for b in rows[n + 1 :]]
    adjusted = holm([paired_bootstrap(per_user[a], per_user[b]) for a, b in pairs])
    p_values = dict(zip(pairs, map(float, adjusted), strict=True))
    for row in rows:
        row["p"] = {b: p for (a, b), p in p_values.items() if a == row["model"]}
        row["ahead_of"] = [b for b, p in row["p"].items() if p < SIGNIFICANT]
    return rows


def cells(rows: list[dict[str, Any]], metrics: Sequence[str]) -> tuple[list[str], list[list[Any]]]:
    """Headings and cells of the table; 'ahead of' counts from the best down, 'all below' where nothing is missing."""
    headings = [
        "model",
        *(part for metric in metrics for part in (metric, "±")),
        "best epoch",
        "train s",
        "ahead of (p < .05)",
    ]
    table = []
    for n, row in enumerate(rows):
        below = [other["model"] for other in rows[n + 1 :]]
        ahead = "all below" if below and row["ahead_of"] == below else ", ".join(row["ahead_of"]) or "-"
        numbers = (row[key] for metric in metrics for key in (metric, f"{metric} ±"))
        figures = ("-" if number is None else f"{number:.4f}" for number in numbers)
        table.append([row["model"], *figures, f"{row['epochs']:.0f}", f"{row['training seconds']:.1f}", ahead])
    return headings, table


def notes(head: dict[str, Any], seeds: int, metrics: Sequence[str]) -> list[str]:
    """What must stand with the table: data, protocol, intervals, tests, where it was measured."""
    errors = ["Errors of predicted values are over all held-out pairs; lower is better."] if "rmse" in metrics else []
    interval = "Student's t over seeds" if seeds > 1 else "bootstrap over users"
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items())
    return [
        f"Data: {head['dataset']}, split {head['split']}, {head['users_tested']:,} users tested.",
        f"Protocol: {head['protocol']}.",
        "Epochs are picked on validation, or stand in the recipe where a run trains on the validation part too.",
        f"Seeds: {seeds}. ±: half width of the 95% interval ({interval}).",
        "Ahead of: paired bootstrap over users, two-sided, Holm-corrected over all pairs, p < .05.",
        *errors,
        f"Measured on {head['hardware']}; Python {head['python']}, {versions}; commit {head['commit']}.",
        f"Command: `{head['command']}`",
    ]


def markdown(title: str, rows: list[dict[str, Any]], metrics: Sequence[str], remarks: list[str]) -> str:
    """The table, aligned as text too, and its notes."""
    headings, table = cells(rows, metrics)
    widths = [max(len(str(line[n])) for line in [headings, *table]) for n in range(len(headings))]
    lines = [
        "| " + " | ".join(str(cell).ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in [headings, ["-" * width for width in widths], *table]
    ]
    return "\n".join([f"# {title}", "", *lines, "", *(f"- {remark}" for remark in remarks), ""])


def page(title: str, rows: list[dict[str, Any]], metrics: Sequence[str], remarks: list[str], plots: list[bytes]) -> str:
    """One HTML file that needs no other: the table, the plots as embedded SVG, the notes. Readable on a phone."""
    headings, table = cells(rows, metrics)
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in headings)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in line) + "</tr>" for line in table)
    images = "".join(
        f'<img alt="{html.escape(title)}" src="data:image/svg+xml;base64,{base64.b64encode(plot).decode()}">'
        for plot in plots
    )
    items = "".join(f"<li>{html.escape(remark)}</li>" for remark in remarks)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(title)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 1rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th:first-child, td:first-child, th:last-child, td:last-child {{ text-align: left; }}
img {{ width: 100%; height: auto; margin: 1rem 0; }}
li {{ overflow-wrap: anywhere; }}
</style></head><body>
<h1>{html.escape(title)}</h1>
<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>
{images}
<ul>{items}</ul>
</body></html>
"""


def plot(
    rows: list[dict[str, Any]], metrics: Sequence[str], curves: dict[str, list[tuple[float, float]]], picked_by: str
) -> bytes:
    """An SVG picture: a bar a model with its interval for each metric, and any validation curves over training time.

    curves: model -> [(seconds of training, validation metric)]. Raises ImportError without matplotlib ([report]).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 0.42 * len(rows) + 2.6), layout="constrained")
    axes = figure.subplots(1, len(metrics) + bool(curves))
    names = [row["model"] for row in rows][::-1]
    colours = {name: f"C{n % 10}" for n, name in enumerate(reversed(names))}
    for axis, metric in zip(axes[: len(metrics)], metrics, strict=True):
        means, halves = ([row[key] for row in rows][::-1] for key in (metric, f"{metric} ±"))
        bars = axis.barh(names, means, xerr=halves, color=[colours[name] for name in names], alpha=0.85)
        axis.bar_label(bars, [f"{mean:.3f}" for mean in means], padding=6, fontsize=8)
        axis.set_title(f"test {metric}", fontsize=10)
        axis.set_xlim(0, 1.2 * max(mean + half for mean, half in zip(means, halves, strict=True)))
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelleft=axis is axes[0])
    if curves:
        _plot_curves(axes[-1], curves, colours, picked_by)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


def _plot_curves(axis: Any, curves: dict[str, list[tuple[float, float]]], colours: dict[str, str], title: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    for name, points in curves.items():
        seconds, values = zip(*points, strict=True)
        axis.plot(seconds, values, "o-" if len(points) < 3 else "-", color=colours[name], label=name, markersize=3)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("seconds of training", fontsize=9)
    axis.set_title(f"validation {title}", fontsize=10)
    axis.legend(fontsize=7, frameon=False)
    axis.grid(alpha=0.3)
