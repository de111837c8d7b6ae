"""What a model knows when it is tested, and where it started: what has to be the same, or said, in one table."""

from collections.abc import Mapping
from pathlib import Path

from ancf_jax.data.dataset import Dataset
from ancf_jax.files import read_json
from ancf_jax.runs.results import fingerprint_of
from ancf_jax.runs.run import Run
from ancf_jax.types import InputError, Recommender


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


def rows_of(run: Run, dataset: Dataset) -> dict[str, str]:
    """The fingerprints of the rows that are known, and of those that are tested."""
    alone = run.train.validation and run.train.knows == "train"
    known = fingerprint_of(dataset, *(("train",) if alone else ("train", "valid")))
    return {"known": known, "test": fingerprint_of(dataset, "test")}


def check_alike(rows: Mapping[str, Mapping[str, str]]) -> None:
    """Raises InputError if the runs of a table, label -> `rows_of`, would not know or be tested on the same rows."""
    first = next(iter(rows), "")
    for label in rows:
        if rows[label] != rows[first]:
            raise InputError(
                f"--models: {first} and {label} would not know, or not be tested on, the same rows, so they cannot "
                "share a table; give all of them the same flags of data, --knows and --validation"
            )


def seconds_of(start: Path) -> float:
    """The seconds that a run's start was trained for, those of its own starts among them; 0 if nothing tells."""
    path = start / "result.json"
    if not path.exists():
        return 0.0
    result = read_json(path)
    return result.get("training_seconds", 0.0) + result.get("start_seconds", 0.0)
