"""Exponents of cost, of results whose law is known."""

import pytest

from ancf_jax.reports import growth

BASE = {"users": 100, "items": 50, "factors": 8}


def result(what, **changes):
    """users * items^2 seconds a step, the root of that in a ranking; bytes that grow with factors."""
    size = BASE | changes
    seconds = (size["users"] * size["items"] ** 2) ** (1 if what == "updates" else 0.5)
    return {
        "model": "mf",
        "what": what,
        "seconds": [seconds * 5] * 3,
        "amount": 5 if what == "updates" else 7,
        "device_memory": None,
        "peak_memory": 1000 * size["factors"],
        "work": {"sizes": [size["users"], size["items"], 999], "config": {"factors": size["factors"], "l2": 0.1}},
    }


@pytest.fixture
def results():
    sizes = [{}, *({axis: BASE[axis] * times} for axis in BASE for times in (2, 4))]
    found = [result(what, **size) for what in ("updates", "ranking") for size in sizes]
    return dict(enumerate(found)) | {"other": result("updates") | {"what": "training"}}


def test_exponents_are_those_of_the_law(results):
    found = {(line.cost, line.axis): line.exponent for line in growth.lines(results)}
    expected = {"training step": (1, 2, 0), "ranking": (0.5, 1, 0)}
    for cost, exponents in expected.items():
        for axis, exponent in zip(BASE, exponents, strict=True):
            assert found[cost, axis] == pytest.approx(exponent, abs=1e-6)
            assert found[f"memory of {cost}", axis] == pytest.approx(float(axis == "factors"), abs=1e-6)
    assert len(found) == 12


def test_a_step_is_timed_not_the_run(results):
    line = next(line for line in growth.lines(results) if (line.cost, line.axis) == ("training step", "users"))
    assert line.sizes.tolist() == [100, 200, 400] and line.values[0] == 100 * 50**2


def test_the_table_and_the_picture(results):
    lines = growth.lines(results)
    _, headings, rows = growth.table(lines)
    assert headings == ["model", "cost", "users", "items", "history", "factors"]
    assert ["mf", "training step", "1.00", "2.00", "-", "0.00"] in [
        [cell.replace("-0.00", "0.00") for cell in row] for row in rows
    ]
    assert growth.plot(lines).startswith(b"<?xml")


def test_runs_that_differ_in_more_than_sizes_are_kept_apart(results):
    """Lazy rows along one axis beside the dense ones, ten times as slow, change nothing and have no row."""
    lazy = {
        f"lazy {key}": each | {"work": each["work"] | {"lazy": 1}, "seconds": [1e9]}
        for key, each in results.items()
        if key in (0, 1, 2)
    }
    assert [line.exponent for line in growth.lines(lazy | results)] == [line.exponent for line in growth.lines(results)]


def test_nothing_is_said_of_two_sizes_or_of_another_log(results):
    assert growth.lines({key: results[key] for key in (0, 1)}) == []
    assert growth.lines({0: results[0] | {"work": {"sizes": None, "config": {}}}}) == []
