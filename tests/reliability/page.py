"""RELIABILITY.md's part of figures, made of the reports: python -m tests.reliability.page"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REPORTS, PAGE = ROOT / "experiments" / "results" / "reliability.json", ROOT / "RELIABILITY.md"
START, END = "<!-- figures: python -m tests.reliability.page -->\n", "<!-- end of figures -->\n"


def figures(reports: Iterable[dict[str, Any]]) -> str:
    """What came of each part, as Markdown."""
    rows = [[_found(each), str(len(each["wrong"])), f"{each['minutes']:g}", f"`{each['command']}`"] for each in reports]
    table = [["tried", "wrong", "minutes", "command"], ["---", "--:", "--:", "---"], *rows]
    return "".join(f"| {' | '.join(row)} |\n" for row in table)


def _found(report: dict[str, Any]) -> str:
    """What a report counted, in words."""
    part = report["part"]
    if part == "kills":
        counts = (f"{case} {sum(kinds.values())}" for case, kinds in report["cases"].items())
        kept = f"; {report['acknowledged']:,} rows of feedback acknowledged" if report["acknowledged"] else ""
        return f"{report['kills']} kills ({'; '.join(counts)}){kept}"
    if part == "shots":
        return f"{sum(report['moments'].values())} moments of {len(report['moments'])} runs"
    if part == "damage":
        outcomes = ", ".join(f"{report[name]} {name}" for name in ("opened", "refused", "retrained"))
        return f"{report['files']} files, each in three ways: {outcomes}"
    if part == "readers":
        return f"{report['reads']:,} reads beside {report['trainings']} trainings"
    counts = (f"{name} {count:,}" for name, count in report["inputs"].items())
    return f"{sum(report['inputs'].values()):,} inputs ({', '.join(counts)})"


def main() -> None:
    """Write the figures anew."""
    before, _, rest = PAGE.read_text().partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + START + figures(json.loads(REPORTS.read_text())) + END + after)


if __name__ == "__main__":
    main()
