"""Train one model: python -m experiments.train --dataset=ml-100k --model=ancf --workdir=checkpoints/ancf

Reads the data, trains with validation picking the best epoch, tests that epoch and writes result.json. Rerunning the
same command resumes; --flagfile=experiments/recipes/NAME.flags reruns a published figure.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

from absl import flags

from ancf_jax.config import define_flags, from_flags
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from experiments import console, options


def define() -> None:
    """What is trained, on which devices, and where it is kept."""
    options.define_run()
    define_flags(MeshConfig)
    flags.DEFINE_string("workdir", "", "where the run is kept; checkpoints/MODEL if empty", allow_override=True)
    beside = "models that are trained beside it by their defaults, in memory, to be compared with (empty: none)"
    flags.DEFINE_list("beside", ["popularity", "itemknn"], beside, allow_override=True)
    options.define_cache()


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.devices.sharding import connect
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.runs.fit import fit_run
from experiments import beside, recipe
from experiments.jobs import checked


def main() -> dict[str, Any]:
    """Train, and print the test metrics."""
    options.keep_programs()
    mesh = connect(from_flags(MeshConfig))
    beside.check(flags.FLAGS.beside)
    folder = Path(flags.FLAGS.workdir or f"checkpoints/{flags.FLAGS.model}")
    # In a comparison's folder, what this run starts from stands beside it; else it is kept inside.
    seed = str(from_flags(TrainConfig).seed)
    runs = folder.parent.parent if folder.name == seed else folder / "starts"
    run = options.run_from_flags(runs)
    wanted = recipe.with_starts({folder: run}, run.data.dataset, recipe.given_of(DataConfig), runs)
    for place, job in checked(wanted, mesh).items():
        asked = sys.argv
        if place != folder:
            asked = recipe.arguments_of(place.parent.name, run.data.dataset)
            console.say(f"{run.model} starts from {place.parent.name}, which is trained first, in {place}")
        with options.watching(place) as watch:
            done = fit_run(
                job.run,
                job.dataset,
                place,
                evaluation=from_flags(EvalConfig),
                mesh=mesh,
                progress=partial(console.progress, job.run.model),
                watch=watch,
                command=console.command("experiments.train"),
                trials=recipe.trials_of(asked),
            )
    result = done.result
    others = {} if mesh is not None else beside.trained(flags.FLAGS.beside, job, from_flags(EvalConfig))
    names = [name for name in result if "@" in name or ":" in name or name in ("mrr", "auc", *ERRORS)]
    rows = [
        (name, result["valid"].get(name), result[name], *(other.result.get(name) for other in others.values()))
        for name in names
    ]
    title = f"{run.model}, epoch {result['best_epoch']}; {result['protocol']}; known at test: {result['knows']}"
    console.table(("metric", "validation", "test", *(f"{name} test" for name in others)), rows, title)
    said, stands = beside.compared(run.model, run.train.metric, done, others)
    console.say(*said)
    console.say(f"wrote {folder}/result.json")
    return {name: value for name, value in result.items() if name not in ("config", "versions")} | {"beside": stands}


if __name__ == "__main__":
    console.run(define, main)
