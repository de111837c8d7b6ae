"""Configuration: frozen dataclasses, one field a hyperparameter, and the absl flags made from them.

A flag that is not given holds None, so that a default is written once, in its dataclass, and may differ between models.
"""

import dataclasses
import math
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeVar

from absl import flags

from ancf_jax.types import InputError

Config = TypeVar("Config")
Auto = Literal["auto"]  # `float | Auto` is a number, or left to whoever knows better, as the data set does
AUTO: Auto = "auto"


def field(
    default: Any,
    help: str,
    legal: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
) -> Any:
    """A dataclass field, with what its flag's help shows and `from_flags` checks.

    Args:
        default: the value when the flag is not given; always legal.
        help: one line for people.
        legal: the legal values of a text.
        low: the smallest legal number.
        high: the largest legal number.
        above: the number that every legal one exceeds.
    """
    metadata = {"help": help, "legal": legal, "low": low, "high": high, "above": above}
    return dataclasses.field(default=default, metadata=metadata)


def define_flags(*classes: type, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each field of the dataclasses.

    A field that several classes share is one flag, and its help shows every class's default. Defining a flag again
    replaces it, so that scripts may be imported side by side.

    Args:
        classes: dataclasses with fields of type bool, int, float, str, or tuple[one of these, ...]; any of them but
            bool may be joined with Auto.
        values: where the flags are defined; the command line's unless a recipe is read beside it.
    """
    shared: dict[str, list[tuple[type, Any, dataclasses.Field]]] = {}
    for cls in classes:
        for name, (kind, spec) in _fields(cls).items():
            shared.setdefault(name, []).append((cls, kind, spec))
    define: dict[Any, Any] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }
    for name, entries in shared.items():
        kind = entries[0][1]
        assert all(other == kind for _, other, _ in entries), f"--{name} has several types: {entries}"
        text = _help([(_label(cls), spec) for cls, _, spec in entries])
        plain, auto = _without_auto(kind)
        plain = typing.get_origin(plain) or plain
        define[str if auto and plain is not tuple else plain](name, None, text, flag_values=values, allow_override=True)


def given_flags(values: flags.FlagValues = flags.FLAGS) -> set[str]:
    """The names of the flags that the command line (or a flag file) sets."""
    return {name for name in values if not values[name].using_default_value}


def from_flags(cls: type[Config], values: flags.FlagValues = flags.FLAGS) -> Config:
    """The dataclass with the flags that were given, and its own defaults for the rest.

    Args:
        cls: a dataclass, its flags defined and parsed; a field without a flag keeps its default.
        values: where the flags were parsed.

    Raises:
        InputError: a value of the wrong type or outside its legal values.
    """
    given = {name: values[name].value for name in _fields(cls) if name in values}
    return from_json(cls, {name: value for name, value in given.items() if value is not None})


def reject_foreign(
    model_name: str, config_cls: type, all_classes: Iterable[type], values: flags.FlagValues = flags.FLAGS
) -> None:
    """Refuses flags that belong to other models alone, which would be ignored in silence.

    Args:
        model_name: the selected model, for the message.
        config_cls: its Config.
        all_classes: every model's Config.
        values: where the flags were parsed.

    Raises:
        InputError: such a flag is given; the message names it and the model's own flags.
    """
    own = _fields(config_cls)
    foreign = {name for cls in all_classes for name in _fields(cls)} - own.keys()
    for name in sorted(foreign & given_flags(values)):
        legal = ", ".join(f"--{other}" for other in own) or "none"
        raise InputError(f"flag --{name}: not a setting of model {model_name}; its own flags are {legal}")


def to_json(config: Any) -> dict[str, Any]:
    """The fields of a dataclass as JSON holds them (lists for tuples); `from_json` reads them back."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(config).items()
    }


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The dataclass with these values, checked, and its own defaults for the rest.

    Raises:
        InputError: an unknown key, a value of the wrong type or outside its legal values.
    """
    fields = _fields(cls)
    checked: dict[str, Any] = {}
    for name, value in values.items():
        if name not in fields:
            raise InputError(f"{name!r} is not a setting of {_label(cls)}; legal are {', '.join(fields)}")
        kind, auto = _without_auto(fields[name][0])
        spec = fields[name][1]
        if auto and value in (AUTO, [AUTO]):
            checked[name] = AUTO
        elif typing.get_origin(kind) is tuple:
            parts = value if isinstance(value, list | tuple) else [value]
            checked[name] = tuple(_check(name, part, typing.get_args(kind)[0], spec) for part in parts)
        else:
            checked[name] = _check(name, value, kind, spec, " or auto" if auto else "")
    return cls(**checked)


def _fields(cls: type) -> dict[str, tuple[Any, dataclasses.Field]]:
    """Name -> (type, field) for each field of a dataclass."""
    hints = typing.get_type_hints(cls)
    return {spec.name: (hints[spec.name], spec) for spec in dataclasses.fields(cls)}


def _without_auto(kind: Any) -> tuple[Any, bool]:
    """A field's type without Auto, and whether it has it."""
    parts = typing.get_args(kind)
    return (parts[0], True) if Auto in parts else (kind, False)


