"""The engine replays bit for bit, stops in time and compiles once; a toy stands in where the model does not matter."""

import dataclasses
import signal
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.models import MODELS
from ancf_jax.models.factors import ncf
from ancf_jax.settings import TrainConfig
from ancf_jax.training import loop
from ancf_jax.training.ahead import compiling
from ancf_jax.training.batches import steps_per_epoch
from ancf_jax.training.checkpoint import load_latest, save, warm_start
from ancf_jax.training.loop import epoch_by, fit, init_state, last_epoch, settled
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.training.precision import in_bfloat16
from ancf_jax.types import ClosedForm, Data, Given, Gradient, Interactions, Recommender, as_they_are

USERS, ITEMS = 12, 9
NOTHING = build(*np.zeros((4, 0), np.int32), num_users=0)  # what toys are given


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    pairs = np.array([(user, item) for user in range(USERS) for item in rng.permutation(ITEMS)[: 2 + user % 4]])
    train = build(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)), rng.permutation(len(pairs)), USERS)
    return Data(USERS, ITEMS, train)


def ignore(*args):
    pass


def run(model, config, *, state=None, tx=None, save=ignore, report=ignore, **options):
    """`fit` from the start unless a state is given; no validation unless it is given."""
    tx = tx or make_optimizer(
        settled(config, model.learn), steps_per_epoch(model.learn, config.batch_size) * config.epochs
    )
    state = state or init_state(model, tx, config.seed)
    return fit(model, config, state, tx, save=save, report=report, **({"validate": None} | options))


def toy(loss, rows=10, net=None):
    """A model whose loss is a function of its parameters {'w': [2, 2], 'b': [2]}, beside an item table of ones."""

    def init(key, given):
        return {"tables": {"item": jnp.ones((3, 2))}, "net": net or {"w": jnp.ones((2, 2)), "b": jnp.ones(2)}}

    def whole(params, given, batch, key):
        value = loss(params, batch)
        return value, {"loss": value, "count": jnp.float32(1)}

    learn = Gradient(rows, init, lambda key, given, rows: rows, whole)
    return Recommender(learn, Given(NOTHING), 0, as_they_are, ignore)


CONFIG = TrainConfig(epochs=4, batch_size=16, learning_rate=0.05, schedule="cosine", warmup=0.3, clip=1.0)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("lazy_rows", [False, True])
def test_a_resumed_run_repeats_the_uninterrupted_one_bit_for_bit(data, tmp_path, lazy_rows):
    config = dataclasses.replace(CONFIG, lazy_rows=lazy_rows)
    model = ncf.make(ncf.NeuMF(factors=4, tower_factors=4, tower=(6, 4), dropout=0.5, stddev=0.1), data)
    tx = make_optimizer(settled(config, model.learn), steps_per_epoch(model.learn, config.batch_size) * config.epochs)
    initial, losses, states = init_state(model, tx, config.seed), [], []

    def start():
        return jax.tree.map(jnp.copy, initial)  # a run takes the arrays it starts from

    def report(record):
        losses.append(record["loss"])
        if len(losses) == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(model, config, tx=tx, state=start(), save=partial(save, tmp_path), report=report)
    resumed, records = load_latest(tmp_path, initial)
    assert resumed.epoch == 2 and [record["loss"] for record in records] == losses
    last = dataclasses.replace(config, eval_every=4)  # save at the end alone: a state is donated to the next epoch

    def keep(state, value, records):
        states.append(state)

    continued = run(model, last, tx=tx, state=resumed, records=records, save=keep)
    whole = run(model, last, tx=tx, state=start(), save=keep)
    assert [record["loss"] for record in continued.records] == [record["loss"] for record in whole.records]
    assert [record["epoch"] for record in continued.records] == [1, 2, 3, 4]
    first, second = map(jax.tree_util.tree_leaves_with_path, states)
    for (path, leaf), (other, expected) in zip(first, second, strict=True):
        assert path == other and leaf.dtype == expected.dtype
        np.testing.assert_array_equal(leaf, expected, err_msg=jax.tree_util.keystr(path))


def validated(values, stop=None, **config):
    """Train a toy whose validation gives `values`, one after another; the result, and the epochs and values saved."""
    left, saved = list(values), []
    config = TrainConfig(**({"epochs": len(values), "metric": "hr@10"} | config))
    result = run(
        toy(lambda params, rows: jnp.sum(params["net"]["b"] ** 2)),
        config,
        validate=lambda params: {config.metric: left.pop(0), "mrr": 0.0},
        save=lambda state, value, records: saved.append((int(state.epoch), value)),
        stop=stop,
    )
    return result, saved


