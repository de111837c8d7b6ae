"""Export: python -m experiments.export --workdir=checkpoints/ancf --output=exported

Writes a trained model as files that need no line of this package: the score function as StableHLO, weights and vectors
as safetensors, ids and titles as Parquet. ancf_jax/serving/export.py says how they are read.
"""

from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.types import InputError
from experiments import console


def define() -> None:
    """Which model, and where to."""
    flags.DEFINE_string("workdir", "", "the folder of a trained run", allow_override=True)
    flags.DEFINE_string("data_dir", "", "where originals are looked for, if not where they were", allow_override=True)
    flags.DEFINE_string("output", "", "a new folder", allow_override=True)


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

import jax

from ancf_jax.runs.run import open_trained
from ancf_jax.serving.export import export


def main() -> dict[str, Any]:
    """Export, and say what was written."""
    options = flags.FLAGS
    for name, what in (("workdir", "the folder of a trained run"), ("output", "a new folder")):
        if not options[name].value:
            raise InputError(f"--{name} is missing: {what}")
    console.status(f"reading {options.workdir} and its data ...")
    run, dataset, data, model, params = open_trained(Path(options.workdir), options.data_dir)
    ready, folder = jax.jit(model.prepare)(params, model.given), Path(options.output)
    content = export(folder, run.model, dataset, data, model, ready)
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
    console.table(("file", "bytes"), [(name, f"{size:,}") for name, size in sizes.items()], f"{folder}: {run.model}")
    return {**content, "files": sizes}


if __name__ == "__main__":
    console.run(define, main)