def _label(cls: type) -> str:
    """What people call a Config: MfConfig is mf, and a bare Config has its module's name."""
    return (cls.__name__.removesuffix("Config") or cls.__module__.rpartition(".")[2]).lower()


def _check(name: str, value: Any, kind: type, spec: dataclasses.Field, other: str = "") -> Any:
    """The value as its field's type, if it is legal; `other` says what is legal beside it."""
    converted = _convert(value, kind)
    if converted is None:
        what = {bool: "true or false", int: "an integer", float: "a finite number", str: "a text"}[kind]
        raise InputError(f"flag --{name}: {value!r} is not {what}{other}")
    legal = spec.metadata.get("legal")
    if legal and converted not in (*legal, spec.default):
        shown = ", ".join((*legal, AUTO) if spec.default == AUTO else legal)
        raise InputError(f"flag --{name}: {converted!r} is not one of {shown}")
    low, high, above = (spec.metadata.get(bound) for bound in ("low", "high", "above"))
    inside = (low is None or converted >= low) and (high is None or converted <= high)
    if not inside or (above is not None and converted <= above):
        raise InputError(f"flag --{name}: {converted!r} is out of range; legal is {_range(spec)}{other}")
    return converted


def _convert(value: Any, kind: type) -> Any:
    """The value as a bool, int, float or str; None if it is none, as 2.5 and True are no integers."""
    if kind in (bool, str):
        return value if isinstance(value, kind) else None
    with suppress(TypeError, ValueError, OverflowError):
        number = kind(value)
        if math.isfinite(number) and not isinstance(value, bool) and (isinstance(value, str) or number == value):
            return number
    return None


def _range(spec: dataclasses.Field) -> str:
    """'at least 1', 'above 0 and at most 1', ... or nothing for a field without a range."""
    bounds = (("at least", "low"), ("above", "above"), ("at most", "high"))
    return " and ".join(
        f"{word} {spec.metadata[bound]}" for word, bound in bounds if spec.metadata.get(bound) is not None
    )


def _help(entries: list[tuple[str, dataclasses.Field]]) -> str:
    """The texts of the classes that share a flag, each with its legal values and defaults."""
    texts: dict[str, dict[str, str]] = {}
    for label, spec in entries:
        default = ",".join(map(str, spec.default)) if isinstance(spec.default, tuple) else str(spec.default)
        legal = spec.metadata.get("legal")
        text = spec.metadata.get("help", "") + (f", one of {', '.join(legal)}" if legal else "")
        texts.setdefault(text, {})[label] = default or "''"
    lines = []
    for text, defaults in texts.items():
        same = len(set(defaults.values())) == 1 and len(texts) == 1
        shown = next(iter(defaults.values())) if same else ", ".join(f"{k} {v}" for k, v in defaults.items())
        lines.append(f"{text} (default: {shown})")
    return "; ".join(lines)
