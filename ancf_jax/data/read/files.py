"""Which files a path stands for, and their bytes: folders, compression, encodings."""

import codecs
import contextlib
import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple, TextIO
from urllib.parse import unquote

import pyarrow

from ancf_jax.files import at_home
from ancf_jax.types import InputError

KINDS = (".csv", ".tsv", ".dat", ".txt", ".jsonl", ".ndjson", ".parquet")
COMPRESSION = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}  # suffix -> what Arrow calls it
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"  # how Hive and Spark write a missing value in the name of a folder
BLOCK = 2**20  # bytes that are read at once
HIDDEN = ("_", ".")  # names of such beginnings are no data: _SUCCESS, .part.crc, .DS_Store
MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class File(NamedTuple):
    """A file of data."""

    path: Path
    kind: str  # one of KINDS
    packed: str = ""  # one of COMPRESSION, or nothing
    keys: tuple[tuple[str, str], ...] = ()  # column -> text, of the folders named column=text that it is in


def files_of(name: str, flag: str) -> list[File]:
    """The file `name`, or the files in the folder of that name: numbered parts in the order of their numbers.

    Raises InputError that names --`flag` where there is nothing, or something of which no table can be made.
    """
    path = at_home(name)
    if path.is_file():
        return [_file(path, flag)]
    if not path.is_dir():
        raise InputError(f"--{flag}={name}: no such file or folder")
    inside = [found.relative_to(path) for found in path.rglob("*") if found.is_file()]
    shown = [found for found in inside if not any(part.startswith(HIDDEN) for part in found.parts)]
    files = [
        _file(path / found, flag)._replace(keys=_keys(found.parent)) for found in sorted(shown, key=_natural_order)
    ]
    if not files:
        raise InputError(f"--{flag}={name}: no file of data in this folder")
    for file in files[1:]:
        if file.kind != files[0].kind:
            raise InputError(f"--{flag}={name}: holds {files[0].path.name} and {file.path.name}; legal is one format")
        if [key for key, _ in file.keys] != [key for key, _ in files[0].keys]:
            raise InputError(f"{file.path}: its folders name other columns than those of {files[0].path}")
    return files


def _file(path: Path, flag: str) -> File:
    packed = path.suffix.lower() if path.suffix.lower() in COMPRESSION else ""
    kind = (path.with_suffix("") if packed else path).suffix.lower()
    if packed == ".zip" and kind not in KINDS:
        kind = Path(_member(path)).suffix.lower()
    if kind not in KINDS:
        legal = f"{', '.join(KINDS)}, or one of them and {', '.join(COMPRESSION)}"
        raise InputError(f"--{flag}={path}: the name must end in {legal}")
    return File(path, kind, packed)


def _natural_order(path: Path) -> list[tuple[int, str]]:
    """What sorts part-2 before part-10."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", str(path))]


def _keys(folder: Path) -> tuple[tuple[str, str], ...]:
    pairs = [part.partition("=")[::2] for part in folder.parts if "=" in part]
    return tuple((unquote(key), "" if value == NO_VALUE else unquote(value)) for key, value in pairs)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns whatever a parser says of a damaged file into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # MemoryError too, by a header that asks for more than there is
        raise InputError(f"{path}: cannot be read as a table: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def unpacked(file: File) -> Iterator[IO[bytes]]:
    """A stream of the bytes of a file, decompressed."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(readable(file.path))
        if file.packed == ".zip":
            archive = stack.enter_context(zipfile.ZipFile(file.path))
            yield stack.enter_context(archive.open(_member(file.path)))
        else:
            yield stack.enter_context(native(file))


def native(file: File) -> pyarrow.NativeFile:
    """A stream of the bytes of a file that is no .zip, decompressed, which Arrow reads without Python."""
    return pyarrow.input_stream(str(file.path), compression=COMPRESSION.get(file.packed))


def _member(path: Path) -> str:
    """The name of the one file in an archive."""
    with readable(path), zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
    if len(names) != 1:
        raise InputError(f"{path}: holds {len(names)} files; legal is an archive of one")
    return names[0]


def utf8(file: File, encoding: str = "") -> Iterator[bytes]:
    """The bytes of a text file as UTF-8, block by block.

    `encoding` is a codec's name; with utf-8 what is no UTF-8 becomes U+FFFD. Without one the bytes pass as they are,
    but for files that begin with the mark of UTF-16. Raises InputError for a NUL.
    """
    with unpacked(file) as raw:
        block = raw.read(BLOCK)
        codec, errors = codec_of(encoding, block[:2]), "replace" if replaces(encoding) else "strict"
        decoder = codecs.getincrementaldecoder(codec)(errors) if encoding or codec == "utf-16" else None
        while block:
            text = _decoded(file, encoding, decoder, block) if decoder else block
            if b"\0" in text:
                with as_text(file, encoding) as lines:
                    raise holds_nul(file.path, next(n for n, line in enumerate(lines, 1) if "\0" in line))
            yield text
            block = raw.read(BLOCK)
        if decoder:
            yield _decoded(file, encoding, decoder, b"", final=True)


def _decoded(file: File, encoding: str, decoder: codecs.IncrementalDecoder, block: bytes, final: bool = False) -> bytes:
    try:
        return decoder.decode(block, final).encode()
    except UnicodeDecodeError as error:
        raise bad_byte(file, encoding) or error from error


def holds_nul(path: Path, line: int) -> InputError:
    """Says that a file is not what it seems."""
    return InputError(
        f"{path}: line {line} holds a NUL, which no text does; --encoding=utf-16-le or utf-16-be reads UTF-16 without "
        "a mark"
    )


def codec_of(encoding: str, first: bytes) -> str:
    """The codec of a text file whose first bytes are `first`."""
    if not encoding:
        return "utf-16" if first.startswith(MARKS) else "utf-8-sig"
    return "utf-8-sig" if replaces(encoding) else codecs.lookup(encoding).name


def replaces(encoding: str) -> bool:
    """Whether bytes that are no text become U+FFFD, as --encoding=utf-8 asks; they are refused otherwise."""
    return bool(encoding) and codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


@contextlib.contextmanager
def as_text(file: File, encoding: str = "") -> Iterator[TextIO]:
    """The text of a file, line ends as they are; bytes that are no text become U+FFFD."""
    with unpacked(file) as raw:
        first = raw.read(2)
    with unpacked(file) as raw:
        yield io.TextIOWrapper(raw, codec_of(encoding, first), errors="replace", newline="")


def bad_byte(file: File, encoding: str) -> InputError | None:
    """Names the first byte that is no text; None where all are."""
    with unpacked(file) as stream:
        raw = stream.read()
    codec = codec_of(encoding, raw[:2])
    try:
        raw.decode(codec)
    except UnicodeDecodeError as error:
        line = raw[: error.start].decode(codec, "replace").count("\n") + 1
        other = "windows-1252" if codec.startswith("utf-8") else "utf-8"
        return InputError(
            f"{file.path}: line {line}: byte 0x{raw[error.start]:02x} is no {error.encoding.upper()}; give "
            f"--encoding={other}, or whichever it is; with --encoding=utf-8 such bytes become U+FFFD"
        )
    return None
