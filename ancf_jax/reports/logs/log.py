"""A summary of a data set as people read it: tables, and a self-contained HTML page.

A report is a dict: 'dataset', 'split', 'repeats' (whether they are kept), 'read' and 'cleaned' (`data.summary.of_log`
before and after cleaning), 'removed' and 'changed' ([{'rule', 'rows'}]), 'parts' (`data.summary.of_split`) and
'command'.
"""

import html
import re
from collections.abc import Callable
from typing import Any

from ancf_jax.reports.logs.findings import count, findings, number, share
from ancf_jax.reports.page import Figures, Section, document, html_list, html_section
from ancf_jax.reports.speed import short

COLUMNS = ["", "read", "cleaned"]
PARTS = ("train", "valid", "test")
STYLE = """td:first-child { min-width: 5rem; overflow-wrap: anywhere; white-space: normal; }
main { display: grid; gap: 0 3rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); }
section { min-width: 0; }
code { white-space: nowrap; }
.findings { border-left: .3rem solid #c60; padding-left: 2rem; }
@media (max-width: 35rem) { .findings { padding-left: 1.5rem; } }
"""


def sections(report: dict[str, Any]) -> list[Section]:
    """The tables. Those of times and drift are missing for a log without times."""
    logs = (report["read"], report["cleaned"])

    def row(label: str, text: Callable[[Any], str], *keys: str) -> list[str]:
        found = []
        for each in logs:
            for key in keys:
                each = each[key]
            found.append(text(each))
        return [label, *found]

    found = [
        Section(
            "Counts",
            COLUMNS,
            [row(name, count, name) for name in ("rows", "users", "items")]
            + [row("distinct pairs of user and item", count, "pairs"), row("density", density, "density")]
            + [row(f"rows without {name}", count, "missing", name) for name in ("user", "item", "value")],
            "Counts of users, items and pairs, and all tables below, are of rows with a user and an item."
            + ("" if logs[0]["times"] else " The log has no times, so nothing is said of times and drift."),
        ),
        Section("Cleaning", ["rule", "rows", "share"], _cleaning(report)),
        Section(
            "Values",
            COLUMNS,
            [row(name, number, "values", name) for name in ("min", "25%", "median", "75%", "99%", "max", "mean")]
            + [row(f"{name} values", count, "values", name) for name in ("negative", "zero", "distinct")],
        ),
    ]
    if logs[0]["times"]:
        length = len("2000-01-01T00:00" if logs[0]["times"]["period"] == "hour" else "2000-01-01")
        found.append(
            Section(
                "Times",
                COLUMNS,
                [
                    *(row(name, lambda time: moment(time, length), "times", name) for name in ("first", "last")),
                    row("rows at the time of another row of the user", share, "times", "ties"),
                ],
                f"Read as {_unit(logs[0]['times'])}.",
            )
        )
    found += [
        Section(
            "Long tail of items",
            COLUMNS,
            [row(f"interactions on the top {top}", share, "long_tail", "top", top) for top in ("1%", "10%", "20%")]
            + [row("Gini index", two_digits, "long_tail", "gini")]
            + [row("median of an item", number, "long_tail", "per_item", "median")]
            + [row("items with one interaction", share, "long_tail", "once")]
            + [row("items with fewer than 5", share, "long_tail", "fewer_than_5")],
        ),
        Section(
            "Activity of users",
            COLUMNS,
            [row(name, number, "activity", "per_user", name) for name in ("25%", "median", "75%", "99%", "max", "mean")]
            + [row("users with one interaction", share, "activity", "once")]
            + [row("users with fewer than 3", share, "activity", "fewer_than_3")]
            + [row("pairs of user and item that recur", share, "repeats", "pairs")]
            + [row("rows that repeat another", share, "repeats", "rows")],
            "Interactions of a user. Rows with a negative value, which are returns, are no repeats.",
        ),
    ]
    if logs[1]["drift"]:
        found.append(_drift_section(logs[1]["drift"]))
    return [*found, _split_section(report)]


