"""Schedules and optimizers against their rules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ancf_jax.config import from_json
from ancf_jax.data.interactions import build
from ancf_jax.models import MODELS
from ancf_jax.settings import TrainConfig
from ancf_jax.training.optimizers import is_kernel, make_optimizer, make_schedule
from ancf_jax.types import Data, Gradient, shapes_of


def stepped(config, gradient, steps):
    """Parameters of ones, in tables and in the net, after steps with the same gradient."""
    params = {
        "tables": {"item": jnp.ones((3, 2))},
        "net": {"kernel": jnp.ones((2, 2)), "position": jnp.ones((2, 2)), "b": jnp.ones(2)},
    }
    tx = make_optimizer(config, steps)
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(gradient(params), state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params


def test_constant_schedule():
    schedule = make_schedule(TrainConfig(learning_rate=0.2), 100)
    assert [float(schedule(step)) for step in (0, 50, 99)] == pytest.approx([0.2] * 3)


def test_cosine_schedule_warms_up_and_falls_to_zero():
    schedule = make_schedule(TrainConfig(learning_rate=0.2, schedule="cosine", warmup=0.1), 100)
    expected = [
        0.2 * step / 10 if step < 10 else 0.1 * (1 + np.cos(np.pi * (step - 10) / 90)) for step in range(0, 101, 5)
    ]
    assert [float(schedule(step)) for step in range(0, 101, 5)] == pytest.approx(expected, abs=1e-7)
    single = make_schedule(TrainConfig(learning_rate=0.2, schedule="cosine", warmup=1.0), 1)
    assert np.isfinite([float(single(step)) for step in range(3)]).all()


def test_cyclical_schedule_restarts():
    schedule = make_schedule(TrainConfig(learning_rate=0.2, schedule="cyclical", cycles=4), 100)

    def cycle(step):
        return 0.2 * (0.05 + 0.95 * (1 + np.cos(np.pi * (step % 25) / 25)) / 2)

    assert [float(schedule(step)) for step in range(100)] == pytest.approx(
        [cycle(step) for step in range(100)], rel=1e-4
    )


def test_weight_decay_shrinks_the_nets_kernels_alone():
    config = TrainConfig(weight_decay=0.25, learning_rate=0.1, optimizer="sgd")
    params = stepped(config, lambda params: jax.tree.map(jnp.zeros_like, params), 4)
    np.testing.assert_allclose(params["net"]["kernel"], np.full((2, 2), (1 - 0.1 * 0.25) ** 4), rtol=1e-6)
    for still in (params["net"]["b"], params["net"]["position"], params["tables"]["item"]):
        np.testing.assert_array_equal(still, np.ones(still.shape))


@pytest.fixture(scope="module")
def data():
    train = build(np.arange(4), np.arange(4), np.arange(4) % 2 + 1.0, np.arange(4), 4)
    return Data(4, 5, train, np.ones((5, 2), np.float32), np.ones((4, 2), np.float32))


OTHERS = {"position", "recency"}  # parameters of two dimensions that are no layer's matrix
CHANGES = {"ancf": {"ordered": True, "layers": 1, "scorer": 2}}


@pytest.mark.parametrize("name", MODELS)
def test_weight_decay_is_on_all_matrices_of_layers_and_on_nothing_that_advance_sets(name, data):
    """Every array of two dimensions in a net is a kernel, one of OTHERS, or held."""
    learn = (model := MODELS[name].make(from_json(MODELS[name].config, CHANGES.get(name, {})), data)).learn
    if not isinstance(learn, Gradient):
        return
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes_of(model))
    advanced = (learn.advance or (lambda params, epoch: params))(params, jnp.int32(1))
    for (path, leaf), new in zip(jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(advanced), strict=True):
        keys = [key.key for key in path]
        in_layer = keys[0] == "net" and leaf.ndim > 1 and keys[-1] not in OTHERS and new is leaf
        assert is_kernel(path) == in_layer, keys


@pytest.mark.parametrize(("clip", "step"), [(0.0, 3.0), (0.5, 0.5)])
def test_clip_limits_the_global_norm(clip, step):
    """The gradient is 3 for one number of the net and 0 elsewhere."""
    config = TrainConfig(clip=clip, learning_rate=1.0, optimizer="sgd")
    slope = jax.grad(lambda params: 3.0 * params["net"]["b"][0])
    np.testing.assert_allclose(stepped(config, slope, 1)["net"]["b"], [1 - step, 1], rtol=1e-6)


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        ("sgd", [1, 1, 1]),
        ("adagrad", [1 / np.sqrt(n + 0.1) for n in (1, 2, 3)]),  # Optax starts the sum of squares at 0.1
        ("adam", [1, 1, 1]),  # both moments of a constant are the constant
    ],
)
def test_optimizers_step_by_their_rules(optimizer, expected):
    """Steps for a constant gradient of 1, in units of the learning rate."""
    config = TrainConfig(optimizer=optimizer, learning_rate=0.01)
    tx = make_optimizer(config, 3)
    params = {"tables": {"item": jnp.ones(())}, "net": {}}
    state, steps = tx.init(params), []
    for _ in range(3):
        updates, state = tx.update(params, state, params)
        steps.append(-float(updates["tables"]["item"]) / 0.01)
    np.testing.assert_allclose(steps, expected, rtol=1e-4)
