"""A search never looks at the test part and never ends below its start; pruned, failed, capped and interrupted trials.

But for the first test training is faked: a trial's value is a function of its settings and of the epoch.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from ancf_jax.models import MODELS
from ancf_jax.runs.fit import fit_run
from ancf_jax.runs.run import Run, open_data
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.tuning import search as searches
from ancf_jax.tuning.search import Search, go_on, look
from ancf_jax.tuning.trials import table_of
from ancf_jax.types import ClosedForm, InputError

DATA = SimpleNamespace(fingerprint="abc")
EPOCHS = 8


class Sealed:
    """A test part that nobody may read."""

    def __getattr__(self, name):
        raise AssertionError(f"the test part's {name} was read")


def run_of(model="itemknn", **training):
    return Run(model, DataConfig(), MODELS[model].config(), TrainConfig(**training))


def quality(config):
    """Greatest, 1, for activity=.3 and shrinkage=1."""
    return math.exp(-3 * (config.activity - 0.3) ** 2 - 0.05 * math.log10(config.shrinkage) ** 2)


@pytest.fixture
def faked(monkeypatch):
    """Runs whose validation metric rises to quality(config) over EPOCHS epochs; what is in `events` comes before."""
    events, trained = [], []

    def prepare(run, dataset, evaluation):
        return None, SimpleNamespace(learn=ClosedForm(EPOCHS, None, None)), None

    def learn(run, dataset, model, on_valid, *, watch, stop):
        trained.append(run)
        for epoch in range(1, EPOCHS + 1):
            for event in events:
                event(run, epoch)
            last = stop() or epoch == EPOCHS
            watch({"epoch": epoch, "seconds": 0.0, run.train.metric: quality(run.config) * epoch / EPOCHS})
            if last:
                break

    monkeypatch.setattr(searches, "prepare", prepare)
    monkeypatch.setattr(searches, "learn", learn)
    return SimpleNamespace(events=events, trained=trained)


def bare(found):
    """The trials without their seconds."""
    return [each._replace(seconds=0.0) for each in found.trials]


def test_trials_are_runs_that_are_not_tested(tmp_path):
    rng = np.random.default_rng(0)
    rows = "".join(f"{user},{item}\n" for user in range(12) for item in rng.permutation(15)[:6])
    (tmp_path / "log.csv").write_text("user,item\n" + rows)
    run = Run("recent", DataConfig(dataset=str(tmp_path / "log.csv")), MODELS["recent"].config(), TrainConfig())
    dataset = open_data(run)
    found = go_on(Search(run, dataset._replace(test=Sealed(), test_candidates=Sealed())), 3)
    assert [each.state for each in found.trials] == ["done"] * 3 and found.trials[0].settings == {"half_life": 0.1}
    assert found.best.value == max(each.value for each in found.trials)
    again = fit_run(found.run, dataset).result
    assert again["valid"]["ndcg@10"] == found.best.value and again["best_epoch"] == found.best.epoch
    assert fit_run(run, dataset).result["valid"]["ndcg@10"] == found.trials[0].value


def test_the_first_trial_is_the_start_and_the_best_is_at_least_as_good(faked):
    start = run_of()
    start = start._replace(config=MODELS["itemknn"].config(neighbours=33, activity=0.31, shrinkage=1.1234567))
    found = go_on(Search(start, DATA), 12)
    assert faked.trained[0] == start and found.trials[0].settings["shrinkage"] == 1.1234567
    assert found.best == found.trials[0] and found.run == start and found.best.value == quality(start.config)
    assert len(found.trials) == 12 == len(faked.trained)
    assert all(float(f"{each.settings['activity']:.3g}") == each.settings["activity"] for each in found.trials)


def test_trials_get_better_than_at_random(faked):
    found = go_on(Search(run_of(), DATA), 30)
    assert found.best.value > 0.95 > quality(run_of().config)
    assert next(iter(found.importance)) == "activity" and sum(found.importance.values()) == pytest.approx(1)
    late = [abs(each.settings["activity"] - 0.3) for each in found.trials[15:]]
    assert np.mean(late) < 0.2  # at random, .29


def test_what_is_behind_the_median_is_pruned(faked):
    found = go_on(Search(run_of(), DATA), 30)
    pruned = [each for each in found.trials if each.state == "pruned"]
    assert pruned and not any(each.state == "pruned" for each in found.trials[:5])
    assert all(each.epochs == max(EPOCHS // 4, 1) for each in pruned)
    ended = [each.value for each in found.trials if each.state == "done"]
    assert all(quality(SimpleNamespace(**each.settings)) < max(ended) for each in pruned)


def test_failures_are_recorded_with_their_reason_and_count(faked):
    def fail(run, epoch):
        if run.config.neighbours > 200:
            raise InputError("flag --neighbours: too many")
        if run.config.similarity == "jaccard":
            raise FloatingPointError("the training loss of epoch 1 is nan")

    faked.events.append(fail)
    found = go_on(Search(run_of(), DATA), 20)
    reasons = {each.reason for each in found.trials if each.state == "failed"}
    assert reasons == {"flag --neighbours: too many", "the training loss of epoch 1 is nan"}
    assert len(found.trials) == 20 and found.best is not None
    table = table_of(found.trials, found.metric)
    assert table[table["state"] == "failed"]["ndcg@10"].isna().all() and set(table["trial"]) == set(range(1, 21))


def test_a_start_that_is_illegal_is_no_trial(faked):
    def fail(run, epoch):
        raise InputError("flag --factors: illegal")

    faked.events.append(fail)
    with pytest.raises(InputError, match="factors"):
        go_on(Search(run_of(), DATA), 3)


def test_a_metric_that_is_not_finite_is_a_failure(faked, monkeypatch):
    original = searches.learn

    def learn(run, dataset, model, on_valid, *, watch, stop):
        original(run, dataset, model, on_valid, watch=lambda record: watch(record | {"ndcg@10": math.nan}), stop=stop)

    monkeypatch.setattr(searches, "learn", learn)
    found = go_on(Search(run_of(), DATA), 2)
    assert found.best is None and found.run is None
    assert {each.reason for each in found.trials} == {"the validation ndcg@10 is not finite"}


def test_a_trial_that_is_out_of_time_counts_with_its_best(faked, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(searches, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def tick(run, epoch):
        now[0] += 25.0

    faked.events.append(tick)
    found = go_on(Search(run_of(), DATA, minutes=1), 2)
    assert [(each.state, each.epochs) for each in found.trials] == [("capped", 3)] * 2
    assert found.trials[0].value == quality(run_of().config) * 3 / EPOCHS
    assert found.run.train.until == 3


def test_errors_are_searched_for_their_least(faked):
    found = go_on(Search(run_of(metric="rmse"), DATA), 25)
    ended = [each for each in found.trials if each.state == "done"]
    # The fake rises from epoch to epoch, so an error is least at the first.
    assert all(each.epoch == 1 for each in ended) and found.best.value == min(each.value for each in ended)


def test_a_search_that_was_interrupted_comes_to_the_same(faked, tmp_path):
    whole = go_on(Search(run_of(), DATA), 14)
    search, done = Search(run_of(), DATA, path=tmp_path / "s.db"), []
    for error, number, at in ((KeyboardInterrupt, 1, 3), (MemoryError, 6, 1), (KeyboardInterrupt, 13, 2)):
        faked.trained.clear()

        def stop(run, epoch, error=error, number=number, at=at):
            if (len(faked.trained) + done[-1], epoch) == (number, at):
                raise error

        done.append(len(look(search).trials))
        faked.events[:] = [stop]
        with pytest.raises(error):
            go_on(search, 14)
        assert bare(look(search)) == bare(whole)[: number - 1]
    faked.events.clear()
    assert bare(go_on(search, 14)) == bare(whole) and look(search).run == whole.run
    with pytest.raises(InputError, match="flag --trials: 14 trials are done already"):
        go_on(search, 10)


def test_a_model_without_hyperparameters_has_one_trial(faked, monkeypatch):
    monkeypatch.setattr(f"{__name__}.quality", lambda config: 0.5)
    found = go_on(Search(run_of("popularity"), DATA), 10)
    assert len(found.trials) == 1 and found.space == {} and found.run == run_of("popularity")


def test_progress_is_told_of_trials_and_the_best(faked):
    told = []

    class Progress:
        def __init__(self, total):
            told.append(total)

        def __enter__(self):
            return told.append

        def __exit__(self, *error):
            pass

    go_on(Search(run_of(), DATA), 2, Progress)
    assert told[0] == 2 and told[1]["epoch"] == 1 / EPOCHS and told[-1]["epoch"] == 2
    assert [record["epoch"] for record in told[1:]] == sorted(record["epoch"] for record in told[1:])
    best = [record["best"] for record in told[1:]]
    assert best == sorted(best) and told[1]["best"] == told[1]["ndcg@10"]


@pytest.mark.parametrize(
    ("run", "options", "message"),
    [
        (run_of(validation=False), {}, "flag --validation: a search goes by the validation part"),
        (run_of()._replace(data=DataConfig(dataset="log.parquet", stream=True)), {}, "flag --stream: a search"),
        (run_of(), {"trials": 0}, "flags --trials, --minutes"),
        (run_of(), {"minutes": -1.0}, "flags --trials, --minutes"),
    ],
)
def test_what_cannot_be_searched_is_refused(faked, run, options, message):
    with pytest.raises(InputError, match=message):
        go_on(Search(run, DATA, options.get("minutes", 0.0)), options.get("trials", 1))


def test_few_trials_say_nothing_of_settings(faked):
    assert go_on(Search(run_of(), DATA), 7).importance == {}
