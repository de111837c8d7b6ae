"""Runs taken up from every moment at which they may be killed, and with every file of theirs damaged."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ancf_jax.config import from_json
from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.run import Run, open_data, open_trained
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.types import InputError
from tests.reliability.snapshots import left_of, shots_of

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gmf": ("gmf", {}),
    "mf, lazy rows": ("mf", {"lazy_rows": True}),
    "ancf, every second evaluated": ("ancf", {"eval_every": 2}),
    "ials": ("ials", {}),
}
WAYS: dict[str, Callable[[bytearray], bytes]] = {
    "truncated": lambda content: bytes(content[: len(content) // 2]),
    "flipped": lambda content: bytes([*content[: len(content) // 2], *_flipped(content[len(content) // 2 :])]),
}


def shots(root: Path, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Take runs up from what they were like before every file event."""
    wrong, counts = [], {}
    for name in CASES:
        run, dataset = _case(name, root)
        folder = root / name
        with shots_of(folder / "whole", folder / "shots") as found:
            fit_run(run, dataset, folder / "whole")
        expected, counts[name] = left_of(folder / "whole"), len(found)
        for shot in found:
            fit_run(run, dataset, shot)
            if left_of(shot) != expected:
                wrong.append(f"{name}: {shot}")
        told(f"{name}: {len(found)} moments, {len(wrong)} wrong")
    return {"moments": counts, "wrong": wrong}


def damaged(root: Path, told: Callable[[str], None] = print) -> dict[str, Any]:
    """Damage each file of a finished run in each way: it is opened or refused, and rerun it comes to the same."""
    wrong, counts = [], {"opened": 0, "refused": 0, "retrained": 0}
    run, dataset = _case("gmf", root)
    whole = root / "damaged"
    fit_run(run, dataset, whole)
    expected = left_of(whole)
    files = sorted(path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and path.name != ".lock")
    for file in files:
        for way in (*WAYS, "deleted"):
            folder = root / "copy"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(whole, folder)
            if way == "deleted":
                (folder / file).unlink()
            else:
                (folder / file).write_bytes(WAYS[way](bytearray((folder / file).read_bytes())))
            acts = {"opened": partial(open_trained, folder), "retrained": partial(fit_run, run, dataset, folder)}
            for what, act in acts.items():
                try:
                    act()
                    counts[what] += 1
                except InputError:
                    counts["refused"] += 1
                except Exception as error:
                    wrong.append(f"{file}, {way}, {what}: {type(error).__name__}: {error}")
            if left_of(folder) != expected:
                wrong.append(f"{file}, {way}: comes to something else")
        told(f"{file}: {len(wrong)} wrong")
    return {"files": len(files), **counts, "wrong": wrong}


def _case(name: str, root: Path) -> tuple[Run, Any]:
    model, settings = CASES[name]
    train = TrainConfig(**({"epochs": 3, "batch_size": 16, "patience": 0} | settings))
    data = DataConfig(dataset=str(root / "log.csv"), time_column="time")
    run = Run(model, data, from_json(MODELS[model].config, {"factors": 4}), train)
    return run, open_data(run)


def _flipped(content: bytes | bytearray) -> bytes:
    return bytes([content[0] ^ 16, *content[1:]]) if content else b""
