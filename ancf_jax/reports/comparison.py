"""The plots of a comparison, which `report` puts into its page. They need matplotlib ([report]).

Every point is named beside it or on its axis, so that no colour has to tell 30 models apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from ancf_jax.evaluation.metrics import merit
from ancf_jax.reports.curves import Curve, drawn
from ancf_jax.reports.groups import Groups
from ancf_jax.reports.logs.log_plots import log_scale, picture
from ancf_jax.reports.summary import ranking_metric

# Told apart by all kinds of colour vision: M. Okabe and K. Ito, 2008, "Color universal design".
BLUE, ORANGE, GREEN = COLOURS = ("#0072B2", "#D55E00", "#009E73")
MARKS = ("o", "s", "^")
LINE = 0.16  # inches that a name in a plot is high
ASIDES = (("popularity@10", -1, "less popular"), ("coverage@10", 1, "wider in coverage"))  # -1: less is better
Points = Sequence[tuple[float | None, float | None]]  # mean, half width of its interval


def plots(
    rows: list[dict[str, Any]],
    metrics: Sequence[str],
    groups: Sequence[Groups],
    curves: Mapping[str, Curve],
) -> dict[str, list[tuple[str, bytes]]]:
    """Captions and SVG pictures by the title of the section that they belong to; `rows` as from `summary.summarise`.

    Raises ImportError without matplotlib ([report]).
    """
    names = [row["model"] for row in rows]
    first, ranking = metrics[0], ranking_metric(metrics)
    caption = f"Test {first} against seconds of training. {_marked(first, 'faster')}"
    found = {
        "Test metrics": [
            *(
                (f"Test {metric}, with 95% intervals", _dots(names, {metric: _points(rows, metric)}))
                for metric in _leading(metrics)
            ),
            (caption, _scatter(rows, "training seconds", first, -1, log=True)),
        ]
    }
    asides = [(name, sign, word) for name, sign, word in ASIDES if any(row[name] is not None for row in rows)]
    if asides:
        found["Beyond accuracy"] = [
            (f"Test {ranking} against {name}. {_marked(ranking, word)}", _scatter(rows, name, ranking, sign))
            for name, sign, word in asides
        ]
    for each in groups:
        kept = [name for name in names if name in each.values]
        series = {label: [each.values[name][n] for name in kept] for n, label in enumerate(each.names)}
        found[each.title] = [(f"Test {each.metric} of the groups, with 95% intervals", _dots(kept, series))]
    if shown := drawn(curves):
        found["Learning curves"] = [
            (f"{name}: epoch {each.best} kept", picture(_learning, each, size=(4.2, 1.6), panels=2))
            for name, each in shown.items()
        ]
    return found


def overview(rows: list[dict[str, Any]], metrics: Sequence[str]) -> bytes:
    """One SVG with the leading metrics of all models side by side. Raises ImportError without matplotlib."""
    names = [row["model"] for row in rows]
    leading = _leading(metrics)

    def draw(*axes: Any) -> None:
        for axis, metric in zip(axes, leading, strict=True):
            _draw_dots(axis, names, {metric: _points(rows, metric)})
            axis.set_title(f"test {metric}", fontsize=10)

    return picture(draw, size=(4.2 * len(leading), _height(len(rows))), panels=len(leading))


def _leading(metrics: Sequence[str]) -> tuple[str, ...]:
    """The first metric and the first of ranks, or else the second."""
    return tuple(dict.fromkeys((metrics[0], ranking_metric(metrics), *metrics)))[:2]


def _points(rows: list[dict[str, Any]], metric: str) -> Points:
    return [(row[metric], row[f"{metric} ±"]) for row in rows]


def _marked(metric: str, word: str) -> str:
    return f"Orange diamonds: none is both {'lower' if merit(metric, 1) < 0 else 'higher'} and {word}."


def _height(lines: int, line: float = 0.2) -> float:
    return line * lines + 0.7


def _dots(names: Sequence[str], series: Mapping[str, Points]) -> bytes:
    return picture(_draw_dots, names, series, size=(4.2, _height(len(names), 0.2 if len(series) == 1 else 0.34)))


def _draw_dots(axis: Any, names: Sequence[str], series: Mapping[str, Points]) -> None:
    """Of each model one line, on it a point of each series with its interval."""
    from matplotlib.ticker import MaxNLocator

    places = np.arange(len(names))[::-1]
    for place in places[::2]:
        axis.axhspan(place - 0.5, place + 0.5, color="#f3f3f3", linewidth=0)
    shifts = np.linspace(0.27, -0.27, len(series)) if len(series) > 1 else (0,)
    for (label, points), shift, colour, mark in zip(series.items(), shifts, COLOURS, MARKS, strict=False):
        means, halves = np.array(points, np.float64).T
        style = {"fmt": mark, "color": colour, "markersize": 4, "elinewidth": 1.2}
        axis.errorbar(means, places + shift, xerr=halves, label=label, **style)
    axis.set_yticks(places, names)
    axis.set_ylim(-0.5, len(names) - 0.5)
    axis.tick_params(axis="y", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.ticklabel_format(axis="x", useOffset=False)
    if len(series) > 1:
        axis.figure.legend(fontsize=9, frameon=False, loc="outside upper center", ncols=len(series))


def _scatter(rows: list[dict[str, Any]], across: str, up: str, sign: int, log: bool = False) -> bytes:
    rows = [row for row in rows if row[across] is not None and row[up] is not None]
    content = ([row["model"] for row in rows], *(np.array([row[key] for row in rows]) for key in (across, up)))
    size = (4.2, max(2.8, LINE * len(rows) + 0.7))
    return picture(_draw_scatter, *content, across, up, sign, log, size[1] - 0.7, size=size)


def _draw_scatter(
    axis: Any,
    names: list[str],
    x: np.ndarray,
    y: np.ndarray,
    across: str,
    up: str,
    sign: int,
    log: bool,
    height: float,
) -> None:
    """Points whose names stand in a column on the right, in their order, so that none covers another or a point."""
    from matplotlib.ticker import MaxNLocator

    best = undominated(sign * x, merit(up, 1) * y)
    for chosen, colour, mark in ((~best, BLUE, "o"), (best, ORANGE, "D")):
        axis.scatter(x[chosen], y[chosen], s=22, color=colour, marker=mark, zorder=3)
    if log:
        x = np.maximum(x, 1e-3)
        log_scale(axis, x.min(), x.max())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(4))
    margin = 0.06 * np.ptp(y) or 0.01
    low, high = y.min() - margin, y.max() + margin
    axis.set_ylim(low, high)
    axis.ticklabel_format(axis="y", useOffset=False)
    axis.set_xlabel({"training seconds": "seconds of training"}.get(across, across), fontsize=9)
    axis.set_title(f"test {up}", fontsize=9, loc="left")
    axis.grid(alpha=0.3)
    for name, where, place, kept in zip(
        names, zip(x, y, strict=True), spread((y - low) / (high - low), LINE / height), best, strict=True
    ):
        axis.annotate(
            name,
            where,
            (1.08, place),
            textcoords="axes fraction",
            va="center",
            fontsize=8,
            color=ORANGE if kept else "#222",
            arrowprops={"arrowstyle": "-", "color": "#bbb", "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 1},
        )


def undominated(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which of the points [N] none surpasses in one and equals in the other of `x` and `y`, greater being better."""
    at_least = (x[:, None] >= x) & (y[:, None] >= y)
    return (at_least & ((x[:, None] > x) | (y[:, None] > y))).sum(axis=0) == 0


def spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Where to put labels that belong to `places` [N] in [0, 1]: in their order, at least `gap` apart, as near as can
    be in the sum of squares, and within [0, 1] if they fit."""
    order = np.argsort(places, kind="stable")
    steps = min(gap, 1 / max(len(places) - 1, 1)) * np.arange(len(places))
    labels = np.empty(len(places))
    labels[order] = np.clip(isotonic_regression(places[order] - steps).x, 0, 1 - steps[-1]) + steps
    return labels


def _learning(left: Any, right: Any, curve: Curve) -> None:
    """Training loss and validation metric by epoch, the epoch that was kept marked."""
    from matplotlib.ticker import MaxNLocator

    for axis, points, title, colour in (
        (left, curve.losses, "training loss", BLUE),
        (right, curve.values, f"validation {curve.metric}", ORANGE),
    ):
        axis.set_title(title if points else f"no {title}", fontsize=9, loc="left")
        if not points:
            axis.set_axis_off()
            continue
        axis.plot(*zip(*points, strict=True), "o-" if len(points) < 3 else "-", color=colour, markersize=3)
        axis.axvline(curve.best, color="#444", linewidth=1, linestyle=":")
        if curve.best in dict(points):
            axis.plot(curve.best, dict(points)[curve.best], "o", color=colour, markersize=4)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.yaxis.set_major_locator(MaxNLocator(3))
        axis.ticklabel_format(axis="y", useOffset=False)
