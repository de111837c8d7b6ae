"""What people type: flags, flag files, conditions, and settings as JSON."""

import io
import json
import sys
from pathlib import Path
from typing import Any

from absl import flags
from absl.testing import flagsaver

from ancf_jax.config import from_json, to_json
from ancf_jax.data.read import where
from ancf_jax.devices.sharding import parse_mesh
from ancf_jax.models import MODELS
from ancf_jax.settings import DataConfig, EvalConfig, TrainConfig
from ancf_jax.types import InputError
from experiments import console, options, recipe
from tests.reliability.fuzz.made import Kind

CLASSES = {"data": DataConfig, "train": TrainConfig, "evaluation": EvalConfig}
MODEL = "ancf"


def kinds(root: Path) -> dict[str, Kind]:
    """Settings by their flags, flag files and JSON."""
    names = tuple(f"--{name}=" for name in (*to_json(DataConfig()), *to_json(TrainConfig()), "warm_start", "model"))
    kept = {name: json.dumps(to_json(cls())).encode() for name, cls in CLASSES.items()}
    own = [json.dumps(to_json(MODELS[name].config())).encode() for name in ("ancf", "gmf", "ease")]
    return {
        "where": Kind(lambda: [b'event=purchase,price>=10,name="a, b"'], lambda data: where.parse(_text(data)), 100),
        "mesh": Kind(lambda: [b"data:2,model:4"], lambda data: parse_mesh(_text(data)), 60, ("data:", "model:")),
        "flags": Kind(
            lambda: [b"--model=ancf\n--epochs=3\n--dataset=ml-1m", b"--item_text=a,b\n--novalidation"],
            _command_line,
            8,
            names,
        ),
        "flag files": Kind(
            lambda: [path.read_bytes() for path in sorted(options.RECIPES.glob("ml-1m-*.flags"))[:6]],
            lambda data: _flag_file(root, data),
            7,
            (*names, "# trials: ", "--flagfile="),
        ),
        "settings": Kind(lambda: [*kept.values(), *own], _settings, 80, tuple(f'"{name[2:-1]}": ' for name in names)),
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _settings(data: bytes) -> None:
    """JSON as each class of settings: what is taken is the same once it is written and read again."""
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise InputError("no JSON") from None
    if not isinstance(values, dict):
        raise InputError("no object")
    refused: InputError | None = None
    for cls in (*CLASSES.values(), MODELS["ancf"].config, MODELS["gmf"].config):
        own = {name: value for name, value in values.items() if name in to_json(cls())}
        try:
            made: Any = from_json(cls, own)
            assert from_json(cls, json.loads(json.dumps(to_json(made)))) == made
        except InputError as error:
            refused = error
    if refused is not None:
        raise refused


def _flag_file(root: Path, data: bytes) -> None:
    path = root / "made.flags"
    path.write_bytes(data)
    _run([f"--flagfile={path}"])


def _command_line(data: bytes) -> None:
    words = [word for word in _text(data).replace("\0", "").split("\n") if "flagfile" not in word]
    _run(words)


def _run(words: list[str]) -> None:
    """A script of these flags that says what run they make: it ends with 0, or with 2 and one line."""
    if "epochs" not in flags.FLAGS:
        options.define_run(argv=["script"])
    out, err = (io.TextIOWrapper(io.BytesIO(), "ascii") for _ in range(2))  # letters of others are escaped
    before = sys.argv, sys.stdout, sys.stderr
    sys.argv, sys.stdout, sys.stderr = ["script", *words], out, err
    try:
        with flagsaver.flagsaver():
            console.run(lambda: None, _main)
    except SystemExit as end:
        status = end.code
    finally:
        sys.argv, sys.stdout, sys.stderr = before
    err.seek(0)
    said = err.read()
    assert status in (0, 2) and (status == 0 or said.startswith("error: ")), (status, said)
    if status:
        raise InputError(said.strip())


def _main() -> dict[str, Any]:
    run = options.run_from_flags(Path("runs"))
    recipe.trials_of(sys.argv)
    return {"model": run.model}
