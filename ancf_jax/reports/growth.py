"""How cost grows: seconds and memory of one model at several sizes of its data, and the exponents that fit them.

Of the results of a benchmark, those of a model that differ from its smallest in one of AXES alone make a line: the
exponent k of cost ~ size^k is the slope of a straight line through the logarithms, by least squares.
"""

import io
import json
from typing import Any, NamedTuple

import numpy as np

AXES = ("users", "items", "history", "factors")
COSTS = {"updates": "training step", "ranking": "ranking"}  # what is timed
Results = dict[str, dict[str, Any]]


class Line(NamedTuple):
    """What one model's work costs along one axis."""

    model: str
    cost: str  # of COSTS, or "memory of " it
    axis: str
    sizes: np.ndarray  # [n] ascending
    values: np.ndarray  # [n] seconds, or bytes
    exponent: float


def lines(results: Results) -> list[Line]:
    """All lines of at least 3 sizes, by model, cost and axis, of what was measured along more than one axis."""
    found: list[Line] = []
    measured = [each for each in results.values() if each.get("what") in COSTS and _sizes(each)]
    for kind in dict.fromkeys(map(_kind, measured)):
        alike = [each for each in measured if _kind(each) == kind]
        model, what = alike[0]["model"], alike[0]["what"]
        base = {axis: min(_sizes(each)[axis] for each in alike) for axis in AXES if axis in _sizes(alike[0])}
        own: list[Line] = []
        for axis in base:
            others = {name: size for name, size in base.items() if name != axis}
            along = sorted(
                (each for each in alike if _sizes(each).items() >= others.items()), key=lambda r: _sizes(r)[axis]
            )
            if len(along) >= 3:
                sizes = np.array([_sizes(each)[axis] for each in along], float)
                seconds = np.array([np.median(each["seconds"]) for each in along]) / [_steps(each) for each in along]
                memory = np.array([each["device_memory"] or each["peak_memory"] for each in along], float)
                for cost, values in ((COSTS[what], seconds), (f"memory of {COSTS[what]}", memory)):
                    slope = np.polyfit(np.log(sizes), np.log(values), 1)[0]
                    own.append(Line(model, cost, axis, sizes, values, float(slope)))
        found += own if len({line.axis for line in own}) > 1 else []
    return found


def table(found: list[Line]) -> tuple[str, list[str], list[list[str]]]:
    """A row for each model and cost: the sizes' exponents, - where there is no such axis."""
    rows = []
    for model, cost in dict.fromkeys((line.model, line.cost) for line in found):
        own = {line.axis: line for line in found if (line.model, line.cost) == (model, cost)}
        rows.append([model, cost, *(f"{own[axis].exponent:.2f}" if axis in own else "-" for axis in AXES)])
    return "exponents of cost by size", ["model", "cost", *AXES], rows


def plot(found: list[Line]) -> bytes:
    """An SVG picture: a panel for each cost, with sizes and costs as multiples of the smallest.

    Raises ImportError without matplotlib ([report]).
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    models = list(dict.fromkeys(line.model for line in found))
    costs = ["training step", "ranking", "memory of training step", "memory of ranking"]
    figure = Figure(figsize=(9, 8), layout="constrained", facecolor="white")
    for axis, cost in zip(figure.subplots(2, 2).flat, costs, strict=True):
        for line in (line for line in found if line.cost == cost):
            style = {"color": f"C{AXES.index(line.axis)}", "linestyle": ("-", "--", ":")[models.index(line.model) % 3]}
            label = f"{line.model}, {line.axis}: {line.exponent:.2f}"
            axis.plot(line.sizes / line.sizes[0], line.values / line.values[0], marker="o", label=label, **style)
        axis.set(xscale="log", yscale="log", title=cost, xlabel="size / smallest", ylabel="cost / smallest")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_formatter(StrMethodFormatter("{x:g}"))
            side.set_minor_formatter(NullFormatter())
        axis.set_xticks([1, 2, 4])
        axis.set_yticks([1, 2, 4, 8, 16])
        axis.set_ylim(0.7, 20)
        axis.axline((1, 1), (2, 2), color="#888", linewidth=0.8)
        if axis.lines[1:]:  # beside the diagonal
            axis.legend(fontsize=7, handlelength=3, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


def _sizes(result: dict[str, Any]) -> dict[str, int]:
    """The sizes of a synthetic log, and of the model; none of another log."""
    work = result["work"]
    if not work["sizes"]:
        return {}
    return {"users": work["sizes"][0], "items": work["sizes"][1]} | {
        name: work["config"][name] for name in ("history", "factors") if name in work["config"]
    }


def _kind(result: dict[str, Any]) -> str:
    """All of the work but its sizes."""
    config = {name: value for name, value in result["work"]["config"].items() if name not in AXES}
    return json.dumps(
        {**result["work"], "model": result["model"], "what": result["what"], "sizes": 0, "config": config}
    )


def _steps(result: dict[str, Any]) -> float:
    return result["amount"] if result["what"] == "updates" else 1.0
