"""What valid input is made of, and the loop over input that is not."""

import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from absl import logging

from ancf_jax.types import InputError

SLOW = 5.0  # seconds of CPU that one input may take
HANGS, MEMORY = 1800, 4000  # seconds by the clock, which other programs share, and MB: above these a process ends
LONGEST = 3000  # bytes of an input
EVERY = 2000  # inputs between two reports of a process that may yet be killed
LINES = 4000  # letters of what is said of an input


class Kind(NamedTuple):
    """One kind of input."""

    seeds: Callable[[], list[bytes]]  # valid ones, to be changed
    act: Callable[[bytes], Any]  # raises InputError for what it refuses
    share: int  # of all inputs, in thousands of a million
    words: tuple[str, ...] = ()  # that inputs of the kind are likely to hold


def make(root: Path) -> None:
    """Logs, and runs of two models trained on one of them, in the folder that `kinds` is given."""
    import ancf_jax
    from tests.reliability.kills import write_logs

    write_logs(root)
    rows = [f"{n},Red mug {n},{'mug' if n % 2 else 'tea|cup'},{n / 2}" for n in range(30)]
    (root / "items.csv").write_text("item,title,kind,price\n" + "\n".join(rows) + "\n")
    options: dict[str, Any] = {"items_path": str(root / "items.csv"), "item_categories": ("kind",)}
    dataset = ancf_jax.load(str(root / "log.csv"), time_column="time", **options)
    ancf_jax.fit("gmf", dataset, workdir=root / "gmf", epochs=2, factors=4, batch_size=64)
    small = {"factors": 4, "heads": 2, "history": 5, "prior": 0, "tower": (), "negatives": 4, "targets": 2}
    ancf_jax.fit("ancf", dataset, workdir=root / "ancf", epochs=1, **small)


def fuzz(kind: Kind, folder: Path, count: int, seed: int) -> None:
    """Try so many inputs of a kind, and write to found.json what came of them; ends the process."""
    import atheris

    logging.set_verbosity(logging.FATAL)
    corpus, wrong, tried = folder / "corpus", dict[str, str](), 0
    corpus.mkdir()
    for number, each in enumerate(kind.seeds()):
        (corpus / str(number)).write_bytes(each)
    words = [
        *kind.words,
        '"',
        "\0",
        "\r",
        "nan",
        "1e400",
        "-1",
        "9223372036854775808",
        "\u00e9",
        "\ud83d\ude00",
        "null",
    ]
    lines = [
        "".join(f"\\x{byte:02x}" for byte in word.encode("utf-16", "surrogatepass").decode("utf-16").encode())
        for word in words
    ]
    (folder / "words").write_text("".join(f'"{line}"\n' for line in lines))

    def report() -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        found = {"inputs": tried, "seconds": used.ru_utime + used.ru_stime, "wrong": [*wrong.values()]}
        (folder / "found.json").write_text(json.dumps(found))

    def one(data: bytes) -> None:
        nonlocal tried
        tried, started = tried + 1, time.process_time()
        try:
            kind.act(data)
        except InputError as error:
            if "\n" in str(error) or len(str(error)) > LINES:
                wrong.setdefault("lines", f"not one line: {str(error)[:300]!r} of {data[:300]!r}")
        except Exception as error:
            places = traceback.extract_tb(error.__traceback__)
            place = ([each for each in places if "ancf_jax/" in each.filename] or places)[-1]
            name = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            if name not in wrong:
                wrong[name] = f"{name}: {str(error)[:200]!r} of {data[:600]!r}"
                report()
        if time.process_time() - started > SLOW:
            wrong.setdefault("slow", f"took {time.process_time() - started:.0f} s: {data[:600]!r}")
        if tried >= count:
            report()
            os._exit(0)
        if tried % EVERY == 0:
            report()

    limits = [f"-timeout={HANGS}", f"-rss_limit_mb={MEMORY}", f"-max_len={LONGEST}", f"-seed={seed + 1}"]
    options = [
        *limits,
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=0",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()
