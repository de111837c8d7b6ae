"""Generated input for every reader: it is read, or refused by InputError; nothing else is raised."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ancf_jax.config import from_json
from ancf_jax.data.dataset import load
from ancf_jax.data.read import where
from ancf_jax.data.store import read_arrays
from ancf_jax.files import read_json
from ancf_jax.models import MODELS
from ancf_jax.runs.records import old_records
from ancf_jax.runs.run import Run, as_kept, from_workdir
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.types import InputError

NAMES = ["user", "item", "value", "time"]
SLOW = 5.0  # seconds that one input may take
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
values = st.recursive(scalars, lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part))
odd = st.sampled_from(["", "nan", "1e400", "-1", "2020-01-01", "01/02/2020", "\0", '"', "a,b", "1,5", "\u00e9"])
cells = odd | st.text(max_size=6) | st.integers(0, 5).map(str)
lines = st.lists(st.lists(cells, min_size=4, max_size=4), max_size=12)
columns = {"value_column": "value", "time_column": "time"}


def delimited(drawn: tuple[Any, str, str]) -> bytes:
    """Rows as a file of separated columns."""
    rows, separator, end = drawn
    return end.join(separator.join(row) for row in [NAMES, *rows]).encode("utf-8", "replace")


separated = st.tuples(lines, st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n", "\r"])).map(delimited)
objects = st.fixed_dictionaries({name: values for name in NAMES})
json_lines = st.lists(objects, max_size=9).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
KEPT = as_kept(Run("gmf", DataConfig(), MODELS["gmf"].config(), TrainConfig()), "0")
changes = st.lists(st.tuples(st.sampled_from(["", "data", "config", "train"]), st.text(max_size=9), values), max_size=3)


def changed(drawn: list[tuple[str, str, Any]]) -> bytes:
    """A config.json in which something is another thing."""
    content = json.loads(json.dumps(KEPT))
    for part, name, value in drawn:
        inside = content[part] if isinstance(content.get(part), dict) else content
        inside[[*inside][len(name) % len(inside)] if name.isascii() and inside else name] = value
    return json.dumps(content).encode()


def run(folder: Path, count: int, first: int, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Try so many inputs of every kind: how many there were, and what else was raised, with the smallest input."""
    wrong, counts = [], {}
    places = {"config.json": folder / "config.json", "metrics.jsonl": folder / "metrics.jsonl"}
    targets: dict[str, tuple[Any, Callable[[Any], Any]]] = {
        "csv": (separated | st.binary(), lambda path: load(DataConfig(dataset=str(path), **columns), (), False)),
        "jsonl": (json_lines | st.binary(), lambda path: load(DataConfig(dataset=str(path), **columns), (), False)),
        "parquet": (st.binary(), lambda path: load(DataConfig(dataset=str(path)), (), False)),
        "config.json": (changes.map(changed) | st.binary(), lambda path: from_workdir(folder)),
        "result.json": (values.map(lambda each: json.dumps(each).encode()) | st.binary(), read_json),
        "metrics.jsonl": (json_lines | st.binary(), lambda path: old_records(folder, 0)),
        "users.npz": (st.binary(), read_arrays),
        "where": (st.text(), where.parse),
        "data": (st.dictionaries(st.sampled_from([*KEPT["data"]]), values), partial(from_json, DataConfig)),
        "train": (st.dictionaries(st.sampled_from([*KEPT["train"]]), values), partial(from_json, TrainConfig)),
        "evaluation": (st.dictionaries(st.sampled_from(["ks", "own_metric"]), values), partial(from_json, EvalConfig)),
    }
    for number, (name, (strategy, act)) in enumerate(targets.items()):
        counts[name] = 0
        path = places.get(name, folder / f"input.{name.partition('.')[0]}")

        @seed(first + number)
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=[*HealthCheck])
        @given(strategy)
        def survive(drawn: Any, name: str = name, path: Path = path, act: Callable = act) -> None:
            counts[name] += 1
            if isinstance(drawn, bytes):
                path.write_bytes(drawn)
            started = time.monotonic()
            with suppress(InputError):
                act(path if isinstance(drawn, bytes) else drawn)
            assert time.monotonic() - started < SLOW, "slow"

        try:
            survive()
        except Exception as error:
            wrong.append(f"{name}: {type(error).__name__}: {error} {getattr(error, '__notes__', '')}"[:500])
        told(f"{name}: {counts[name]} inputs, {len(wrong)} kinds wrong")
    return {"inputs": counts, "seed": first, "wrong": wrong}
