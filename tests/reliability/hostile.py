"""Scripts where little is as it should be: python -m tests.reliability.hostile FOLDER, in a namespace of mounts.

An ASCII locale, no HOME and no git, spaces in every path; a disk that is full, then large enough, then
read-only. Prints what became of each as JSON.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.reliability.processes import ended, script

LONG = 300.0  # seconds after which a script hangs


def environment() -> dict[str, str]:
    """What such a script is told of the machine."""
    told = {name: value for name, value in os.environ.items() if name.startswith(("JAX_", "XLA_", "LD_"))}
    return told | {"PATH": "", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": "."}


def tried(folder: Path) -> dict[str, tuple[int | None, str]]:
    """What became of each script: its exit status, and what it said."""
    disk, log = folder / "a disk", folder / "our log.csv"
    disk.mkdir()
    log.write_text("user,item\n" + "".join(f"{n % 20},caf\u00e9 {n % 7}\n" for n in range(100)), encoding="utf-8")
    train = [f"--dataset={log}", "--model=gmf", "--epochs=2", "--factors=2", f"--workdir={disk}/a run", "--beside="]
    found = {}

    def run(what: str, name: str, flags: list[str]) -> None:
        said = folder / f"{len(found)}.txt"
        found[what] = ended(script(name, flags, said), LONG), said.read_text(encoding="utf-8")

    def mount(options: str) -> None:
        subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", options, "none", str(disk)], check=True)

    mount("size=48k")
    run("a full disk", "train", train)
    mount("remount,size=64m")
    run("the same command again", "train", train)
    mount("remount,ro")
    run("a disk that is read-only", "train", [*train, "--epochs=3"])
    run("lists from it", "recommend", [train[-2], "--user=3"])

    subprocess.run(["/bin/umount", str(disk)], check=True)
    return found


if __name__ == "__main__":
    print(json.dumps(tried(Path(sys.argv[1]))))