def test_training_stops_when_patience_is_exhausted_and_the_best_epoch_is_picked():
    result, saved = validated([0.1, 0.5, 0.4, 0.5, 0.9], patience=2)  # an equal value is no improvement
    assert (len(result.records), result.best) == (4, 2)
    assert saved == [(1, 0.1), (2, 0.5), (3, 0.4), (4, 0.5)]
    assert [record["hr@10"] for record in result.records] == [0.1, 0.5, 0.4, 0.5]


@pytest.mark.parametrize("metric", ["mse", "rmse", "mae"])
def test_of_errors_the_lowest_is_the_best(metric):
    result, saved = validated([0.9, 0.5, 0.6, 0.5, 0.1], patience=2, metric=metric)
    assert (len(result.records), result.best) == (4, 2)
    assert max(saved, key=lambda pair: pair[1])[0] == 2 and len(saved) == 4  # the greatest value saved is the best


def test_improvement_renews_patience():
    result, _ = validated([0.1, 0.0, 0.2, 0.1, 0.3, 0.2], patience=2)
    assert (len(result.records), result.best) == (6, 5)


def test_patience_is_with_what_was_trained():
    """A start that ranks well is no reason to stop while training improves, but may be the best in the end."""
    start = [{"epoch": 0, "ndcg@10": 0.5}]
    better, worse = (
        [{"epoch": n + 1, "ndcg@10": x} for n, x in enumerate(row)] for row in ([0.1, 0.2, 0.3], [0.3, 0.2, 0.1])
    )
    config = TrainConfig(patience=2)
    assert not loop.exhausted(start + better, config) and loop.exhausted(start + worse, config)
    assert loop.best_epoch(start + better, config, validated=True) == 0


