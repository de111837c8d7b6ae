"""The figures of RELIABILITY.md are those of the reports."""

import json

from tests.reliability.page import END, PAGE, REPORTS, START, figures


def test_the_figures_are_those_of_the_reports():
    told = PAGE.read_text().partition(START)[2].partition(END)[0]
    reports = json.loads(REPORTS.read_text())
    assert told == figures(reports), "run python -m tests.reliability.page"
    assert all("/tmp" not in json.dumps(report) and report["commit"] for report in reports)
