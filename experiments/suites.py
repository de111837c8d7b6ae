"""The flags that describe a benchmark for experiments.benchmark, and lists of them: name -> its flags, in one line."""

import shlex
from collections.abc import Sequence
from typing import Any

from absl import flags

from ancf_jax.models import MODELS
from experiments import options

WHATS = ("training", "updates", "ranking", "topn")
LIBRARIES = ("torch", "implicit", "recbole", "rusket", "buffalo")
METRIC = "ndcg@10"

ML_1M = "--dataset=ml-1m "
NEUMF = "--model=neumf --factors=64 --tower_factors=64 --tower=128,64 --negatives=1 --batch_size=2048 "
SMALL = "--users=943 --items=1682 --interactions=110000 --runs=3 "
SASREC = "--model=sasrec --history=50 --factors=64 --layers=2 --heads=2 --loss=full_softmax "
IALS = "--model=ials --exponent=0 --l2=1.5 "  # no frequency scaling, which implicit does not have
# The rate of a step is over the mean of 1,024 triples; elsewhere a triple is a step, and no 2 is in the penalty.
BPR = "--model=bpr --optimizer=sgd --lazy_rows --batch_size=1024 --learning_rate=102.4 --l2=0.005 "
BPR_THERE = "learning_rate=0.1,regularization=0.01"
UPDATES = "--what=updates --model=gmf --factors=64 --negatives=1 --batch_size=4096 --steps=20 --users=100000 "
LARGE = "--users=138493 --items=26744 --interactions=20000000 --runs=3 "  # as large as ml-20m
MILLION = "--model=gmf --factors=64 --users=10000 --items=1000000 --interactions=1000000 "


def growing(model: str, more: str, **base: int) -> dict[str, str]:
    """A step and a ranking of a model at `base` sizes, and with one of them twice and four times as large."""
    sizes = [base, *({**base, axis: base[axis] * times} for axis in base for times in (2, 4))]
    return {
        "-".join(["growth", model, what, *(f"{axis}-{n}" for axis, n in size.items() if n != base[axis])]): (
            f"--model={model} {more} --runs=3 --what={what} --interactions={size['users'] * 150} "
            + ("--steps=20 " if what == "updates" else "")
            + " ".join(f"--{axis}={n}" for axis, n in size.items())
        )
        for size in sizes
        for what in ("updates", "ranking")
    }


def on_ml_1m(model: str) -> str:
    """The model's recipe for ml-1m, or its defaults."""
    recipe = options.RECIPES / f"ml-1m-{model}.flags"
    return f"--flagfile={shlex.quote(str(recipe))}" if recipe.exists() else f"{ML_1M}--model={model}"


