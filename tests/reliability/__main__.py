"""Try a part, and keep what came of it: python -m tests.reliability kills --count=60 --report=reliability.json

Parts are kills (of real processes, at random moments), shots (runs taken up from every file event), damage (every file
of a run) and fuzz (--count inputs of each kind). RELIABILITY.md is made of the report.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")


def main() -> int:
    """Run one part; the exit status is 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["kills", "shots", "damage", "fuzz"])
    parser.add_argument("--count", type=int, default=60, help="kills, or inputs of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=Path("reliability.json"))
    given, started = parser.parse_args(), time.monotonic()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "reliability-programs"))
    from tests.reliability import fuzz, kills, taken_up

    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        if given.part == "kills":
            found = kills.run(root, given.count, given.seed)
        elif given.part == "fuzz":
            found = fuzz.run(root, given.count, given.seed)
        else:
            kills.write_logs(root)
            found = taken_up.shots(root) if given.part == "shots" else taken_up.damaged(root)
    found |= {"seconds": round(time.monotonic() - started), "python": platform.python_version()}
    report = json.loads(given.report.read_text()) if given.report.exists() else {}
    given.report.write_text(json.dumps(report | {given.part: found}, indent=1) + "\n")
    print(json.dumps(found))
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
