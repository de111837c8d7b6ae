"""Make the leaderboard: python -m experiments.leaderboard

Reads every comparison in --results, and published.json beside them, and writes LEADERBOARD.md and leaderboard.html
there: a table for each data set and protocol, the best model first.
"""

import json
from pathlib import Path
from typing import Any

from absl import flags

from experiments import console

HERE = Path(__file__).parent


def define() -> None:
    """Where results and recipes lie."""
    flags.DEFINE_string("results", str(HERE / "results"), "the folder of results", allow_override=True)


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.reports import leaderboard as report
from ancf_jax.reports import page
from ancf_jax.training.checkpoint import write_text
from ancf_jax.types import InputError

TITLE = "Leaderboard"


def made(results: Path, recipes: Path = HERE / "recipes") -> tuple[dict[str, str], list[report.Board]]:
    """The text of each file by its name, and the boards in them. Raises InputError if there is no comparison."""
    known = results / "published.json"
    found = report.boards(results, recipes, json.loads(known.read_text()) if known.exists() else [])
    if not found:
        raise InputError(f"--results: {results} holds no results of a comparison")
    sections = report.sections(found, "")
    texts = {
        "LEADERBOARD.md": page.markdown(TITLE, sections, report.NOTES),
        "leaderboard.html": page.page(TITLE, sections, {}, report.NOTES),
    }
    return texts, found


def main() -> dict[str, Any]:
    """Write the pages."""
    results = Path(flags.FLAGS.results)
    texts, found = made(results)
    for name, text in texts.items():
        write_text(results / name, text)
    first = [(board.name, board.rows[0]["model"], len(board.rows)) for board in found]
    console.table(("data", "first", "models"), first, TITLE)
    console.say(f"wrote {results}/LEADERBOARD.md and {results}/leaderboard.html")
    return {"boards": {where: {"first": best, "models": count} for where, best, count in first}}


if __name__ == "__main__":
    console.run(define, main)
