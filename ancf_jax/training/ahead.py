"""An epoch's program, compiled in a thread while what training starts from is made."""

from typing import Any

import jax
import optax

from ancf_jax.settings import TrainConfig
from ancf_jax.training.batches import order_of
from ancf_jax.training.checkpoint import abstract_array
from ancf_jax.training.loop import Epoch, TrainState, epoch_by, init_state
from ancf_jax.training.meanwhile import meanwhile
from ancf_jax.types import Array, Given, Recommender


def compiling(model: Recommender, config: TrainConfig, tx: optax.GradientTransformation) -> Epoch:
    """`epoch_by` of one device, whose compilation begins now; its first call waits for that.

    The program is the one that the call would compile, so nothing hangs on the thread but time. `config` is settled.
    """
    run_epoch = epoch_by(model, config, tx)

    def compile_it() -> None:
        state = jax.tree.map(abstract_array, jax.eval_shape(lambda: init_state(model, tx, config.seed)))
        order = jax.device_put(order_of(model.learn, config.batch_size, config.seed, 1))
        run_epoch.lower(state, model.given, order, jax.random.key(config.seed)).compile()  # type: ignore[attr-defined]

    compiled = meanwhile(compile_it)

    def run(state: TrainState, given: Given, order: Any, key: Array) -> tuple[TrainState, dict[str, Array]]:
        compiled()
        return run_epoch(state, given, order, key)

    return run
