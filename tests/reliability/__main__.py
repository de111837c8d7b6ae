"""Try a part, and keep what came of it: python -m tests.reliability kills --count=60 --report=reliability.json

Parts are kills (of real processes, at random moments), shots (runs taken up from every file event), damage (every file
of a run), readers (beside running trainings) and fuzz (--count inputs in all). `python -m tests.reliability.page`
writes their figures to RELIABILITY.md.
"""

import argparse
import json
import math
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def main() -> int:
    """Run one part; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["kills", "shots", "damage", "readers", "fuzz"])
    parser.add_argument("--count", type=int, default=60, help="kills, reads, or inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", default="", help="some cases of kills, between semicolons, or kinds of input, between commas"
    )
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no further run is killed")
    parser.add_argument("--report", type=Path, default=Path("reliability.json"))
    given, started = parser.parse_args(), time.monotonic()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "reliability-programs"))

    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        if given.part == "kills":
            from tests.reliability import kills

            found = kills.run(root, given.count, given.seed, only=given.only, minutes=given.minutes)
        elif given.part == "readers":
            from tests.reliability import beside

            found = beside.run(root, given.count, given.seed)
        elif given.part == "fuzz":
            from tests.reliability import fuzz

            found = fuzz.run(root, given.count, given.seed, only=given.only)
        else:
            from tests.reliability import kills, taken_up

            kills.write_logs(root)
            found = taken_up.shots(root) if given.part == "shots" else taken_up.damaged(root)
    from ancf_jax.runs.results import provenance

    words = [word for word in sys.argv[1:] if not word.startswith("--report")]
    command = shlex.join(["python", "-m", "tests.reliability", *words])
    found |= {"command": command, "minutes": round((time.monotonic() - started) / 60, 1), **provenance()}
    found["wrong"] = [each.replace(made, "") for each in found["wrong"]]
    report = json.loads(given.report.read_text()) if given.report.exists() else []
    given.report.write_text(json.dumps([*report, {"part": given.part, **found}], indent=1) + "\n")
    print(json.dumps(found["wrong"], indent=1))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
