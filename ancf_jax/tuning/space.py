"""The space of a search: what is tried of a run's settings, and the run with some of them changed.

A model says in `SEARCH`, beside its Config, what is tried of which setting: a Range of numbers, whole ones where the
setting is whole, or a tuple of choices. Among them may be settings of training, such as batch_size; settings.SEARCH has
those that are tried of every model that learns by gradient steps. All other settings stay as the run has them. The
space is flat: every trial has a value of every setting, whether or not others leave it without effect.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ancf_jax.config import Range, Space, from_json, settings_of, text_of, to_json
from ancf_jax.data.dataset import Dataset
from ancf_jax.models import MODELS, entry_of
from ancf_jax.runs.run import Run, build
from ancf_jax.settings import SEARCH, TrainConfig
from ancf_jax.training.loop import settled
from ancf_jax.types import Gradient, InputError, Recommender, shapes_of

DIGITS = 3  # significant ones that a number has which is tried, so that recipes can be read


def space_of(run: Run, model: Recommender) -> Space:
    """What a search tries that starts from `run`, whose model this is: ranges and choices hold the run's own values.

    A range by logarithms holds no 0: there the low end stands for it. A choice that the run's other settings refuse is
    left out. Models of one file share what it declares, as far as they have it. Raises InputError where a model from
    outside declares what it does not have.
    """
    declared = {**(SEARCH if isinstance(model.learn, Gradient) else {}), **entry_of(run.model).search}
    start = values_of(run, model)
    unknown = [name for name in declared if name not in start]
    if unknown and run.model not in MODELS:
        raise InputError(f"--models={run.model}: SEARCH names {unknown[0]!r}, which is no setting of it or of training")
    found = {name: _with(each, start[name]) for name, each in declared.items() if name in start}
    legal = {name: _legal(each, run, name) for name, each in found.items()}
    return {name: each for name, each in legal.items() if isinstance(each, Range) or len(each) > 1}


def _legal(search: Range | tuple[Any, ...], run: Run, name: str) -> Range | tuple[Any, ...]:
    def fits(value: Any) -> bool:
        try:
            return bool(with_settings(run, {name: value}))
        except InputError:
            return False

    return search if isinstance(search, Range) else tuple(filter(fits, search))


def values_of(run: Run, model: Recommender) -> dict[str, Any]:
    """The run's settings of model and training by name, with the number of rows in a step where the model chooses."""
    values = {**to_json(settled(run.train, model.learn)), **to_json(run.config)}
    if isinstance(model.learn, Gradient):
        values["batch_size"] = run.train.batch_size or model.learn.batch
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def with_settings(run: Run, settings: Mapping[str, Any]) -> Run:
    """The run with these settings of its model and of training. Raises InputError for an illegal one."""
    own = settings_of(type(run.config))
    config = to_json(run.config) | {name: value for name, value in settings.items() if name in own}
    train = to_json(run.train) | {name: value for name, value in settings.items() if name not in own}
    return run._replace(config=from_json(type(run.config), config), train=from_json(TrainConfig, train))


def is_whole(run: Run, name: str) -> bool:
    """Whether a setting of the run's model or training is a whole number."""
    return (settings_of(TrainConfig) | settings_of(type(run.config)))[name].kind is int


def of_one_shape(run: Run, dataset: Dataset, space: Space) -> Space:
    """What of the space leaves every parameter its shape, so that a run that starts from others still can."""
    shapes = shapes_of(build(run, dataset)[1])

    def alike(name: str, value: Any) -> bool:
        try:
            return shapes_of(build(with_settings(run, {name: value}), dataset)[1]) == shapes
        except InputError:
            return False

    trained = settings_of(TrainConfig)
    return {
        name: each for name, each in space.items() if name in trained or all(alike(name, end) for end in _ends(each))
    }


def shown(value: Any) -> str:
    """A setting's value as tables show it, and as a choice is called in a study."""
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value) or "none"


def _ends(search: Range | tuple[Any, ...]) -> Iterable[Any]:
    return (search.low, search.high) if isinstance(search, Range) else search


def _with(search: Range | tuple[Any, ...], value: Any) -> Range | tuple[Any, ...]:
    """The range or the choices with this value among them."""
    if not isinstance(search, Range):
        return search if value in search else (*search, value)
    if search.log and value <= 0:
        return search
    return search._replace(low=min(search.low, value), high=max(search.high, value))
