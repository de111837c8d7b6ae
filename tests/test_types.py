"""The contract's own helpers: wrappers reach every function of a recommender, whatever it has."""

import inspect
from typing import get_type_hints

import numpy as np
import pytest

from ancf_jax.data.interactions import build
from ancf_jax.types import ClosedForm, Given, Recommender, Rows, as_they_are, map_scoring, shapes_of

GIVEN = Given(build(*np.zeros((4, 0), np.int32), num_users=0))


def test_map_scoring_wraps_every_function_of_what_prepare_returns():
    """All fields but learn and prepare that may be functions; a field that is added is wrapped, or this test fails."""
    hints = get_type_hints(Recommender)
    functions = [name for name in Recommender._fields if "Callable" in str(hints[name]) and name != "prepare"]
    assert {"score", "embed", "attend", "retrieve", "propensities"} <= set(functions)
    parts = {name: (lambda *args, name=name: (name, *args)) for name in functions}
    model = Recommender(ClosedForm(1, None, None), GIVEN, history=3, prepare=as_they_are, rates=True, **parts)
    wrapped = map_scoring(lambda function: lambda *args: ("wrapped", *function(*args)), model)
    for name in Recommender._fields:
        if name in functions:
            assert getattr(wrapped, name)("ready", 1) == ("wrapped", name, "ready", 1)
        else:
            assert getattr(wrapped, name) is getattr(model, name)


def test_map_scoring_leaves_out_what_a_model_does_not_have():
    model = Recommender(ClosedForm(1, None, None), GIVEN, 0, as_they_are, lambda *args: 1)
    wrapped = map_scoring(lambda function: lambda *args: 10 * function(*args), model)
    assert wrapped.score() == 10 and wrapped.embed is wrapped.attend is wrapped.retrieve is wrapped.propensities is None


def test_shapes_are_those_of_the_parameters_and_cost_no_memory():
    def init(key, given):
        return {"tables": {"item": np.broadcast_to(np.float32(0), (10**6, 10**6))[: 3 + len(given.train.users), :2]}}

    model = Recommender(ClosedForm(1, init, None), GIVEN, 0, as_they_are, lambda *args: None)
    assert shapes_of(model)["tables"]["item"].shape == (3, 2)


def test_rows_are_read_by_whole_numbers_alone():
    table = np.arange(10.0).reshape(5, 2)
    rows = Rows(table.shape, table.dtype, lambda ids: table[ids])
    np.testing.assert_array_equal(rows[np.array([4, 0])], table[[4, 0]])
    assert rows[:-1].shape == (4, 2)
    for ids in (1.0, np.array([0.5]), (0, 1), None, np.array([True, False])):
        with pytest.raises(TypeError, match="rows are read by an array of integers"):
            rows[ids]
    assert not {name for name, _ in inspect.getmembers(rows)} & {"sum", "T", "at", "__array__", "__mul__"}
