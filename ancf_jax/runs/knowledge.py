"""What a model knows when it is tested, and where it started: what has to be the same, or said, in one table."""

from pathlib import Path

from ancf_jax.data.dataset import Dataset
from ancf_jax.runs.results import fingerprint_of
from ancf_jax.runs.run import Run
from ancf_jax.training.checkpoint import read_json
from ancf_jax.types import Recommender


def trains_again(run: Run, model: Recommender) -> bool:
    """Whether the run is trained once more, on the validation part too.

    So it is where it is to know that part, and scores users it was trained on without reading their histories.
    """
    return run.train.validation and run.train.knows == "valid" and (model.alone or not model.history)


def what_is_known(run: Run, model: Recommender) -> str:
    """In words, of the test part's prediction."""
    if not run.train.validation:
        return "the training and the validation part, trained on both"
    if run.train.knows == "train":
        return "the training part alone"
    how = "by training again" if trains_again(run, model) else "the latter as history"
    return f"the training and the validation part, {how}"


def known_rows(run: Run, dataset: Dataset) -> str:
    """The fingerprint of the rows that are known."""
    alone = run.train.validation and run.train.knows == "train"
    return fingerprint_of(dataset, *(("train",) if alone else ("train", "valid")))


def seconds_of(start: Path) -> float:
    """The seconds that a run's start was trained for, those of its own starts among them; 0 if nothing tells."""
    path = start / "result.json"
    if not path.exists():
        return 0.0
    result = read_json(path)
    return result.get("training_seconds", 0.0) + result.get("start_seconds", 0.0)
