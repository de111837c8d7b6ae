"""Generated input of every kind that is read: it is read, or refused in one line; nothing else is raised.

Input comes from libFuzzer by atheris: it changes valid input bit by bit, and goes on with what reaches new lines of the
package. A kind is tried in a process of its own, which ends where an input takes too long or too much memory.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["ancf_jax", "experiments"]):
    from tests.reliability.fuzz import files, made, requests, settings
    from tests.reliability.processes import ended, forked

LONG = 7200.0  # seconds for the inputs of one kind


def run(root: Path, count: int, seed: int, told: Callable[[str], None] = print, only: str = "") -> dict[str, Any]:
    """Try so many inputs in all, of the kinds in `only` (names between commas) if any: how many, and what was wrong."""
    if ended(forked(lambda: made.make(root), root / "made.txt"), LONG) != 0:
        raise RuntimeError((root / "made.txt").read_text())
    kinds = files.kinds(root) | settings.kinds(root) | requests.kinds(root)
    kinds = {name: kind for name, kind in kinds.items() if not only or name in only.split(",")}
    shares = sum(kind.share for kind in kinds.values())
    counts, seconds, wrong = {}, {}, []
    for name, kind in kinds.items():
        folder = root / "fuzz" / name
        folder.mkdir(parents=True)
        inputs = max(round(count * kind.share / shares), 1)
        status = ended(forked(lambda: made.fuzz(kind, folder, inputs, seed), folder / "said.txt"), LONG)  # noqa: B023
        found = json.loads((folder / "found.json").read_text()) if (folder / "found.json").exists() else {}
        counts[name], seconds[name] = found.get("inputs", 0), round(found.get("seconds", 0), 1)
        wrong += [f"{name}: {each}" for each in found.get("wrong", [])]
        if status != 0:
            wrong.append(f"{name}: ended with {status}: {(folder / 'said.txt').read_text()[-1500:]}")
        told(f"{name}: {counts[name]:,} inputs in {seconds[name]:g} s of CPU, {len(wrong)} wrong so far")
    return {"inputs": counts, "cpu_seconds": seconds, "seed": seed, "wrong": wrong}