SUITES = {
    "quick": {
        "quick-neumf-training": SMALL + NEUMF,
        "quick-mf-training": SMALL + "--model=mf",
        "quick-ancf-training": SMALL + "--model=ancf --ordered --history=20 --steps=10",
        "quick-ials-training": SMALL + "--model=ials --factors=32",
        "quick-neumf-ranking": SMALL + NEUMF + "--what=ranking",
        "quick-topn": SMALL + "--what=topn --model=mf --items=100000",
        "quick-updates": SMALL + UPDATES + "--items=100000",
        "quick-updates-lazy": SMALL + UPDATES + "--items=100000 --lazy_rows",
    },
    "cpu": {
        "neumf-training": ML_1M + NEUMF + "--against=recbole",
        # RecBole's batch of 2,048 holds negatives too.
        "neumf-training-1024": ML_1M + NEUMF + "--batch_size=1024 --against=recbole",
        "neumf-training-torch": ML_1M + NEUMF + "--against=torch",
        "neumf-ranking": ML_1M + NEUMF + "--what=ranking --against=recbole",
        "sasrec-training": ML_1M + SASREC + "--against=recbole --peer_runs=1",
        "bpr-training": ML_1M + "--model=bpr --against=recbole",
        "bpr-training-implicit": ML_1M + BPR + "--against=implicit --quality --peer_options=" + BPR_THERE,
        "bpr-training-rusket": ML_1M + BPR + "--against=rusket --peer_options=" + BPR_THERE,
        "bpr-training-buffalo": ML_1M + BPR + "--against=buffalo --peer_options=lr=0.1",
        "mf-training-torch": ML_1M + "--model=mf --against=torch",
    }
    | {
        f"ials-{factors}-{solver}": ML_1M + IALS + f"--factors={factors} --solver={solver} --against=implicit --quality"
        for factors in (64, 192)
        for solver in ("cholesky", "cg")
    }
    | {
        f"updates-{items}{'-lazy' * lazy}": UPDATES + f"--items={items} --interactions=1000000" + " --lazy_rows" * lazy
        for items in (10_000, 100_000, 1_000_000, 10_000_000)
        for lazy in (True, False)
    }
    | {
        "topn-1": MILLION + "--what=topn --queries=1 --against=torch",
        "topn-256": MILLION + "--what=topn --queries=256 --against=torch",
        "topn-256-implicit": MILLION + "--what=topn --queries=256 --against=implicit",
        "ranking-million-items": MILLION + "--what=ranking --users=2000 --memory_budget=1",
    },
    "accelerator": {
        "neumf-large": LARGE + "--model=neumf --factors=64 --tower_factors=64 --tower=256,256,128,64 --negatives=1 "
        "--batch_size=1048576",
        "ancf-large": LARGE + "--model=ancf --ordered --history=200 --factors=128 --batch_size=256 --steps=50",
        "sasrec-large": LARGE
        + "--model=sasrec --history=200 --factors=128 --loss=full_softmax --batch_size=256 --steps=50",
        "ranking-large": LARGE + "--model=ancf --ordered --history=200 --factors=128 --what=ranking",
        "ials-large": LARGE + IALS + "--factors=64 --solver=cg",
        "topn-large": MILLION + "--what=topn --queries=1024",
    }
    | {
        f"updates-{items}-large": UPDATES + f"--items={items} --interactions=1000000 --lazy_rows"
        for items in (10_000_000, 100_000_000)
    },
    "growth": growing("ancf", "--ordered --prior=0 --heads=2", users=2000, items=4000, history=32, factors=32)
    | growing("neumf", "--tower=64,32 --negatives=1 --batch_size=2048", users=2000, items=4000, factors=32),
    "models": {
        f"{model}-{what}-ml-1m": f"{on_ml_1m(model)} --what={what} --runs=1"
        for model in MODELS
        for what in ("training", "ranking")
    },
}


def define(values: flags.FlagValues = flags.FLAGS, argv: Sequence[str] | None = None) -> None:
    """The flags of a model and its data, and the benchmark's own."""
    options.define_run(values, argv)
    shared: dict[str, Any] = {"flag_values": values, "allow_override": True}
    number, at_least_1 = shared | {"lower_bound": 0}, shared | {"lower_bound": 1}
    flags.DEFINE_enum("what", "training", WHATS, "what is timed", **shared)
    flags.DEFINE_integer("users", 0, "users of a synthetic log (0: the data set)", **number)
    flags.DEFINE_integer("items", 0, "items of a synthetic log", **number)
    flags.DEFINE_integer("interactions", 0, "interactions of a synthetic log, at most", **number)
    flags.DEFINE_integer("steps", 0, "training steps, or calls of topn, in a run (0: an epoch, or 20 calls)", **number)
    flags.DEFINE_integer("queries", 256, "users in a call of topn", **at_least_1)
    flags.DEFINE_integer("top_k", 10, "items in a list of topn", **at_least_1)
    flags.DEFINE_integer("runs", 5, "timed runs", **at_least_1)
    flags.DEFINE_string("against", "", f"a library that does the same: {', '.join(LIBRARIES)}", **shared)
    flags.DEFINE_string(
        "peer_python", "", "the Python that has that library: see experiments/peers/README.md", **shared
    )
    flags.DEFINE_integer("peer_runs", 0, "its timed runs (0: as many; 1: one, without a warm-up)", **number)
    flags.DEFINE_list("peer_options", [], "NAME=VALUE settings of that library's own", **shared)
    flags.DEFINE_boolean("quality", False, f"also {METRIC} of both models after the same number of runs", **shared)
    flags.DEFINE_boolean("trace", False, "trace one more run: what its operations take; for Perfetto too", **shared)
    flags.DEFINE_list("suite", [], f"run these: {', '.join(SUITES)}, or names in them", **shared)
    flags.DEFINE_boolean("quick", False, "run the suite 'quick', which needs no data set", **shared)
    flags.DEFINE_string("workdir", "checkpoints/benchmark", "where results gather", **shared)
