"""Every command of the README: its flags are legal, and it runs as written, on tiny data and shrunk by flags."""

import doctest
import importlib
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from absl import flags
from absl.testing import flagsaver

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SHORT = ["--epochs=1", "--factors=4"]
SHRUNK = {  # what a command is shrunk by, by a part of it
    "ml-100k-ancf-ordered.flags": [*SHORT, "--history=5", "--eval_every=1"],
    "--models=all": ["--models=popularity,itemknn"],
    "--trials=30": ["--models=itemknn", "--trials=2"],
    "--model=ancf": [*SHORT, "--tower=", "--history=5"],
    "--model=neumf --epochs=2": ["--epochs=1", "--factors=4", "--tower=4", "--tower_factors=4"],
}
ELSEWHERE = (
    "experiments.benchmark",
    "experiments.serve",
    "--mesh=",
)  # run by tests of their own; here, their flags are parsed


def commands() -> list[list[str]]:
    """The indented command lines of the README, those that end in a backslash joined with what follows."""
    lines = re.findall(r"^    (?=python -m|make )((?:.*\\\n)*.*)", README, re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " "), comments=True) for line in lines]


RUN = [command for command in commands() if command[0] == "python"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all that the commands read: a shop and its files, a log of clicks, and films under their name."""
    folder, rng = tmp_path_factory.mktemp("readme"), np.random.default_rng(0)
    (folder / "experiments").symlink_to(ROOT / "experiments")
    bought = [(f"c{who}", f"p{what}") for who in range(20) for what in rng.permutation(12)[:8]]
    log = pd.DataFrame(bought, columns=["customer", "product"])
    log["quantity"], log["invoice"] = rng.integers(1, 5, len(log)), np.arange(len(log)) // 2
    log["date"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(len(log)) // 2, "D")
    log.to_csv(folder / "purchases.csv", index=False, date_format="%Y-%m-%d")
    words = ["red mug", "blue mug", "green tea", "black tea"]
    things = [f'p{n},{"red" if n % 2 else "blue"},s{n % 3},"{words[n % 4]} {n}"\n' for n in range(12)]
    (folder / "products.csv").write_text("sku,category,seller,description\n" + "".join(things))
    rows = [f"u{n % 9};i{n % 7};{n % 5},5\n" for n in range(63)]
    (folder / "export.csv").write_text("user;item;price\n" + "".join(rows), encoding="windows-1252")
    (folder / "clicks.csv").write_text("".join(f"{n % 9},{n % 7},{n % 5}\n" for n in range(63)))
    event = '{"event": "purchase", "price": 2, "user": "u%d", "item": "i%d", "at": %d}\n'
    (folder / "events.jsonl").write_text("".join(event % (n % 9, n % 7, 1_700_000_000_000 + n) for n in range(63)))
    day = "user,item,day\n" + "".join(f"u{n % 9},i{n % 7},{n % 28 + 1:02}/03/2024\n" for n in range(63))
    (folder / "days.csv").write_text(day)
    pairs = [(f"u{n % 9}", f"i{(n // 9 + 2 * (n % 9)) % 20}") for n in range(63)]
    for name, part in (("train", pairs[:45]), ("valid", pairs[45:54]), ("test", pairs[54:])):
        (folder / f"{name}.csv").write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in part))
    others = {user: [f"i{n}" for n in range(20) if (user, f"i{n}") not in pairs][:3] for user, _ in pairs[54:]}
    lines = [f"({user},{item})\t" + "\t".join(others[user]) + "\n" for user, item in pairs[54:]]
    (folder / "test.negative").write_text("".join(lines))
    (folder / "log").mkdir()
    times = pd.DataFrame(
        {"user": rng.integers(0, 50, 2000), "item": rng.integers(0, 900, 2000), "time": np.arange(2000)}
    )
    times.to_parquet(folder / "log" / "part-0.parquet", row_group_size=500)
    films(folder / "originals" / "ml-100k", rng)
    return folder


def films(folder: Path, rng: np.random.Generator) -> None:
    """Files like those of MovieLens-100K: user 196 and films 50, 172 and 181 among others."""
    folder.mkdir(parents=True)
    users, items = [*range(1, 15), 196], [*range(1, 20), 50, 172, 181]
    rated = [
        f"{user}\t{item}\t{rng.integers(1, 6)}\t{n}\n"
        for user in users
        for n, item in enumerate(rng.permutation(items)[:12])
    ]
    (folder / "u.data").write_text("".join(rated))
    flags_of = "|".join("01"[n == 1] for n in range(19))
    (folder / "u.item").write_text(
        "".join(f"{item}|Film {item} (1990)|01-Jan-1990||url|{flags_of}\n" for item in items)
    )
    (folder / "u.genre").write_text("".join(f"genre{n}|{n}\n" for n in range(19)))
    (folder / "u.user").write_text("".join(f"{user}|30|M|writer|90210\n" for user in users))


# A recipe in checkpoints/ is made by the command before.
@pytest.mark.parametrize("command", [each for each in RUN if "=checkpoints/tuned/" not in each[3]], ids=" ".join)
def test_the_flags_of_a_command_are_legal(command, monkeypatch):
    module = importlib.import_module(command[2])
    monkeypatch.setattr(sys, "argv", [command[2], *command[3:]])
    monkeypatch.chdir(ROOT)
    with flagsaver.flagsaver():
        module.define()
        assert flags.FLAGS(sys.argv)[1:] == []


def test_commands_run_as_written_in_their_order(folder, script, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANCF_DATA_DIR", str(folder / "originals"))
    ran = 0
    for command in RUN:
        text = " ".join(command)
        if any(part in text for part in ELSEWHERE):
            continue
        more = next((given for part, given in SHRUNK.items() if part in text), [])
        # What stands beside a model by default is trained with the first alone.
        more = [*more, *(["--beside="] if ran and command[2] == "experiments.train" else [])]
        status, _, err = script(importlib.import_module(command[2]), *command[3:], *more)
        assert status == 0, f"{text}: {err}"
        ran += 1
    assert ran > 15


def test_targets_of_make_are_there():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {command[1] for command in commands() if command[0] == "make"}
    assert named and named <= set(targets)


def test_python_runs_as_written(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ANCF_DATA_DIR", str(folder / "originals"))
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
    exec(compile(code, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "ndcg@10" in out and "Film" in out


def test_links_lead_somewhere():
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
            assert target.startswith("http") or (ROOT / target).exists(), f"{name}: {target}"


def test_the_notebook_runs(monkeypatch, tmp_path):
    """Its cells in one name space, with fewer customers and epochs; what its last lines show is not compared."""
    pytest.importorskip("matplotlib").use("agg")
    import json

    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "experiments" / "notebooks" / "own_log.ipynb").read_text())
    names: dict = {}
    code = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    for whole, few in (("range(300)", "range(60)"), ('"epochs": 20', '"epochs": 2')):
        assert code.count(whole) == 1
        code = code.replace(whole, few)
    exec(compile(code, "own_log.ipynb", "exec"), names)
    assert len(names["reasons"]) and list(tmp_path.iterdir()) == []


def test_examples_of_the_package():
    for module in ("ancf_jax.api", "ancf_jax.config"):
        found = doctest.testmod(importlib.import_module(module))
        assert found.failed == 0 < found.attempted
