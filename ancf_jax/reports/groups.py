"""Metrics of groups of users: thirds by how active they are, and by how popular their held-out items are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.evaluation.stats import mean_interval
from ancf_jax.reports.page import Section

KINDS = {  # per-user number in users.npz -> title, and how to read it
    "known_rows": ("Users by activity", "the number of their interactions before the test part"),
    "held_out_popularity": (
        "Users by the popularity of their items",
        "how many interactions before the test part their held-out items have, in the mean",
    ),
}


class Groups(NamedTuple):
    """A metric in G groups of users, the same for all models."""

    title: str
    reading: str
    metric: str
    names: list[str]  # [G] what the users of a group have, as a range
    sizes: list[int]  # [G] users
    values: dict[str, list[tuple[float, float]]]  # model -> [G] the mean and the half width of its 95% interval


def grouped(entries: dict[str, list[dict[str, Any]]], metrics: Sequence[str]) -> list[Groups]:
    """Each metric in thirds of the users, for every number of KINDS that the results know of and that differs.

    entries: as for `page.summarise`. Values are means over seeds; the interval is over seeds and the group's users.
    Models without a metric are left out.
    """
    known = [result["users"] for results in entries.values() for result in results if "known_rows" in result["users"]]
    found = []
    for kind, (title, reading) in KINDS.items():
        if not known or kind not in known[0]:
            continue
        numbers, rows = known[0][kind], known[0]["held_out_rows"]
        group = thirds(numbers)
        parts = [group == n for n in np.unique(group)]
        if len(parts) < 2:
            continue
        for metric in metrics:
            values = {
                name: [
                    mean_interval([values_within(each["users"], metric, part, rows) for each in results])
                    for part in parts
                ]
                for name, results in entries.items()
                if all(metric in each["users"] for each in results)
            }
            ranges = [f"{_number(numbers[part].min())} to {_number(numbers[part].max())}" for part in parts]
            heading = title if len(metrics) == 1 else f"{title}: {metric}"
            found.append(Groups(heading, reading, metric, ranges, [int(part.sum()) for part in parts], values))
    return found


def thirds(numbers: np.ndarray) -> np.ndarray:
    """The third, 0, 1 or 2, of each of `numbers` [E]. Equal ones share it, so that thirds may differ in size."""
    return np.searchsorted(np.unique(np.quantile(numbers, (1 / 3, 2 / 3), method="lower")), numbers)


def values_within(users: dict[str, np.ndarray], metric: str, part: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of the users of `part` [E], whose mean is the metric among them.

    Errors are over all pairs of the group, of which a user has `rows` [E]: `errors.per_user` of these users alone,
    from the sums of errors that the values of all users imply.
    """
    if metric not in ERRORS:
        return users[metric][part]
    values = users["mse" if metric == "rmse" else metric]
    sums = values.mean() * rows + (values - values.mean()) * rows.mean()  # [E] of squared or of absolute errors
    ratio = sums[part].sum() / rows[part].sum()
    within = ratio + (sums - ratio * rows)[part] / rows[part].mean()
    if metric != "rmse":
        return within
    root = np.sqrt(ratio)
    return root + (within - ratio) / (2 * root or 1.0)


def sections(found: Sequence[Groups], order: Sequence[str]) -> list[Section]:
    """A table of each, the models in the given order."""
    return [
        Section(
            groups.title,
            ["model", *(f"{name} ({size:,} users)" for name, size in zip(groups.names, groups.sizes, strict=True))],
            [[model, *(_cell(*point) for point in groups.values[model])] for model in order if model in groups.values],
            f"Test {groups.metric} in thirds of the users by {groups.reading}. ±: half width of the 95% interval "
            "(Student's t, over users and, where there are several, seeds).",
        )
        for groups in found
    ]


def _cell(mean: float, half: float) -> str:
    return f"{mean:.4f}" if np.isnan(half) else f"{mean:.4f} ± {half:.4f}"  # a single user has no interval


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
