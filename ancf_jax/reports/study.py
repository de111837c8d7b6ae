"""A search as people read it: its settings with how much each matters, its trials, and a picture of all of them."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ancf_jax.config import Range
from ancf_jax.evaluation.metrics import merit
from ancf_jax.reports.comparison import BLUE, ORANGE
from ancf_jax.reports.logs.log_plots import picture
from ancf_jax.reports.page import Section, markdown
from ancf_jax.tuning.search import Found
from ancf_jax.tuning.space import shown
from ancf_jax.tuning.trials import Trial

GREY = "#bbbbbb"
FATES = ("done", "capped", "pruned", "failed")


def ranked(found: Found) -> list[Trial]:
    """The trials that came to their end, the best first."""
    ended = [each for each in found.trials if each.state in ("done", "capped")]
    return sorted(ended, key=lambda each: -merit(found.metric, each.value))  # type: ignore[arg-type]


def settings(found: Found) -> Section:
    """How much each setting matters, the most first, what the start and the best trials have, and what was searched."""
    leading = ranked(found)[:2]
    headings = ["setting", "importance", "start", *(f"trial {each.number}" for each in leading), "searched"]
    start = found.trials[0] if found.trials else None
    rows = []
    for name in sorted(found.space, key=lambda name: -found.importance.get(name, 0.0)):
        weight = f"{found.importance[name]:.2f}" if found.importance else "-"
        values = [shown(each.settings[name]) if each else "-" for each in (start, *leading)]
        rows.append([name, weight, *values, searched(found.space[name])])
    figures = [figure(each.value) if each else "-" for each in (start, *leading)]
    return Section("Settings", headings, [[found.metric, "", *figures, ""], *rows])


def trials(found: Found) -> Section:
    """A line a trial."""
    headings = ["trial", "state", found.metric, "epoch", "of", "seconds", *found.space]
    rows = [
        [
            str(each.number),
            each.state,
            figure(each.value),
            "-" if each.epoch is None else str(each.epoch),
            str(each.epochs),
            f"{each.seconds:.1f}",
            *(shown(each.settings[name]) for name in found.space),
        ]
        for each in found.trials
    ]
    return Section("Trials", headings, rows)


def counts(found: Found) -> str:
    """'30 trials: 20 done, 10 pruned'."""
    states = [each.state for each in found.trials]
    fates = ", ".join(f"{states.count(fate)} {fate}" for fate in FATES if fate in states)
    return f"{len(states)} trial{'s' * (len(states) != 1)}: {fates or 'none'}"


def searched(search: Range | tuple[Any, ...]) -> str:
    """A range or choices, in words."""
    if isinstance(search, Range):
        return f"{shown(search.low)} to {shown(search.high)}{', log' * search.log}"
    return " / ".join(map(shown, search))


def page(title: str, found: Found, head: Mapping[str, Any], file: str = "") -> str:
    """The search as Markdown; `head` as `notes` takes it, `file` the picture's."""
    text = markdown(title, [settings(found), trials(found)], notes(found, head))
    return f"{text}\n![Every trial as a line across its settings]({file})\n" if file else text


def notes(found: Found, head: Mapping[str, Any]) -> list[str]:
    """What must stand with a search: data, what its figures are, which trials there are, and where it was measured."""
    versions = ", ".join(f"{name} {number}" for name, number in head["versions"].items())
    cap = f"at most {head['minutes']:g} minutes a trial" if head["minutes"] else "no limit of time"
    failed = [f"Trial {each.number} failed: {each.reason}." for each in found.trials if each.state == "failed"]
    matter = "Importance: the share of a setting in what leads to the top quarter of the trials (PED-ANOVA; Watanabe et"
    return [
        f"Data: {head['dataset']}, split {head['split']}. Figures are of validation; no trial read the test part.",
        f"{counts(found)}; {cap}. The first has the settings that the search started from; seed {head['seed']}.",
        "Pruned: behind the median of the others at the same epoch. Capped: out of time, with its best so far.",
        f"{matter} al., 2023)." if found.importance else "Too few trials to tell how much a setting matters.",
        *failed,
        f"Measured on {head['hardware']}; Python {head['python']}, {versions}; commit {head['commit']}.",
        f"Command: `{head['command']}`",
    ]


