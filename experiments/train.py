"""Train one model: python -m experiments.train --dataset=ml-100k --model=ancf --workdir=checkpoints/ancf

Reads the data, trains with validation picking the best epoch, tests that epoch and writes result.json. Rerunning the
same command resumes; --flagfile=experiments/recipes/NAME.flags reruns a published figure.
"""

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


if __name__ == "__main__":
    console.run_help(define)  # before what follows, which takes seconds to import

from ancf_jax.data.dataset import Dataset, cleaning
from ancf_jax.data.read.passes import count_windows
from ancf_jax.devices.sharding import connect
from ancf_jax.evaluation.metrics import ERRORS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.run import open_data
from experiments import recipe


def main() -> dict[str, Any]:
    """Train, and print the test metrics."""
    mesh = connect(from_flags(MeshConfig))
    folder = Path(flags.FLAGS.workdir or f"checkpoints/{flags.FLAGS.model}")
    # In a comparison's folder, what this run starts from stands beside it; else it is kept inside.
    seed = str(from_flags(TrainConfig).seed)
    runs = folder.parent.parent if folder.name == seed else folder / "starts"
    run = options.run_from_flags(runs)
    jobs = recipe.with_starts({folder: run}, run.data.dataset, recipe.given_of(DataConfig), runs)
    for place, each in jobs.items():
        if place != folder:
            console.say(f"{run.model} starts from {place.parent.name}, which is trained first, in {place}")
        console.say(f"reading {each.data.dataset} ...")
        dataset = open_data(each)
        describe(dataset)
        with options.watching(place) as watch:
            result = fit_run(
                each,
                dataset,
                place,
                evaluation=from_flags(EvalConfig),
                mesh=mesh,
                progress=partial(console.progress, each.model),
                watch=watch,
                command=console.command("experiments.train"),
            ).result
    names = [name for name in result if "@" in name or ":" in name or name in ("mrr", "auc", *ERRORS)]
    rows = [(name, result["valid"].get(name), result[name]) for name in names]
    title = f"{run.model}, epoch {result['best_epoch']}; {result['protocol']}; known at test: {result['knows']}"
    console.table(("metric", "validation", "test"), rows, title)
    console.say(f"wrote {folder}/result.json")
    return {name: value for name, value in result.items() if name not in ("config", "versions")}


def describe(dataset: Dataset) -> None:
    """Say what was read, dropped, changed and split."""
    done = cleaning(dataset)
    console.say(*dataset.inferred)
    for what, counts in (("dropped", done["removed"]), ("changed", done["changed"])):
        for rule, rows in counts.items():
            console.say(f"{what} {rows:,} rows: {rule}")
    if done["removed"]:
        console.say(f"kept {done['kept']:,} of {done['read']:,} rows")
    rows = {name: len(getattr(dataset, name).users) for name in ("train", "valid", "test")}
    if dataset.stream is not None:
        windows = f"a pass is {count_windows(dataset.stream):,} windows"
        console.say(f"{rows['train']:,} training rows stay in memory; {windows}")
        rows["train"] = int(dataset.stream.rows.sum())
    sizes = ", ".join(f"{name} {count:,}" for name, count in rows.items())
    for side, features in (("item", dataset.features), ("user", dataset.user_features)):
        if features is not None:
            kinds = ", ".join(f"{count:,} of {kind}" for kind, count in features.kinds.items())
            again = f"; {features.repeated:,} rows of the table repeat an id, and the first counts"
            kinds = f"{kinds}; {features.missing:,} {side}s have none{again * (features.repeated > 0)}"
            console.say(f"{side} features: columns {kinds}")
    people = f"{len(dataset.user_ids):,} users, {len(dataset.item_ids):,} items"
    console.say(f"{dataset.name}: {people}; {dataset.split}: {sizes}")


if __name__ == "__main__":
    console.run(define, main)
