"""Trials that are trained at once are those that are trained one after the other, but for rounding."""

import numpy as np
import pytest

from ancf_jax.config import Range
from ancf_jax.models import MODELS
from ancf_jax.runs.fit import learn, prepare
from ancf_jax.runs.results import DEFAULT
from ancf_jax.runs.run import Run, open_data
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.tuning.search import Search, go_on
from ancf_jax.tuning.space import space_of, with_settings
from ancf_jax.tuning.together import learn_together, numbers_in, program_of

SMALL = {
    "bpr": {"factors": 4, "epochs": 3, "eval_every": 2, "batch_size": 16, "patience": 0},
    "recent": {},
}
BATCH = {
    "bpr": [
        {"learning_rate": 0.01, "l2": 0.001, "stddev": 0.1},
        {"learning_rate": 0.3, "l2": 0.1, "stddev": 0.02},
        {"learning_rate": np.inf, "l2": 0.1, "stddev": 0.02},
    ],
    "recent": [{"half_life": 0.01}, {"half_life": 0.9}],
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """A function to the run of a model on a log of 12 users with 6 of 15 items, and its data."""
    log = tmp_path_factory.mktemp("shop") / "log.csv"
    rng = np.random.default_rng(0)
    rows = [f"{user},{item}\n" for user in range(12) for item in rng.permutation(15)[:6]]
    log.write_text("user,item\n" + "".join(rows))

    def run_of(model, **settings):
        run = Run(model, DataConfig(dataset=str(log)), MODELS[model].config(), TrainConfig())
        run = with_settings(run, SMALL.get(model, {}) | settings)
        return run, open_data(run)

    return run_of


@pytest.fixture(scope="module")
def programs(run_of):
    """The programs of models, which are compiled once."""
    return {model: program_of(*run_of(model), DEFAULT) for model in SMALL}


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        ("bpr", {"learning_rate", "l2", "stddev"}),
        ("mf", {"learning_rate", "l2", "stddev"}),  # 0 leaves out the penalty on biases
        ("itemknn", {"shrinkage"}),  # the host computes with the activity
        ("recent", {"half_life"}),
        ("popularity", set()),
    ],
)
def test_numbers_that_programs_do_not_hang_on_are_arguments(run_of, model, numbers):
    run, dataset = run_of(model)
    assert set(numbers_in(run, dataset, space_of(run, prepare(run, dataset)[1]))) == numbers


def test_nothing_is_an_argument_of_runs_that_start_from_others_or_step_on_rows(run_of):
    run, dataset = run_of("bpr", lazy_rows=True)
    space = {"l2": Range(0.001, 0.1)}
    assert numbers_in(run, dataset, space) == numbers_in(run._replace(warm_start=("a",)), dataset, space) == ()


@pytest.mark.parametrize("model", SMALL)
def test_records_are_those_of_runs_of_their_own(run_of, programs, model):
    run, dataset = run_of(model)
    found = [[] for _ in BATCH[model]]

    def watch(k, record):
        found[k].append(record)
        return np.isfinite(record.get("loss", 0.0))

    learn_together(programs[model], run, BATCH[model], watch=watch, stop=lambda: False)
    for settings, records in zip(BATCH[model], found, strict=True):
        if settings.get("learning_rate") == np.inf:
            assert len(records) == 1 and np.isnan(records[0]["loss"]) and "ndcg@10" not in records[0]
            continue
        changed = with_settings(run, settings)
        _, alone, on_valid = prepare(changed, dataset)
        _, _, expected, _ = learn(changed, dataset, alone, on_valid)
        assert [each.keys() for each in records] == [each.keys() for each in expected]
        for record, one in zip(records, expected, strict=True):
            assert {name: record[name] for name in record if name != "seconds"} == pytest.approx(
                {name: one[name] for name in one if name != "seconds"}, rel=1e-4
            )


def test_training_stops_as_all_trials_are_over_or_time_is(run_of, programs):
    (run, _), told, over = run_of("bpr"), [], {0}

    def watch(k, record):
        told.append((k, record["epoch"], "ndcg@10" in record))
        return k not in over

    three = BATCH["bpr"][:1] * 3  # as many as the program is compiled for
    learn_together(programs["bpr"], run, three, watch=watch, stop=lambda: len(told) > 2)
    assert told == [(0, 1, False), (1, 1, False), (2, 1, False), (1, 2, True), (2, 2, True)]
    told.clear()
    over |= {1, 2}
    learn_together(programs["bpr"], run, three, watch=watch, stop=lambda: False)
    assert told == [(0, 1, False), (1, 1, False), (2, 1, False)]


def test_a_search_in_batches_comes_to_as_many_trials(run_of):
    run, dataset = run_of("recent")
    found = go_on(Search(run, dataset, together=3), 5)
    assert [each.state for each in found.trials] == ["done"] * 5 and found.trials[0].settings == {"half_life": 0.1}
    assert len({each.settings["half_life"] for each in found.trials}) == 5
    alone = go_on(Search(run, dataset), 1)
    assert found.trials[0].value == pytest.approx(alone.trials[0].value, abs=1e-6)