@pytest.mark.parametrize("epochs", [0, 2])
def test_what_training_starts_from_is_ranked_and_kept_as_it_was(epochs):
    """It is ranked while the first epoch, to which the state is donated, trains; its record and save come first."""
    model = toy(lambda params, rows: jnp.sum(params["net"]["b"]))
    model = model._replace(learn=model.learn._replace(ranks=True))
    saved, told = [], []
    result = run(
        model,
        TrainConfig(epochs=epochs, optimizer="sgd", learning_rate=0.25),
        validate=lambda params: {"ndcg@10": float(params["net"]["b"][0])},
        save=lambda state, value, records: saved.append((int(state.epoch), float(state.params["net"]["b"][0]), value)),
        report=told.append,
    )
    steps = -(-10 // model.learn.batch)
    expected = [(epoch, 1 - 0.25 * steps * epoch) for epoch in range(epochs + 1)]
    assert saved == [(epoch, b, b) for epoch, b in expected]
    assert (
        [record["epoch"] for record in told] == [record["epoch"] for record in result.records] == [*range(epochs + 1)]
    )
    assert result.best == 0


def test_without_patience_all_epochs_run():
    result, _ = validated([0.5, 0.4, 0.3, 0.2], patience=0)
    assert (len(result.records), result.best) == (4, 1)


@pytest.mark.parametrize(("epochs", "trained"), [("auto", 3), (2, 2)])
def test_epochs_are_the_models_own_unless_the_run_says_how_many(epochs, trained):
    learn = toy(lambda params, rows: jnp.sum(params["net"]["b"])).learn._replace(epochs=3)
    assert last_epoch(learn, TrainConfig(epochs=epochs)) == trained
    assert last_epoch(learn, TrainConfig(epochs=epochs, until=1)) == 1


def test_epochs_between_evaluations_are_neither_validated_nor_saved():
    result, saved = validated([0.1, 0.3, 0.2], epochs=7, eval_every=3, patience=5)
    assert saved == [(3, 0.1), (6, 0.3), (7, 0.2)]  # the last one always
    assert result.best == 6 and len(result.records) == 7
    assert [record["epoch"] for record in result.records if "hr@10" in record] == [3, 6, 7]


def test_the_epoch_at_which_training_is_stopped_is_evaluated_and_the_last():
    asked = iter([False, False, False, True])
    result, saved = validated([0.3, 0.2], stop=lambda: next(asked), epochs=7, eval_every=3)
    assert saved == [(3, 0.3), (4, 0.2)] and result.best == 3 and len(result.records) == 4


def test_without_validation_the_last_epoch_is_the_best():
    saved = []
    result = run(
        toy(lambda params, rows: jnp.sum(params["net"]["b"] ** 2)),
        TrainConfig(epochs=3),
        save=lambda state, value, records: saved.append((int(state.epoch), value)),
    )
    assert result.best == 3 and saved == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_run_resumed_after_its_patience_was_exhausted_does_nothing():
    records = [{"epoch": n, "seconds": 0.0, "ndcg@10": value} for n, value in enumerate([0.1, 0.5, 0.4, 0.3], 1)]
    model, config = toy(lambda params, rows: jnp.sum(params["net"]["b"])), TrainConfig(patience=2)
    tx = make_optimizer(settled(config, model.learn), 1)
    state = init_state(model, tx, 0)._replace(epoch=jnp.int32(4))
    result = run(model, config, tx=tx, state=state, records=records, validate=lambda params: {})
    assert result.records == records and result.best == 2


def test_after_a_warm_start_all_epochs_are_one_program(tmp_path):
    """What a checkpoint gives lies on a device for good; with a state that does not the second epoch compiled anew."""
    model, config = toy(lambda params, rows: jnp.sum(params["net"]["b"] ** 2)), TrainConfig(epochs=3)
    tx = make_optimizer(settled(config, model.learn), 3)
    save(tmp_path, init_state(model, tx, 1), 0.0)
    state = init_state(model, tx, 0)
    state = state._replace(params=warm_start(state.params, [tmp_path]))
    run_epoch = epoch_by(model, config, tx)
    run(model, config, tx=tx, state=state, run_epoch=run_epoch)
    assert run_epoch._cache_size() == 1


def test_an_epoch_that_is_compiled_ahead_is_the_one_that_runs(monkeypatch):
    """It is lowered once, in the thread, and trains as one that was not."""
    traced, saved = [], []

    def loss(params, rows):
        traced.append(rows)
        return jnp.sum(params["net"]["w"] ** 2)

    config, plain = TrainConfig(epochs=2), []
    tx = make_optimizer(settled(config, toy(loss).learn), 2)
    run(toy(loss), config, tx=tx, save=lambda state, *_: plain.append(state))
    once = len(traced)
    run_epoch = compiling(toy(loss), config, tx)
    run(toy(loss), config, tx=tx, run_epoch=run_epoch, save=lambda state, *_: saved.append(state))
    assert len(traced) == 2 * once
    jax.tree.map(np.testing.assert_array_equal, saved[-1], plain[-1])


def test_a_loss_that_is_not_finite_ends_training_and_is_not_saved():
    """One SGD step an epoch moves b from 1 to 0 to -1, where the loss is no number."""
    config = TrainConfig(epochs=5, optimizer="sgd", learning_rate=1.0)
    model = toy(lambda params, rows: jnp.where(params["net"]["b"][0] < 0, jnp.nan, jnp.sum(params["net"]["b"])))
    saved, reported = [], []
    with pytest.raises(
        FloatingPointError, match="the training loss of epoch 3 is not finite from step 1 of 1 on; try a smaller --l"
    ):
        run(model, config, save=lambda state, value, records: saved.append(int(state.epoch)), report=reported.append)
    assert saved == [1, 2] and [record["loss"] for record in reported] == [2.0, 0.0]


def test_parameters_that_are_not_finite_are_not_saved():
    """The loss sqrt(b - 1) of b = 1 is 0, and its slope infinite."""
    config = TrainConfig(epochs=2, optimizer="sgd", learning_rate=1.0)
    model = toy(lambda params, rows: jnp.sqrt(params["net"]["b"][0] - 1))
    saved = []
    with pytest.raises(FloatingPointError, match="epoch 1 of 1 steps ends with parameters or moments that are not fin"):
        run(model, config, save=lambda *state: saved.append(state))
    assert saved == []


def test_what_overflows_in_bfloat16_is_not_saved():
    """3.4e38 b for b = 1: float32 holds it, and bfloat16, whose greatest number is 3.39e38, does not."""
    config, saved = TrainConfig(epochs=1, optimizer="sgd", learning_rate=1e-30), []
    model = toy(lambda params, rows: params["net"]["b"][0] * jnp.asarray(3.4e38, params["net"]["b"].dtype))
    run(model, config, save=lambda *state: saved.append(state))
    assert len(saved) == 1
    with pytest.raises(FloatingPointError, match="the training loss of epoch 1 is not finite"):
        run(in_bfloat16(model), config, save=lambda *state: saved.append(state))
    assert len(saved) == 1


def test_a_metric_that_is_no_number_is_never_the_best():
    result, saved = validated([np.nan, 0.3, np.nan], patience=0)
    assert result.best == 2 and saved == [(1, -np.inf), (2, 0.3), (3, -np.inf)]
    with pytest.raises(FloatingPointError, match=r"validation hr@10 is a number in no epoch"):
        validated([np.nan, np.nan], patience=0)


def test_an_interrupted_run_saves_the_epoch_that_runs_and_goes_on_as_it_would_have():
    """Ctrl-C comes in epoch 2, which is not to be evaluated."""
    saved = []

    def interrupt(record):
        if record["epoch"] == 1:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(
            toy(lambda params, rows: jnp.sum(params["net"]["b"] ** 2)),
            TrainConfig(epochs=5, eval_every=3, metric="hr@10"),
            validate=lambda params: {"hr@10": 0.5},
            save=lambda state, value, records: saved.append((int(state.epoch), value, len(records))),
            report=interrupt,
        )
    assert saved == [(2, -np.inf, 2)]


def test_many_epochs_compile_once(data):
    traced = []

    def loss(params, rows):
        traced.append(rows.shape)
        return jnp.sum(params["net"]["b"] ** 2) * jnp.mean(rows)

    after = []
    model = toy(loss)
    run(model, TrainConfig(epochs=4, batch_size=3), report=lambda record: after.append(len(traced)))
    assert after[0] == after[-1] and len(after) == 4


def test_what_is_advanced_is_set_as_each_epoch_starts_and_moved_by_no_step():
    """A number that is ten times the epoch's, and a copy of b as it was: two steps of 0.1 an epoch from 1 downwards."""
    seen, states = [], []

    def loss(params, rows):
        net = jax.lax.stop_gradient(params["net"])
        return jnp.sum(params["net"]["b"]) + 100 * net["number"] + net["before"][0]

    def advance(params, epoch):
        net = params["net"]
        return {**params, "net": {**net, "number": 10.0 * epoch, "before": net["b"]}}

    net = {"b": jnp.ones(2), "number": jnp.zeros(()), "before": jnp.zeros(2)}
    model = toy(loss, net=net)
    model = model._replace(learn=model.learn._replace(advance=advance))
    config = TrainConfig(epochs=2, batch_size=5, learning_rate=0.1, eval_every=2)
    run(
        model,
        config,
        save=lambda *saved: states.append(saved[0]),
        report=lambda record: seen.append(record["loss"]),
    )
    np.testing.assert_allclose(seen, [1000 + 1.9 + 1, 2000 + 1.5 + 0.8], rtol=1e-5)
    (state,) = states
    assert state.params["net"]["number"] == 20
    np.testing.assert_allclose(state.params["net"]["before"], [0.8, 0.8], rtol=1e-5)
    np.testing.assert_allclose(state.params["net"]["b"], [0.6, 0.6], rtol=1e-5)


def test_training_on_parts_saves_each_and_compiles_once():
    """Part n is n everywhere, and so is its loss; the same program trains on all."""
    traced, saved = [], []

    def part(epoch):
        rows = np.full(4, epoch, np.int32)
        return Interactions(rows, rows, rows, rows, np.zeros(3, np.int32), np.zeros(1, np.int32))

    def loss(params, batch):
        traced.append(batch.shape)
        return jnp.mean(batch * 1.0) + 0.0 * jnp.sum(params["net"]["b"])

    model = toy(loss, rows=4)
    model = model._replace(learn=model.learn._replace(sample=lambda key, given, rows: given.train.users[rows]))
    first = []

    def report(record):
        first.append(len(traced))

    done = run(
        model,
        TrainConfig(epochs=6, batch_size=2, eval_every=3, metric="hr@10"),
        validate=lambda params: {"hr@10": 0.5},
        save=lambda state, value, records: saved.append((int(state.epoch), value)),
        report=report,
        part=part,
    )
    assert [record["loss"] for record in done.records] == [1, 2, 3, 4, 5, 6] and done.best == 3
    assert saved == [(1, -np.inf), (2, -np.inf), (3, 0.5), (4, -np.inf), (5, -np.inf), (6, 0.5)]
    assert first[0] == first[-1] > 0


def test_a_closed_form_sweeps_once(data):
    entry, states = MODELS["popularity"], []
    model = entry.make(entry.config(), data)
    result = run(model, TrainConfig(epochs=9), save=lambda state, value, records: states.append(state))
    assert len(result.records) == len(states) == 1 and result.best == 1 and "loss" not in result.records[0]
    counts = np.bincount(data.train.items, minlength=ITEMS + 1)
    np.testing.assert_array_equal(states[0].params["tables"]["item"][:, 0], counts)


def test_an_iterative_closed_form_sweeps_as_often_as_it_says(data):
    def sweep(params, given, key):
        return {"tables": {}, "net": {"sum": 2 * params["net"]["sum"] + len(given.train.users)}}

    learn, states = ClosedForm(3, lambda key, given: {"tables": {}, "net": {"sum": jnp.float32(0)}}, sweep), []
    model = Recommender(learn, Given(data.train), 0, as_they_are, ignore)
    run(model, TrainConfig(epochs=1, eval_every=3), save=lambda *saved: states.append(saved[0]))
    assert states[-1].params["net"]["sum"] == 7 * len(data.train.users) and states[-1].epoch == 3
