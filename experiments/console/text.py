"""Text for people, wrapped to their terminal, and results as JSON."""

import json
import math
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

WIDEST = 100  # columns that a line of prose has at most


def say(*texts: str) -> None:
    """Prints texts to stdout, each on lines of its own, wrapped at spaces where that is a terminal."""
    width = terminal_width()
    for text in map(visible, texts):
        if width is not None:
            indent = "  " * text.startswith("- ")  # a point of a list
            options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
            text = textwrap.fill(text, min(width, WIDEST), subsequent_indent=indent, **options)
        print(text)
    sys.stdout.flush()


def visible(text: str) -> str:
    """The text with an escape for each character that is not printed, which might command a terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else letter.encode("unicode_escape").decode()
        for letter in text
    )


def terminal_width() -> int | None:
    """The columns of the terminal that stdout is; None where it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def dumps(result: Mapping[str, Any]) -> str:
    """The results as one line of strict JSON: NumPy and JAX values as plain numbers, NaN and infinity as null."""
    return json.dumps(plain(result), allow_nan=False)


def plain(value: Any) -> Any:
    """The value in terms of what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if hasattr(value, "tolist"):  # NumPy's and JAX's arrays and scalars
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
