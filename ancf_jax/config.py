"""Configuration: frozen dataclasses, one field a hyperparameter, and the absl flags made from them.

A flag that is not given holds None, so that a default is written once, in its dataclass, and may differ between models.
"""

import dataclasses
import math
import re
import typing
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal, NamedTuple, TypeVar

from absl import flags

from ancf_jax.types import InputError

Config = TypeVar("Config")
SWITCHED_OFF = ("ordered", "user", "joint", "validation")  # the switches that messages write as --noNAME
Auto = Literal["auto"]  # `float | Auto` is a number, or left to whoever knows better, as the data set does
AUTO: Auto = "auto"


class Range(NamedTuple):
    """The numbers from `low` to `high` that a search tries, evenly or, with `log`, evenly in their logarithms."""

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | tuple[Any, ...]]  # what a search tries of each setting: a range, or choices


def field(
    default: Any,
    help: str,
    legal: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    absent: Any = None,
) -> Any:
    """A dataclass field, with what its flag's help shows and `from_flags` checks.

    Args:
        default: the value when the flag is not given; always legal.
        help: one line for people.
        legal: the legal values of a text.
        low: the smallest legal number.
        high: the largest legal number.
        above: the number that every legal one exceeds.
        absent: the value that stands for what was done before there was this setting, if not the default.
    """
    metadata = {"help": help, "legal": legal, "low": low, "high": high, "above": above, "absent": absent}
    return dataclasses.field(default=default, metadata=metadata)


def nested(default: Any) -> Any:
    """A dataclass field that holds another Config, whose fields count as the outer one's, with these defaults.

    Args:
        default: the inner Config; its values are the defaults.
    """
    return dataclasses.field(default=default, metadata={"nested": True})


class Setting(NamedTuple):
    """One field of a Config, or of one that is nested in it."""

    kind: Any  # its type, without Auto
    default: Any
    metadata: Mapping[str, Any]  # see `field`
    part: str  # the field that holds the nested Config; empty for the Config's own
    auto: bool = False  # whether it may be left to whoever knows better


def settings_of(cls: type) -> dict[str, Setting]:
    """The settings of a Config by name, those of nested ones after its own."""
    hints = typing.get_type_hints(cls)
    own, inner = {}, {}
    for spec in dataclasses.fields(cls):
        if spec.metadata.get("nested"):
            for name, setting in settings_of(type(spec.default)).items():
                inner[name] = setting._replace(default=getattr(spec.default, name), part=spec.name)
        else:
            parts = typing.get_args(hints[spec.name])
            auto = Auto in parts
            own[spec.name] = Setting(parts[0] if auto else hints[spec.name], spec.default, spec.metadata, "", auto)
    return own | inner


