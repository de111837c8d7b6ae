"""Help: a script's flags by purpose, one line each."""

import pkgutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from absl import flags

from ancf_jax.config import help_of, settings_of, text_of
from ancf_jax.models import MODELS, entry_of

WIDTH = 80
INDENT = 22  # where what a flag does starts
SHORT_INDENT = 6  # where its second line starts if it is long
AT_SPACES: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
MOST = 2  # lines of a flag, but for --helpfull
OWN = "What is done"  # of a script's own flags
MODEL = "Model"  # of the hyperparameters; its title goes on with the model's name

# The flags by purpose, as --help shows them: those that most people need, and those that it only names. A setting that
# stands nowhere here is named with the first of its class. All of a script's own are explained, and all of a model.
PURPOSES = {
    OWN: ("", ""),
    "What is read": (
        "dataset user_column item_column value_column time_column items_path",
        "items_id_column title_column users_path users_id_column separator decimal encoding header na_values where "
        "time_format",
    ),
    "Cleaning": (
        "duplicates user_core",
        "item_core min_value repeats anonymous anonymous_ids drop_items returns clip_quantile",
    ),
    "Splitting": (
        "split fractions",
        "folds fold split_seed basket_column train_path valid_path test_path negatives_path",
    ),
    "Features": (
        "item_text",
        "item_categories item_numbers item_vectors user_categories user_numbers user_vectors text_terms",
    ),
    "Training": (
        "epochs batch_size learning_rate metric patience seed",
        "optimizer schedule warmup cycles weight_decay clip lazy_rows precision validation eval_every target stream "
        "stream_rows warm_start knows until validate_users",
    ),
    MODEL: ("model", ""),
    "Evaluation": ("part protocol", "ks own_metric clip_predictions beside"),
    "Devices": ("", "memory_budget mesh coordinator num_processes process_id"),
    "Where things go": ("workdir data_dir json flagfile", "tensorboard compilation_cache"),
}


class Flag(NamedTuple):
    """A flag as help shows it."""

    name: str
    default: str
    does: str


class Section(NamedTuple):
    """The flags of one purpose: those that are explained, those that are named alone, and a line to end with."""

    title: str
    shown: Sequence[Flag]
    further: Sequence[Flag] = ()
    note: str = ""


def page(document: str, values: flags.FlagValues, model: str, full: bool) -> str:
    """What a script does, and its flags by purpose.

    Args:
        document: the script's docstring.
        values: the flags that are defined.
        model: the model whose flags they hold; empty for a script that names none.
        full: whether every flag is explained, and those of every model are there.
    """
    found = sections(values, model)
    more = "--helpfull explains every flag" + (", of every model." if model else ".")
    if full:
        found = [Section(each.title, [*each.shown, *each.further]) for each in found]
        others = [name for name in MODELS if model and name != model]
        found += [Section(f"{MODEL} {name}", _of_class(entry_of(name).config)) for name in others]
        more = ""
    reading = (
        "Flags are written --name=value, switches --name or --noname. Defaults are shown; without one, none or off."
    )
    paragraphs = [" ".join(paragraph.split()) for paragraph in document.strip().split("\n\n")]
    parts = [*map(_filled, [*paragraphs, reading]), *(_text(each, full) for each in found if any(each[1:])), more]
    return "\n\n".join(filter(None, parts))


def sections(values: flags.FlagValues, model: str) -> list[Section]:
    """The flags that are defined, by purpose, those of absl and other libraries left out."""
    found: dict[str, dict[str, Flag]] = {title: {} for title in PURPOSES}
    for title, flag in _by_purpose(values):
        found[title][flag.name] = flag
    listed = []
    for title, known in found.items():
        first, then = (part.split() for part in PURPOSES[title])
        rest = [name for name in known if name not in (*first, *then)]
        first, then = (first + rest, then) if title in (OWN, MODEL) else (first, then + rest)
        shown, further = ([known[name] for name in part if name in known] for part in (first, then))
        section = Section(title, shown, further)
        if title == MODEL and model:
            others = f"other models: {' '.join(name for name in MODELS if name != model)}"
            section = section._replace(title=f"{MODEL} {model}", note=others)
        listed.append(section)
    return listed


def _by_purpose(values: flags.FlagValues) -> Iterator[tuple[str, Flag]]:
    """Every flag of ours, and the purpose that it serves."""
    purpose_of = {name: title for title, parts in PURPOSES.items() for name in " ".join(parts).split()}
    for module, defined in values.flags_by_module_dict().items():
        current = {flag.name: flag for flag in defined if flag.name in values and values[flag.name] is flag}
        if current and ":" in module:  # see define_flags
            settings = [flag for flag in _of_class(pkgutil.resolve_name(module)) if flag.name in current]
            shared = module.startswith(("ancf_jax.settings:", "ancf_jax.devices.settings:"))
            home = purpose_of[settings[0].name] if shared else MODEL
            yield from ((purpose_of.get(flag.name, home) if shared else home, flag) for flag in settings)
        elif module.startswith("experiments.") or module == sys.argv[0]:
            yield from ((purpose_of.get(flag.name, OWN), _of_script(flag)) for flag in current.values())
    yield purpose_of["flagfile"], Flag("flagfile", "", "a file of flags, one a line")


def _of_class(cls: type) -> list[Flag]:
    """The flags of a dataclass of settings."""
    return [Flag(name, text_of(setting.default), help_of(setting)) for name, setting in settings_of(cls).items()]


def _of_script(flag: flags.Flag) -> Flag:
    """A flag that a script defines itself."""
    does = flag.help.partition(";    repeat")[0]  # as absl goes on where a flag may be repeated
    if isinstance(flag, flags.EnumFlag):  # <a|b>: what it does
        does = f"{does.partition('>: ')[2]}, one of {', '.join(flag.parser.enum_values)}"
    return Flag(flag.name, "" if flag.default is None else text_of(flag.default), does)


def _text(section: Section, full: bool) -> str:
    """A section's lines."""
    lines = [section.title, *(line for flag in section.shown for line in explained(flag, full))]
    if section.further:
        lines.append(_filled(f"also {' '.join(f'--{flag.name}' for flag in section.further)}", "  "))
    if section.note:
        lines.append(_filled(section.note, "  "))
    return "\n".join(lines)


def explained(flag: Flag, full: bool) -> list[str]:
    """--name=default and what the flag does; unless `full` in two lines at most, the rest cut off."""
    start = f"  --{flag.name}{'=' * bool(flag.default)}{flag.default}".ljust(INDENT - 2) + "  "
    for indent in (INDENT, SHORT_INDENT):
        lines = _filled(flag.does, start, " " * indent).splitlines()
        if full or len(lines) <= MOST:
            return lines
    rest = " ".join(line.strip() for line in lines[1:])
    short = textwrap.shorten(rest, WIDTH - SHORT_INDENT, placeholder=" ...", **AT_SPACES)
    return [lines[0], " " * SHORT_INDENT + short]


def _filled(text: str, first: str = "", then: str = "") -> str:
    """The text in lines of WIDTH, broken at spaces, after what the first and the others start with."""
    then = then or " " * SHORT_INDENT * bool(first)
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=then, **AT_SPACES)
