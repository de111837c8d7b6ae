"""The plots of a data set's summary, which `report_data` puts into its page. They need matplotlib ([report])."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from ancf_jax.reports.logs.findings import number
from ancf_jax.reports.speed import short


def plots(report: dict[str, Any]) -> dict[str, list[tuple[str, bytes]]]:
    """Captions and SVG pictures by the title of the section that they belong to.

    Raises ImportError without matplotlib ([report]).
    """
    read, cleaned = report["read"], report["cleaned"]
    found = {
        "Long tail of items": [
            ("Share of the interactions on the least popular items", picture(_lorenz, read, cleaned))
        ],
        "Activity of users": [
            ("Users by their interactions, cleaned", picture(_histogram, cleaned["activity"]["histogram"]))
        ],
    }
    values = read["values"]
    if values["distinct"] > 1:
        hidden = values["negative"] + values["zero"] if values["histogram"]["scale"] == "log" else 0
        caption = "Rows by value, as read" + (f"; {hidden:,} of no positive value are not shown" if hidden else "")
        found["Values"] = [(caption, picture(_histogram, values["histogram"]))]
    if read["times"]:
        found["Times"] = [
            (f"Rows per {read['times']['period'] or 'period'}, as read", picture(_timeline, read["times"]))
        ]
    drift = cleaned["drift"]
    if drift and len(drift["rows"]) > 1:
        shares = {"on new items": drift["new_items"][1:], "of new users": drift["new_users"][1:]}
        distances = {"shift": drift["distance"][1:], "by chance": drift["by_chance"][1:]}
        starts = drift["edges"][1:-1]
        found["Drift of the cleaned log"] = [
            ("Share of the interactions on items, and of users, that are new", picture(_lines, starts, shares)),
            ("Shift of the items' shares since the period before", picture(_lines, starts, distances)),
        ]
    return found


def picture(draw: Callable[..., None], *content: Any, size: tuple[float, float] = (4.2, 2.6), panels: int = 1) -> bytes:
    """An SVG of draw(*axes, *content), as legible on a phone as on a desktop: small, for no page shows it much larger.

    `panels` axes stand side by side. Raises ImportError without matplotlib ([report]).
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=9)
    draw(*axes, *content)
    out = io.BytesIO()
    figure.savefig(out, format="svg")
    return out.getvalue()


def _histogram(axis: Any, bins: dict[str, Any]) -> None:
    edges, counts = bins["edges"], bins["counts"]
    if bins["scale"] == "values":
        labels = [number(edge) for edge in edges]
        axis.bar(range(len(edges)), counts)
        axis.set_xticks(range(len(edges)), labels, rotation=90 if len("".join(labels)) > 30 else 0)
    else:
        axis.stairs(counts, edges, fill=True)
    if bins["scale"] == "log":
        log_scale(axis, edges[0], edges[-1])
    _count_scale(axis)


def log_scale(axis: Any, low: float, high: float) -> None:
    """A logarithmic horizontal axis for numbers from `low` to `high`, with a few labelled ticks."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_xscale("log")
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 1000 * low else (1.0, 2.0, 5.0), numticks=7))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.xaxis.set_minor_formatter(NullFormatter())


def _count_scale(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def _timeline(axis: Any, times: dict[str, Any]) -> None:
    counts = times["counts"]
    axis.fill_between(_moments(axis, times["edges"]), [*counts, counts[-1]], step="post")
    _count_scale(axis)


def _lines(axis: Any, starts: list[Any], lines: dict[str, list[float | None]]) -> None:
    where = _moments(axis, starts)
    for (label, values), mark in zip(lines.items(), ("o-", "s--"), strict=True):
        axis.plot(where, np.array(values, np.float64), mark, label=label, markersize=3)
    axis.set_ylim(0, 1.02)
    axis.legend(fontsize=9, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _moments(axis: Any, starts: list[Any]) -> np.ndarray:
    """Dates or numbers for the horizontal axis, which is told which of them they are."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if not isinstance(starts[0], str):
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        return np.array(starts, np.float64)
    moments = np.array(starts, "datetime64[s]")
    axis.xaxis_date()
    locator = AutoDateLocator(minticks=3, maxticks=7)
    axis.xaxis.set_major_locator(locator)
    axis.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    return moments


def _lorenz(axis: Any, read: dict[str, Any], cleaned: dict[str, Any]) -> None:
    where = np.linspace(0, 1, 101)
    axis.plot(where, where, color="#999", linewidth=1, label="equal")
    axis.plot(where, read["long_tail"]["lorenz"], label="as read")
    axis.plot(where, cleaned["long_tail"]["lorenz"], "--", label="cleaned")
    for scale in (axis.xaxis, axis.yaxis):
        scale.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.legend(fontsize=9, frameon=False, loc="upper left")
