"""The leaderboard from files of results, and the one that is published."""

import json
from pathlib import Path

import pytest

import experiments.leaderboard as script
from ancf_jax.reports import leaderboard

RESULTS = Path(script.__file__).parent / "results"


def comparison(command, **values):
    rows = [
        {
            "model": model,
            "seeds": seeds,
            "ndcg@10": value,
            "ndcg@10 ±": 0.01,
            "training seconds": 90.0,
            "reads_order": "no",
        }
        for model, (seeds, value) in values.items()
    ]
    return {
        "dataset": "shop",
        "split": "leave-one-out",
        "protocol": "full ranking; ties: expectation",
        "metrics": ["ndcg@10"],
        "command": command,
        "rows": rows,
        "runs": {},
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "shop-ease.flags").write_text("")
    write = lambda name, content: (tmp_path / "results" / name).write_text(json.dumps(content))  # noqa: E731
    write("a.json", comparison("first", mf=(3, 0.2), ease=(1, 0.1)))
    write("b.json", comparison("second", mf=(1, 0.9), ease=(1, 0.3)))
    write("trials.json", {"dataset": "shop", "trials": []})
    write("list.json", [1, 2])
    return tmp_path


def test_of_one_model_the_row_with_the_most_seeds_counts_and_then_the_later_file(folder):
    known = [
        {"dataset": "shop", "split": "leave-one-out", "model": "ease", "figures": {"ndcg@10": 0.25}, "source": "X"}
    ]
    (board,) = leaderboard.boards(folder / "results", folder / "recipes", known)
    assert [(row["model"], row["seeds"], row["ndcg@10"], row["command"]) for row in board.rows] == [
        ("ease", 1, 0.3, "second"),
        ("mf", 3, 0.2, "first"),
    ]
    (section,) = leaderboard.sections([board], "")
    first, second = (dict(zip(section.headings, row, strict=True)) for row in section.rows)
    assert (first["published"], first["difference"], first["recipe"]) == ("0.2500", "+0.0500", "shop-ease.flags")
    assert (second["published"], second["minutes"], second["recipe"]) == ("-", "1.5", "--model=mf")


def test_the_published_leaderboard_is_made_from_the_published_results():
    texts, found = script.made(RESULTS)
    assert len(found) >= 5
    for name, text in texts.items():
        assert (RESULTS / name).read_text() == text, (
            f"run python -m experiments.leaderboard: {name} is of other results"
        )
