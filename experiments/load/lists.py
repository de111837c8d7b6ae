"""Lists of all users, in a file: python -m experiments.load.lists --workdirs=checkpoints/ancf,checkpoints/mf

Runs `experiments.recommend --users=all --output=FILE` of each run in processes of their own, first with no program
compiled before and then again. Writes OUTPUT.json: users, and users a second from the first list to the last, in which
the loading or compiling of programs counts and the opening of the run does not.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.types import InputError
from experiments import console

CACHE = "JAX_COMPILATION_CACHE_DIR"


def define() -> None:
    """Of which runs."""
    flags.DEFINE_list("workdirs", [], "folders of trained runs", allow_override=True)
    flags.DEFINE_string("output", "lists", "path of the JSON file, without .json", allow_override=True)


def main() -> dict[str, Any]:
    """Make the lists, and write how long they took."""
    if not flags.FLAGS.workdirs:
        raise InputError("--workdirs is missing: folders of trained runs, with commas between them")
    found = []
    for workdir in flags.FLAGS.workdirs:
        with tempfile.TemporaryDirectory() as folder:
            for programs in ("compiled", "kept"):
                told = made(workdir, Path(folder))
                pace = told["users"] / told["seconds"]
                found.append({"workdir": workdir, "programs": programs, "users_a_second": round(pace), **told})
                console.say(f"{workdir}, programs {programs}: {told['users']:,} users, {pace:,.0f} a second")
    from ancf_jax.runs.results import provenance  # which imports jax, beside nothing that is timed

    content = {"runs": found, "command": console.command("experiments.load.lists"), **provenance()}
    Path(f"{flags.FLAGS.output}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {flags.FLAGS.output}.json")
    return content


def made(workdir: str, folder: Path) -> dict[str, Any]:
    """Lists of all users of a run, with the programs that are kept in a folder: users and seconds."""
    command = [sys.executable, "-m", "experiments.recommend", f"--workdir={workdir}", "--users=all"]
    done = subprocess.run(
        [*command, f"--output={folder / 'lists.parquet'}"],
        env=os.environ | {CACHE: str(folder / "programs"), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise InputError(f"--workdirs: {workdir}: {done.stderr.strip()}")
    told = json.loads(done.stdout.splitlines()[-1])
    return {name: told[name] for name in ("users", "seconds")}


if __name__ == "__main__":
    console.run(define, main)
