"""Files that are whole or not there: written atomically, read with a checksum, and by one writer a folder."""

import fcntl
import hashlib
import json
import math
import os
import platform
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ancf_jax.types import InputError

LOCK = ".lock"  # in a folder that a process writes to, and what it is
PARTIAL = ".partial"  # ends the name of a file that is being written
SEAL = "sha256"  # the key of a JSON file's checksum: of what else it holds


def at_home(path: str | Path) -> Path:
    """A path whose ~ is the home folder; where that is unknown, ~ is a folder for files of a while."""
    expanded = os.path.expanduser(path)
    return Path(expanded if expanded[:2] != "~/" else tempfile.gettempdir() + expanded[1:])


def replace(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Write a file atomically and durably: whoever reads it sees the old one or the new one, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # never through a link that lies there
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def json_text(content: Any) -> str:
    """The content as strict JSON: what is not finite is null."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def sealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with its own checksum, which `read_json` holds it against."""
    return {**content, SEAL: _checksum(content)}


def read_json(path: Path, **kinds: type) -> dict[str, Any]:
    """The object in a JSON file, without its seal.

    Raises InputError naming the file if it is absent, cannot be read, is no JSON object, does not fit its seal, or if
    what it has under a name in `kinds` is not of that type.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; train a model there first") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # no UTF-8, or no JSON
        raise InputError(f"{path} is damaged: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is damaged: it holds no JSON object")
    if SEAL in content and content.pop(SEAL) != _checksum(content):
        raise InputError(f'{path} is damaged: it does not fit its "{SEAL}"; without that line it is read as it is')
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind):
            raise InputError(f"{path} is damaged: {name!r} is missing or no {kind.__name__}")
    return content


def checksum_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a folder, for as long as the context lasts and this process lives.

    Raises InputError that names the process which writes there, or says why the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--workdir: {folder} cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another"
            raise InputError(
                f"--workdir: process {holder} writes to {folder}; wait until it ends, or choose another workdir"
            ) from None
        except OSError as error:
            raise InputError(f"--workdir: {folder} cannot be locked: {error.strerror}") from None
        file.truncate(0)
        file.write(f"{os.getpid()} of {platform.node()}")
        file.flush()
        for left in folder.glob(f".*{PARTIAL}"):  # by a process that was killed as it wrote
            left.unlink(missing_ok=True)
        yield


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(_finite(content), sort_keys=True).encode()).hexdigest()


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
