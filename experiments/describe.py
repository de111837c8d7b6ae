"""Describe data: python -m experiments.describe --dataset=online-retail --workdir=checkpoints/describe

Says what a log is like as it was read and after it was cleaned and split: counts, values, times, the long tail of
items, activity, repeats, drift, whether the split leaks, and what of it deserves attention. No model is trained. Writes
describe.html, with plots, and describe.json.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.settings import DataConfig
from experiments import console


def define() -> None:
    """Which data, and where the report goes."""
    define_flags(DataConfig)
    flags.DEFINE_string("workdir", "checkpoints/describe", "where the report is kept", allow_override=True)


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import numpy as np
import pandas as pd

from ancf_jax.data import summary
from ancf_jax.data.dataset import Dataset, cleaned, divided
from ancf_jax.data.read.sources import read
from ancf_jax.data.read.tables import Source
from ancf_jax.data.splits import Parts
from ancf_jax.reports.logs import log as report_data
from ancf_jax.reports.logs import log_plots as report_plots
from ancf_jax.reports.logs.findings import findings
from ancf_jax.training import checkpoint
from ancf_jax.types import InputError


def describe(config: DataConfig) -> dict[str, Any]:
    """The report of the data that `config` names, which are read once."""
    if config.stream:
        raise InputError("flag --stream: a description needs the whole log in memory; legal is a part of it, without")
    console.say(f"reading {config.dataset} ...")
    source = read(config)
    dataset = divided(cleaned(source, config), replace(config, target="value"))  # values are shown as they are
    before, after = _rows(source), _rows_of(dataset)
    return {
        "dataset": dataset.name,
        "split": dataset.split,
        "removed": [rule._asdict() for rule in dataset.removed],
        "changed": [rule._asdict() for rule in dataset.changed],
        "inferred": list(dataset.inferred),
        "repeats": dataset.repeats,
        "read": summary.of_log(before, source.timed, source.unit),
        "cleaned": summary.of_log(after, source.timed, source.unit),
        "parts": summary.of_split(Parts(dataset.train, dataset.valid, dataset.test), dataset.times),
        "command": console.command("experiments.describe"),
    }


def _rows(source: Source) -> pd.DataFrame:
    """All rows, those of a published test part last."""
    return source.frame if source.test is None else pd.concat([source.frame, source.test], ignore_index=True)


def _rows_of(dataset: Dataset) -> pd.DataFrame:
    """The rows of all parts in the order of time, under dense ids."""
    parts = (dataset.train, dataset.valid, dataset.test)
    users, items, values, order = (
        np.concatenate(columns) for columns in zip(*(part[:4] for part in parts), strict=True)
    )
    time = order if dataset.times is None else dataset.times[order]
    frame = pd.DataFrame({"user": users, "item": items, "value": values.astype(np.float64), "time": time})
    return frame.iloc[np.argsort(order)]


def main() -> dict[str, Any]:
    """Describe, print, and write the page."""
    folder = Path(flags.FLAGS.workdir)
    report = describe(from_flags(DataConfig))
    found = findings(report)
    remarks = [f"Command: {report['command']}", *report["inferred"]]
    try:
        pictures = report_plots.plots(report)
    except ImportError:
        pictures = {}
        remarks.append("No plots: install the package with its [report] extra (matplotlib).")
    checkpoint.write_text(folder / "describe.json", json.dumps(report | {"findings": found}, indent=1) + "\n")
    checkpoint.write_text(folder / "describe.html", report_data.page(report, remarks, pictures))
    show(report, found)
    console.say(f"wrote {folder}/describe.json and {folder}/describe.html", *remarks[1:])
    before, after, test = report["read"], report["cleaned"], report["parts"]["test"]
    return {
        "dataset": report["dataset"],
        "split": report["split"],
        "rows_read": before["rows"],
        **{name: after[name] for name in ("rows", "users", "items", "density")},
        **{name: report["parts"][name]["rows"] for name in ("train", "valid", "test")},
        "gini": after["long_tail"]["gini"],
        "top_10%": after["long_tail"]["top"]["10%"],
        "repeats": before["repeats"]["rows"],
        "test_before_own_train": test.get("before_own"),
        "test_before_any_train": test.get("before_any"),
        "test_new_users": test["new_users"],
        "test_new_items": test["new_items"],
        "findings": len(found),
        "workdir": str(folder),
    }


def show(report: dict[str, Any], found: list[str]) -> None:
    """Print the tables, their numbers aligned on the right, and then what stands out."""
    for section in report_data.sections(report):
        lines = [section.headings, *section.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        first, *rows = [[line[0], *map(str.rjust, line[1:], widths[1:])] for line in lines]
        console.table(first, rows, section.title)
        if section.note:
            console.say(section.note)
    console.say("", "Worth knowing:" if found else "Nothing stands out.", *(f"- {sentence}" for sentence in found))


if __name__ == "__main__":
    console.run(define, main)
