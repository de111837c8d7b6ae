"""Errors in a script's words, of flags, become those of Python, of arguments."""

import ast
import re
from pathlib import Path

import pytest

import ancf_jax
from ancf_jax.config import SWITCHED_OFF, as_arguments, settings_of
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.models import MODELS
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("flag --fold: 5 is none of --folds=5", "argument fold: 5 is none of folds=5"),
        ("flags --a, --b_c: they need the whole log", "arguments a, b_c: they need the whole log"),
        ("--workdir: runs/a holds another run", "argument workdir: runs/a holds another run"),
        ("--model=fm is unknown", "model=fm is unknown"),
        ("legal are --noordered, --nouser and --tower=, and 1", "legal are ordered=False, user=False and an empty "),
        ("put it into a or <--data_dir>/b", "put it into a or <data_dir>/b"),
        ("log.csv: no column 'x' (--item_column)", "log.csv: no column 'x' (item_column)"),
        ("reads no table by rows; leave the flag out", "leave the argument out"),
        ("flag --normalise: 'a' is not true or false", "argument normalise: 'a' is not true or false"),
        ("/data/--odd/flag/x.csv: no column '--y'", "/data/--odd/flag/x.csv: no column '--y'"),
        ("p-values must lie in [0, 1]", "p-values must lie in [0, 1]"),
    ],
)
def test_words(message, expected):
    assert expected in as_arguments(message)
    assert as_arguments(as_arguments(message)) == as_arguments(message)


def messages():
    """What the package's InputErrors say, with x for what is filled in."""
    for path in sorted(Path(ancf_jax.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError" and node.args:
                parts = getattr(node.args[0], "values", [node.args[0]])
                yield path.name, "".join(str(getattr(part, "value", "x")) if is_text(part) else "x" for part in parts)


def is_text(node):
    return isinstance(node, ast.Constant)


def test_no_message_of_the_package_speaks_of_flags_then():
    found = list(messages())
    assert len(found) > 60 and any("--" in message for _, message in found)
    spoken = [(name, as_arguments(message)) for name, message in found]
    assert not [each for each in spoken if "--" in each[1] or "flag" in each[1].split()]


def test_every_switch_that_a_message_turns_off_is_known():
    classes = [DataConfig, TrainConfig, MeshConfig, EvalConfig, *(entry.config for entry in MODELS.values())]
    names = {name for cls in classes for name in settings_of(cls)}
    found = {name for _, message in messages() for name in re.findall(r"--no(\w+)", message)}
    assert {name for name in found if f"no{name}" not in names} <= set(SWITCHED_OFF) <= names
