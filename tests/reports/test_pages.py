"""The pages in a browser, as wide as a phone: none scrolls sideways, lacks a picture or logs an error."""

import html
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data import splits, summary
from ancf_jax.data.interactions import build
from ancf_jax.reports import curves, groups, page
from ancf_jax.reports.logs import log, log_plots
from ancf_jax.reports.summary import BEYOND, beyond, cells

PHONE = 390  # CSS pixels
METRICS = ("rmse", "mae", "mse", "ndcg@10", "gndcg@10", "hr@10")
NAMES = [f"a_model_of_number_{n}" for n in range(30)]
PLOT = b'<svg xmlns="http://www.w3.org/2000/svg" width="605" height="374"/>'
MEASURE = """<script>
const measure = page => {
  const root = page.documentElement;
  const scrolled = [...page.querySelectorAll(".wide")].filter(each => each.scrollWidth > each.clientWidth);
  const first = scrolled.map(each => each.querySelector("td").offsetWidth);
  const drawn = [...page.images].filter(each => each.naturalWidth);
  return [root.clientWidth, root.scrollWidth, drawn.length, Math.max(0, ...first)].join(" ");
};
addEventListener("load", () => {
  document.title = [...document.querySelectorAll("iframe")].map(each => measure(each.contentDocument)).join(",");
});
</script>"""


@pytest.fixture(scope="module")
def chromium():
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or pytest.skip("no Chromium is installed, so the pages are not opened in a browser")


def comparison():
    """The page of 30 models with all that it can hold."""
    rng = np.random.default_rng(0)
    rows = []
    for n, name in enumerate(NAMES):
        row = {"model": name, "seeds": 1, "epochs": 3.0, "training seconds": 2.0**n, "ahead_of": NAMES[n + 2 :: 2]}
        row |= {key: float(rng.random()) for metric in METRICS for key in (metric, f"{metric} ±")}
        rows.append(row | {metric: float(rng.random()) for metric in BEYOND})
    values = {name: [(0.1, 0.02)] * 3 for name in NAMES}
    parts = [groups.Groups("Users by activity", "x", "rmse", ["1 to 2", "3 to 9", "10 to 999"], [5] * 3, values)]
    learnt = {name: curves.Curve("rmse", [(1, 2.0), (2, 1.5)], [(1, 0.9), (2, 1.0)], 1, True) for name in NAMES}
    sections = [
        page.Section("Test metrics", *cells(rows, METRICS)),
        *beyond(rows, "ndcg@10"),
        *groups.sections(parts, NAMES),
        *curves.section(learnt, 1),
    ]
    figures = {section.title: [("A caption of some length", PLOT)] * 3 for section in sections}  # drawing takes time
    return page.page("log.csv: 30 models", sections, figures, ["Command: `python " + "--flag=value " * 30 + "`"])


def description():
    """The page of a log with times."""
    rng = np.random.default_rng(0)
    days = 15_000 * 86_400 + rng.integers(0, 200 * 86_400, 300)
    columns = (rng.integers(0, 20, 300), rng.zipf(1.5, 300) % 50, rng.integers(1, 400_000, 300), days)
    frame = pd.DataFrame(dict(zip(("user", "item", "value", "time"), columns, strict=True)))
    order = np.argsort(np.argsort(frame["time"], kind="stable"))
    parts = splits.leave_one_out(build(frame["user"], frame["item"], frame["value"], order, 20))
    found = summary.of_log(frame, True)
    described = {
        "dataset": "a_log_of_purchases.csv",
        "split": "leave-one-out",
        "repeats": False,
        "read": found,
        "cleaned": found,
    }
    described |= {"parts": summary.of_split(parts, np.sort(frame["time"])), "changed": []}
    described |= {"removed": [{"rule": "a rule of " + "many words " * 9, "rows": 2}]}
    return log.page(described, ["Command: " + "--flag=value " * 30], log_plots.plots(described))


def opened(chromium, folder, text):
    """The page as it stands when its scripts have run, none of which logs an error."""
    (folder / "page.html").write_text(text)
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    command += [f"--user-data-dir={folder}/profile", f"file://{folder}/page.html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def test_pages_fit_a_phone(chromium, tmp_path):
    pages = [comparison(), description()]
    frames = [
        f'<iframe style="width: {PHONE}px; height: 800px" srcdoc="{html.escape(each)}"></iframe>' for each in pages
    ]
    shown = opened(chromium, tmp_path, f"<!doctype html><title>-</title>{MEASURE}{''.join(frames)}")
    measured = re.search("<title>([^<]+)</title>", shown)
    assert measured and measured[1] != "-", shown[:200]
    for each, line in zip(pages, measured[1].split(","), strict=True):
        width, needed, images, first = map(int, line.split())
        assert width <= PHONE and needed <= width
        assert images == each.count("<img ") > 5
        assert first < 0.6 * PHONE  # of tables that scroll; it stays, so it must leave room for the others


def test_a_click_on_a_heading_sorts_by_its_column(chromium, tmp_path):
    rows = [["b", "9", "x"], ["a", "1,000", "-"], ["c", "-", "y"], ["d", "10", "w"]]
    table = page.page("T", [page.Section("S", ["name", "n", "why"], rows)], {}, [])
    clicks = """const names = [0, 1, 1, 0, 2].map(n => {
      document.querySelectorAll("th button")[n].click()
      return [...document.querySelectorAll("td:first-child")].map(cell => cell.textContent).join("")
    })
    document.title = names.join(" ")"""
    shown = opened(chromium, tmp_path, table.replace("</script>", f"{clicks}</script>"))
    assert re.search("<title>([^<]+)</title>", shown)[1].split() == ["abcd", "adbc", "bdac", "abcd", "adbc"]
