"""Benchmarks as people read them: tables, a Markdown page and a plot of how many times as long others take."""

import io
from typing import Any

import numpy as np

from ancf_jax.reports import growth

READING = (
    "Rates are medians, ranges the slowest and the fastest run.",
    "FLOP/s and bytes/s follow XLA's cost analysis, a lower bound; beside them, their share of the matrix-product and",
    "copy rates of the same process. Bytes that caches serve are counted too, so their share may exceed 100%.",
    "Times as long: seconds there by seconds here, run by run.",
)
Table = tuple[str, list[str], list[list[str]]]  # title, headings, rows


def tables(results: dict[str, dict[str, Any]]) -> list[Table]:
    """The speed of all, and where there are any, seconds of models, comparisons and operations.

    `results` as in results.json.
    """
    headings = ["benchmark", "rate", "unit", "range", "compile s", "memory MB", "FLOP/s", "bytes/s"]
    rows = [
        [
            name,
            short(each["rate"]),
            f"{each['unit']}/s",
            f"{short(each['rate_low'])} to {short(each['rate_high'])}",
            f"{each['compile_seconds']:.1f}",
            _megabytes(each["device_memory"] or each["peak_memory"]),
            *(_share(each, kind) for kind in ("flops", "bytes")),
        ]
        for name, each in results.items()
    ]
    found = [("speed", headings, _aligned(rows, (1, 3, 4, 5, 6, 7)))]
    rows = _epochs_and_rankings(list(results.values()))
    if rows:
        headings = ["model", "data", "epoch s", "ranking s", "memory MB"]
        found.append(("an epoch of training and a full ranking", headings, _aligned(rows, (2, 3, 4))))
    compared = {name: each for name, each in results.items() if each["peer"]}
    if compared:
        headings = [
            "benchmark",
            "against",
            "rate there",
            "memory MB there",
            "times as long",
            "range",
            "ndcg@10",
            "there",
        ]
        rows = [
            [
                name,
                f"{each['peer']['name']} {each['peer']['version']}" + ("" if each["peer"]["warmed_up"] else ", cold"),
                f"{short(each['peer']['rate'])} {each['unit']}/s",
                _megabytes(each["peer"]["peak_memory"]),
                f"{each['ratio']:.2f}",
                f"{each['ratio_low']:.2f} to {each['ratio_high']:.2f}",
                *(f"{each['quality'][side]:.4f}" if each["quality"] else "-" for side in ("ours", "peer")),
            ]
            for name, each in compared.items()
        ]
        found.append(("against other libraries", headings, _aligned(rows, (2, 3, 4, 5, 6, 7))))
    if grown := growth.lines(results):
        title, headings, rows = growth.table(grown)
        found.append((title, headings, _aligned(rows, tuple(range(2, len(headings))))))
    traced = {name: each["operations"] for name, each in results.items() if each.get("operations")}
    if traced:
        kinds = list(dict.fromkeys(kind for each in traced.values() for kind in each if kind != "total"))
        rows = [
            [name, *(f"{each.get(kind, 0) / each['total']:.0%}" for kind in kinds)] for name, each in traced.items()
        ]
        found.append(("where the time goes", ["benchmark", *kinds], _aligned(rows, tuple(range(1, len(kinds) + 1)))))
    return found


def _epochs_and_rankings(results: list[dict[str, Any]]) -> list[list[str]]:
    """A row for each model of which both were measured, alike in all else."""
    rows = []
    for training in results:
        work = training["work"]
        same = work | {"what": "ranking"}
        ranking = next((each for each in results if each["work"] == same), None)
        if work["what"] == "training" and not work["steps"] and ranking:
            seconds = [f"{float(np.median(each['seconds'])):,.2f}" for each in (training, ranking)]
            memory = max(each["device_memory"] or each["peak_memory"] for each in (training, ranking))
            rows.append([training["model"], training["data"], *seconds, _megabytes(memory)])
    return rows


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """The tables, aligned as text too, with where, with what and how each was measured."""
    lines = ["# Speed", ""]
    for title, headings, rows in tables(results):
        widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
        lines += [f"## {title.capitalize()}", ""] if title != "speed" else []
        for line in (headings, ["-" * width for width in widths], *rows):
            lines.append("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
        lines.append("")
    lines += [*READING, ""]
    for where in dict.fromkeys(map(_where, results.values())):
        lines += [f"{where}:", ""]
        here = {name: each["command"] for name, each in results.items() if _where(each) == where}
        for command in dict.fromkeys(here.values()):
            lines.append(f"- `{command}`: {', '.join(name for name in here if here[name] == command)}")
        lines.append("")
    return "\n".join(lines)


def plot(results: dict[str, dict[str, Any]]) -> bytes:
    """An SVG picture: a bar for each comparison, from 1 (as fast) on a logarithmic axis, with its range.

    Raises ImportError without matplotlib ([report]).
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    compared = {name: each for name, each in reversed(results.items()) if each["peer"]}
    figure = Figure(figsize=(9, 0.42 * len(compared) + 1.4), layout="constrained")
    axis = figure.subplots()
    names = [f"{name} ({each['peer']['name']})" for name, each in compared.items()]
    ratios = [each["ratio"] for each in compared.values()]
    ranges = [[each["ratio"] - each["ratio_low"] for each in compared.values()]]
    ranges.append([each["ratio_high"] - each["ratio"] for each in compared.values()])
    colours = ["C0" if ratio >= 1 else "C3" for ratio in ratios]
    bars = axis.barh(names, [ratio - 1 for ratio in ratios], left=1, xerr=ranges, color=colours, alpha=0.85)
    axis.bar_label(bars, [f"{ratio:.2f}" for ratio in ratios], padding=8, fontsize=8)
    axis.axvline(1, color="#444", linewidth=1)
    axis.set_xscale("log")
    axis.margins(x=0.15)
    axis.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_title("times as long as ancf_jax takes", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


def short(value: float) -> str:
    """A rate in three digits: 483k, 1.27M, 96.4G."""
    for letter in ("", "k", "M", "G"):
        if value < 999.5:
            return f"{value:.3g}{letter}"
        value /= 1000
    return f"{value:.3g}T"


def _share(result: dict[str, Any], kind: str) -> str:
    rate = result[f"{kind}_per_second"]
    return f"{short(rate)} ({rate / result[f'machine_{kind}_per_second']:.0%})"


def _megabytes(value: int | None) -> str:
    return "-" if value is None else f"{value / 1e6:,.0f}"


def _where(result: dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    return f"{result['hardware']}; Python {result['python']}, {versions}; commit {result['commit']}"


def _aligned(rows: list[list[str]], numbers: tuple[int, ...]) -> list[list[str]]:
    """The rows with the columns `numbers` padded on the left to one width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [[cell.rjust(widths[n]) if n in numbers else cell for n, cell in enumerate(row)] for row in rows]
