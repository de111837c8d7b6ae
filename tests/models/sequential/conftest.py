"""A log that is a cycle, and what a model learns of it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.settings import TrainConfig
from ancf_jax.training.loop import make_step
from ancf_jax.training.optimizers import make_optimizer
from ancf_jax.types import Data

COUNT, LENGTH, STEPS = 12, 6, 60


@pytest.fixture(scope="session")
def followers_found(ask):
    """A function from make(config, data) and config to the share of the items whose follower is ranked first.

    Each of 12 users takes 6 of 12 items in turn, from an item of their own. All items are equally popular, so
    popularity ranks the follower first, of the 10 items that are not in a history of 2, for a tenth of them.
    """
    users = np.repeat(np.arange(COUNT), LENGTH)
    items = (users + np.tile(np.arange(LENGTH), COUNT)) % COUNT
    log = build(users, items, np.ones(len(users)), np.arange(len(users)), COUNT)
    histories = [[(item - 1) % COUNT, item] for item in range(COUNT)]

    def followers_found(make, config):
        model = make(config, Data(COUNT, COUNT, log))
        tx = make_optimizer(TrainConfig(learning_rate=0.03), STEPS)
        windows = jnp.arange(model.learn.rows)

        @partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling takes longer than running
        def scores_after_training(given, query):
            params = model.learn.init(jax.random.key(0), given)
            step = make_step(lambda params, batch, key: model.learn.loss(params, given, batch, key), tx)

            def body(state, key):
                return step(state, model.learn.sample(key, given, windows), key)

            state, _ = jax.lax.scan(body, (params, tx.init(params)), jax.random.split(jax.random.key(1), STEPS))
            return model.score(model.prepare(state[0], given), query)

        scores = np.array(scores_after_training(model.given, ask([COUNT] * COUNT, histories, model.history, COUNT)))
        np.put_along_axis(scores, np.array(histories), -np.inf, axis=1)
        return np.mean(np.argmax(scores, axis=1) == (np.arange(COUNT) + 1) % COUNT)

    return followers_found
