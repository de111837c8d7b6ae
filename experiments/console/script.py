"""How a script runs: flags are defined and parsed, help is answered, errors are one line, results end it."""

import difflib
import io
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping
from logging import WARNING
from pathlib import Path
from typing import Any, NoReturn

from absl import flags, logging

from ancf_jax import config
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.models import MODELS, entry_of
from ancf_jax.types import InputError
from experiments import options
from experiments.console import endings, manual
from experiments.console.text import dumps

HELP = {"-h", "--help", "--helpshort", "--helpfull"}


def run(define: Callable[[], None], main: Callable[[], Mapping[str, Any]]) -> NoReturn:
    """Defines and parses the flags, runs a script's main, prints its results as the last line, and exits.

    Exit status: 0 on success, 2 on bad flags or bad input, 130 when interrupted, 143 when terminated, 1 on any other
    failure.

    Args:
        define: defines the script's flags; it may look at the command line.
        main: the script; returns its results, which are printed as one JSON object unless a terminal is to show it.
    """
    _open_streams()
    try:
        with endings.interruptible():
            _run(define, main)
    except InputError as error:
        endings.fail(str(error), 2)
    except FloatingPointError as error:
        endings.fail(str(error), 1)
    except endings.Terminated:
        endings.leave("terminated; rerunning the same command resumes", 143)
    except KeyboardInterrupt:
        endings.leave("interrupted; rerunning the same command resumes", 130)
    except BrokenPipeError:  # who reads, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if said := endings.reason(error):
            endings.fail(said, 1)
        raise
    sys.exit(0)


def _run(define: Callable[[], None], main: Callable[[], Mapping[str, Any]]) -> None:
    define()
    flags.DEFINE_boolean("json", False, "end with a line of JSON on a terminal too", allow_override=True)
    if asked := HELP & set(sys.argv[1:]):
        document = sys.modules["__main__"].__doc__ or ""
        print(manual.page(document, flags.FLAGS, _model(), "--helpfull" in asked), flush=True)
        return
    _parse(sys.argv)
    if not speaks():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # gloo writes there past sys.stdout
    results = main()
    if flags.FLAGS.json or not sys.stdout.isatty():
        print(dumps(results), flush=True)


def _open_streams() -> None:
    """A closed stdout or stderr takes what is written, and letters that it does not have are escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_help(define: Callable[[], None]) -> None:
    """Answers --help, if it is given, and exits: before a script imports what its flags do without."""
    if HELP & set(sys.argv[1:]):
        run(define, dict)


def command(script: str) -> str:
    """The command line of this process, as a person would type it."""
    return shlex.join(["python", "-m", script, *sys.argv[1:]])


def speaks() -> bool:
    """Whether this process prints results and progress: of several, the first. Errors are for each of them to print."""
    return config.from_flags(MeshConfig).process_id == 0


def _parse(argv: list[str]) -> None:
    """Parses the flags; whatever is wrong with them is bad input."""
    for word in argv:
        if not word.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in word):
            said = word.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
            raise InputError(f"{said!r} is no text in this locale, {sys.getfilesystemencoding()}; set PYTHONUTF8=1")
    try:
        rest = flags.FLAGS(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        raise InputError(_unknown(error.flagname)) from error
    except (flags.Error, ValueError) as error:  # a ValueError where --noNAME has a value
        raise InputError(str(error).removeprefix("ERROR:: ")) from error
    if flags.FLAGS["verbosity"].using_default_value:
        logging.set_verbosity(logging.INFO)  # how far a download is
        logging.get_absl_logger().addFilter(_worth_showing)
        warnings.filterwarnings("ignore", module="orbax")
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; options are written --name=value, --help lists them")


def _worth_showing(record: Any) -> bool:
    """Our own news and the warnings of others, but for Orbax, which logs pages about errors that it raises as well."""
    ours = record.pathname.startswith(str(Path(config.__file__).parent))
    return ours or (record.levelno >= WARNING and "orbax" not in record.pathname)


def _model() -> str:
    """The model whose flags are defined; empty where the script names none."""
    if "model" not in flags.FLAGS:
        return ""
    return options.model_in(sys.argv)


def _unknown(name: str) -> str:
    """What to say of a flag that the script does not have: what is like it, and which models have it."""
    known = list(flags.FLAGS)
    model = _model()
    having = [other for other, entry in MODELS.items() if model and name in config.settings_of(entry.config)]
    said = [f"flag --{name}: " + (f"not one of {model}'s, but of {', '.join(having)}" if having else "unknown")]
    close = difflib.get_close_matches(name, known, 1)
    if close and not having:
        said.append(f"did you mean --{close[0]}?")
    if model:
        own = " ".join(f"--{flag}" for flag in config.settings_of(entry_of(model).config))
        said.append(f"{model}'s own are {own}" if own else f"{model} has none of its own")
    return "; ".join([*said, "--help shows all"])