def define_flags(*classes: type, values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag for each setting of the dataclasses.

    Defining a flag again replaces it, so that scripts may be imported side by side. What absl calls a flag's module is
    here `module:class`, by which help finds the settings again.

    Args:
        classes: dataclasses with fields of type bool, int, float, str, or tuple[one of these, ...], or `nested` ones;
            any of them may be joined with Auto, which a bool is where its flag is not given.
        values: where the flags are defined; the command line's unless a recipe is read beside it.
    """
    define: dict[Any, Any] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
        tuple: flags.DEFINE_list,
    }
    for cls in classes:
        for name, setting in settings_of(cls).items():
            kind = typing.get_origin(setting.kind) or setting.kind
            kind = str if setting.auto and kind not in (bool, tuple) else kind
            where: dict[str, Any] = {"flag_values": values, "module_name": f"{cls.__module__}:{cls.__qualname__}"}
            define[kind](name, None, help_of(setting), allow_override=True, **where)


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
    given = {name: values[name].value for name in settings_of(cls) if name in values}
    return from_json(cls, {name: value for name, value in given.items() if value is not None})


def to_json(config: Any) -> dict[str, Any]:
    """The settings of a dataclass as JSON holds them (lists for tuples); `from_json` reads them back."""
    found = {}
    for name, setting in settings_of(type(config)).items():
        value = getattr(getattr(config, setting.part) if setting.part else config, name)
        found[name] = list(value) if isinstance(value, tuple) else value
    return found


def from_json(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """The dataclass with these values, checked, and its own defaults for the rest.

    Raises:
        InputError: an unknown key, a value of the wrong type or outside its legal values.
    """
    settings = settings_of(cls)
    parts: dict[str, dict[str, Any]] = {"": {}}
    for name, value in values.items():
        if name not in settings:
            raise InputError(f"{name!r} is not a setting of {label_of(cls)}; legal are {', '.join(settings)}")
        setting = settings[name]
        if setting.auto and value in (AUTO, [AUTO]):
            checked: Any = AUTO
        elif typing.get_origin(setting.kind) is tuple:
            each = value if isinstance(value, list | tuple) else [value]
            checked = tuple(_check(name, part, typing.get_args(setting.kind)[0], setting) for part in each)
        else:
            checked = _check(name, value, setting.kind, setting)
        parts.setdefault(setting.part, {})[name] = checked
    own = parts.pop("")
    defaults: dict[str, Any] = {spec.name: spec.default for spec in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**own, **{part: dataclasses.replace(defaults[part], **given) for part, given in parts.items()})


def from_before(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """`from_json` of what may have been written before there were some of the settings."""
    absent = {name: setting.metadata.get("absent") for name, setting in settings_of(cls).items() if name not in values}
    return from_json(cls, {name: value for name, value in absent.items() if value is not None} | dict(values))


def label_of(cls: type) -> str:
    """What people call a Config: MfConfig is mf, and a bare Config has its module's name."""
    return (cls.__name__.removesuffix("Config") or cls.__module__.rpartition(".")[2]).lower()


def _check(name: str, value: Any, kind: type, spec: Setting) -> Any:
    """The value as its setting's type, if it is legal."""
    other = " or auto" if spec.auto else ""
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


def _range(spec: Setting) -> str:
    """'at least 1', 'above 0 and at most 1', ... or nothing for a setting without a range."""
    bounds = (("at least", "low"), ("above", "above"), ("at most", "high"))
    return " and ".join(
        f"{word} {spec.metadata[bound]}" for word, bound in bounds if spec.metadata.get(bound) is not None
    )


def text_of(value: Any) -> str:
    """A setting's value as its flag is given it; empty for a switch that is off."""
    if isinstance(value, bool):
        return "true" if value else ""
    if isinstance(value, list | tuple):
        return ",".join(map(text_of, value))
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def help_of(setting: Setting) -> str:
    """What the setting does, and its legal values."""
    legal = setting.metadata.get("legal")
    choice = f", one of {', '.join(legal)}" if legal else ""
    return f"{setting.metadata.get('help', '')}{choice}"


def as_arguments(message: str) -> str:
    """A message about flags as one about arguments of a function; what it quotes stays as it is.

    >>> as_arguments("flag --tower: legal are --nouser and --tower=, or --layers=1")
    'argument tower: legal are user=False and an empty tower, or layers=1'
    """
    message = re.sub(r"\bflag(s?) (--\w+(?:, --\w+)*)", _named, message)
    message = re.sub(r"^--(?=\w+:)", "argument ", message)
    message = re.sub(r"\bthe flag\b", "the argument", message)
    message = re.sub(_FLAG + rf"no({'|'.join(SWITCHED_OFF)})\b", r"\1=False", message)
    message = re.sub(_FLAG + r"(\w+)=(?=[\s,;.)]|$)", r"an empty \1", message)
    return re.sub(_FLAG + r"(?=\w)", "", message)


_FLAG = r"(?<![\w'\"/=-])--"  # not in a path or in what a message quotes


def _named(found: re.Match[str]) -> str:
    """'flags --a, --b' as 'arguments a, b'."""
    return f"argument{found[1]} {found[2].replace('--', '')}"