def _cleaning(report: dict[str, Any]) -> list[list[str]]:
    """What was removed and changed, and what is left."""
    rules = [(f"{did}: {each['rule']}", each["rows"]) for did in ("removed", "changed") for each in report[did]]
    rules.append(("kept", report["cleaned"]["rows"]))
    return [[rule, count(rows), share(rows / report["read"]["rows"])] for rule, rows in rules]


def _unit(times: dict[str, Any]) -> str:
    return f"{times['unit']} since 1970, UTC" if times["unit"] else "numbers, which are no dates"


def _drift_section(drift: dict[str, Any]) -> Section:
    columns = [[share(value) for value in drift[key]] for key in ("new_items", "new_users")]
    columns += [[two_digits(value) for value in drift[key]] for key in ("distance", "by_chance")]
    starts, rows = map(moment, drift["edges"]), map(short, drift["rows"])
    return Section(
        "Drift of the cleaned log",
        [f"{drift['period'] or 'period'} from", "rows", "new items", "new users", "shift", "by chance"],
        [list(line) for line in zip(starts, rows, *columns, strict=False)],
        "New items, new users: share of the rows whose item or user is in no earlier period. Shift: total variation "
        "distance between the items' shares here and in the period before, 0 if equal, 1 if no item is shared; by "
        "chance: the same with items permuted over the whole log.",
    )


def _split_section(report: dict[str, Any]) -> Section:
    parts = [report["parts"][name] for name in PARTS]
    texts: dict[str, tuple[str, Callable[[Any], str]]] = {
        "rows": ("rows", count),
        "share": ("share", share),
        "users": ("users", count),
        "items": ("items", count),
        "pair_in_train": ("rows whose user and item are in train", count),
        "users_without_train": ("users without training rows", count),
        "new_users": ("rows of these users", share),
        "items_without_train": ("items without training rows", count),
        "new_items": ("rows of these items", share),
        "before_own": ("rows earlier than a training row of the same user", share),
        "at_own": ("rows at the time of the user's last training row", share),
        "before_any": ("rows earlier than a training row of anyone", share),
        "train_after": ("training rows later than a row, in the mean", share),
    }
    rows = [
        [label, *(text(part[key]) if key in part else "-" for part in parts)]
        for key, (label, text) in texts.items()
        if any(key in part for part in parts)
    ]
    both = report["parts"]["pairs_in_valid_and_test"]
    return Section(
        f"Split: {report['split']}", ["", *PARTS], rows, f"Pairs of user and item in both valid and test: {both:,}."
    )


def two_digits(value: float | None) -> str:
    """An index between 0 and 1."""
    return "-" if value is None else f"{value:.2f}"


def density(value: float) -> str:
    """A share that may be tiny, in percent to two digits."""
    return f"{100 * value:.2g}%" if value < 0.995 else share(value)


def moment(value: Any, length: int | None = None) -> str:
    """A date and time, of which `length` characters tell enough, or a number where times are no dates."""
    return value[:length].replace("T", " ") if isinstance(value, str) else count(value)


def page(report: dict[str, Any], remarks: list[str], pictures: Figures) -> str:
    """One HTML file that needs no other: what stands out, tables with their plots, and remarks. Readable on a phone."""
    found = "".join(f"<li>{_marked(finding)}</li>" for finding in findings(report))
    parts = [html_section(section, pictures.get(section.title, ())) for section in sections(report)]
    body = [f'<ul class="findings">{found}</ul>' if found else "<p>Nothing stands out.</p>"]
    body += ["<main>", *parts, "</main>", html_list(remarks)]
    return document(f"{report['dataset']}: what the data are like", "\n".join(body), STYLE)


def _marked(sentence: str) -> str:
    """A sentence with its flags in the style of code."""
    return re.sub(r"--[\w=-]*\w", r"<code>\g<0></code>", html.escape(sentence))
