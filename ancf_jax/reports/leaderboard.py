"""All published results as one leaderboard: a table for each data set and protocol, from the files that scripts wrote.

A file of results is what a comparison writes: its rows, one a model, and the runs behind them. Figures that others
published stand beside ours where there are some.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ancf_jax.evaluation.metrics import merit
from ancf_jax.reports.page import Section

Published = Sequence[Mapping[str, Any]]  # dataset, split, model, figures by metric, source


class Board(NamedTuple):
    """What was measured on one data set by one protocol."""

    dataset: str
    split: str
    protocol: str
    metrics: tuple[str, ...]
    rows: list[
        dict[str, Any]
    ]  # of a comparison, the best first, each with its file, command, recipe and what is published

    @property
    def name(self) -> str:
        """Data set and split, and whether what a user has may come again."""
        return f"{self.dataset}, {self.split}" + (", repeats kept" if "the user has too" in self.protocol else "")


def boards(results: Path, recipes: Path, published: Published) -> list[Board]:
    """The boards of all files in the folder `results`, by data set.

    Where a model stands in several files of one board, the row with the most seeds counts, and of these that of the
    file whose name comes last. Files that are no comparisons, such as trials and benchmarks, are passed over.
    """
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    metrics: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for path in sorted(results.glob("*.json")):
        content = json.loads(path.read_text())
        if not isinstance(content, dict) or not {"rows", "runs", "protocol", "metrics"} <= content.keys():
            continue
        key = content["dataset"], content["split"], content["protocol"].partition(";")[0]
        metrics.setdefault(key, tuple(content["metrics"]))
        board = found.setdefault(key, {})
        for row in content["rows"]:
            label = row["model"]
            if label in board and board[label]["seeds"] > row["seeds"]:
                continue
            known = next((each for each in published if (*key[:2], label) == _key(each)), None)
            recipe = recipes / f"{content['dataset'].partition(' ')[0]}-{label}.flags"
            board[label] = row | {
                "file": path.stem,
                "command": content["command"],
                "recipe": recipe.name if recipe.exists() else "",
                "published": known,
            }
    return [
        Board(*key, metrics[key], sorted(rows.values(), key=lambda row: -merit(metrics[key][0], row[metrics[key][0]])))
        for key, rows in sorted(found.items())
    ]


def _key(each: Mapping[str, Any]) -> tuple[str, str, str]:
    return each["dataset"], each["split"], each["model"]


def sections(found: Sequence[Board], folder: str) -> list[Section]:
    """A table for each board; `folder` is where the files of results lie from the page's place."""
    return [_section(board, folder) for board in found]


def _section(board: Board, folder: str) -> Section:
    metrics = [name for name in board.metrics if all(row.get(name) is not None for row in board.rows)]
    figures = [part for name in metrics for part in (name, "±")]
    headings = ["", "model", "reads order", *figures, "seeds", "trials", "minutes", "published", "difference", "recipe"]
    table = []
    for place, row in enumerate(board.rows, 1):
        known, first = row["published"], metrics[0]
        told = known["figures"].get(first) if known else None
        table.append(
            [
                str(place),
                f"{row['model']} *" if row.get("starts_from") else row["model"],
                row.get("reads_order") or "-",
                *(_figure(row[key]) for name in metrics for key in (name, f"{name} ±")),
                str(row["seeds"]),
                "-" if row.get("trials") is None else str(row["trials"]),
                f"{row['training seconds'] / 60:.1f}",
                _figure(told),
                "-" if told is None else f"{row[first] - told:+.4f}",
                row["recipe"] or f"--model={row['model']}",
            ]
        )
    commands = dict.fromkeys(f"`{row['command']}` ({folder}{row['file']}.json)" for row in board.rows)
    sources = dict.fromkeys(f"{row['model']}: {row['published']['source']}" for row in board.rows if row["published"])
    note = [f"{board.protocol[0].upper()}{board.protocol[1:]}.", *(f"Command: {each}" for each in commands)]
    note += [f"Published {metrics[0]} of {each}." for each in sources]
    return Section(board.name, headings, table, "\n\n".join(note))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


NOTES = (
    "Each row is what its command gives; intervals, tests between models and what each knew at test stand in the page "
    "of its file.",
    "Reads order: whether a model knows the order of interactions. latest N: it reads the latest N as a set; in "
    "training: a history as a set, but it has learned from the order of the log. -: measured before that was recorded, "
    "when intervals of several seeds were over seeds alone.",
    "±: half width of the 95% interval, over seeds and users where there are several seeds, else over users.",
    "Trials: settings compared on validation to find those of the recipe; 0: not tuned, -: not recorded.",
    "*: starts from trained models, whose minutes are counted.",
    "Published: a figure that others report under the same protocol, and how far ours is from it.",
)