def plot(found: Found) -> bytes:
    """An SVG of parallel coordinates: a line for each trial with a value, across an axis for each setting and one for
    the validation metric. Raises ImportError without matplotlib ([report])."""
    return picture(_draw, found, size=(1.6 + 0.9 * len(found.space), 3.6))


def _draw(axis: Any, found: Found) -> None:
    valued = [each for each in found.trials if each.value is not None]
    values = sorted((each.value for each in valued if each.value is not None), key=partial(merit, found.metric))
    names = [*found.space]
    for place, name in enumerate(names):
        _axis(axis, place, name, _ticks(found.space[name]))
    worst, span = (values[0], (values[-1] - values[0]) or 1.0) if values else (0.0, 1.0)  # the best is on top
    metric = [(share, figure(worst + share * span)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    _axis(axis, len(names), f"validation\n{found.metric}", metric, right=True)
    order = [each for each in ranked(found)[::-1]]
    for each in (*(each for each in valued if each.state == "pruned"), *order):
        heights = [_height(found.space[name], each.settings[name]) for name in names]
        heights.append((each.value - worst) / span)  # type: ignore[operator]
        first, pruned = each is order[-1] if order else False, each.state == "pruned"
        colour = GREY if pruned else ORANGE if first else BLUE
        label = "pruned" if pruned else f"trial {each.number}, the best" if first else "done"
        strength = 1.0 if first else 0.5 if pruned else 0.15 + 0.7 * order.index(each) / len(order)
        axis.plot(heights, color=colour, alpha=strength, linewidth=2.2 if first else 1, label=label)
    axis.set_axis_off()
    axis.set_xlim(-0.4, len(names) + 0.7)
    axis.set_ylim(-0.3, 1.05)
    handles = dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))  # one of each name
    axis.figure.legend(
        handles.values(), handles, fontsize=9, frameon=False, loc="outside upper center", ncols=len(handles)
    )


def _axis(axis: Any, place: int, name: str, ticks: Sequence[tuple[float, str]], right: bool = False) -> None:
    """An upright axis with its ticks on one side and its name below."""
    axis.plot([place, place], [0, 1], color="#444444", linewidth=1, zorder=3)
    for height, text in ticks:
        shift = 0.06 if right else -0.06
        side = "left" if right else "right"
        style = {"fontsize": 7, "ha": side, "va": "center", "color": "#444444", "zorder": 4}
        axis.text(place + shift, height, text, bbox={"pad": 0.5, "color": "white", "alpha": 0.7}, **style)
    axis.text(place, -0.06, name.replace("_", "\n"), fontsize=9, ha="center", va="top")


def _ticks(search: Range | tuple[Any, ...]) -> list[tuple[float, str]]:
    """Heights from 0 to 1 and the values there."""
    if not isinstance(search, Range):
        return [(_height(search, value), shown(value)) for value in search]
    low, high = (np.log(search[:2]) if search.log else np.array(search[:2])).tolist()
    points = np.linspace(low, high, 3)
    return [(n / 2, f"{value:.2g}") for n, value in enumerate(np.exp(points) if search.log else points)]


def _height(search: Range | tuple[Any, ...], value: Any) -> float:
    """Where a value is on its axis, from 0 to 1; what is outside, as 0 on one of logarithms, at the near end."""
    if not isinstance(search, Range):
        return search.index(value) / max(len(search) - 1, 1) if len(search) > 1 else 0.5
    kept = min(max(value, search.low), search.high)
    low, high, here = np.log([search.low, search.high, kept]) if search.log else (search.low, search.high, kept)
    return float((here - low) / ((high - low) or 1.0))


def figure(value: float | None) -> str:
    """A value of the metric; a dash where there is none."""
    return "-" if value is None else f"{value:.4f}"
