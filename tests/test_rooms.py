"""The house: who imports whom, who prints and reads flags, how long files are, and one name for one model."""

import ast
import re
from pathlib import Path

import pytest

from ancf_jax.models import MODELS

ROOT = Path(__file__).parents[1]
# From the roof down: a room imports from those below it alone.
ROOMS = (
    "experiments",
    "api",
    "contract",
    "serving",
    "reports",
    "profiling",
    "tuning",
    "runs",
    "training",
    "evaluation",
    "models",
    "data",
    "devices",
    "nn",
    "settings",
    "config",
    "files",
    "types",
)
SHARED = {"api": ("api", "fitted", "__init__")}  # files that are one room
FILES = sorted([*(ROOT / "ancf_jax").rglob("*.py"), *(ROOT / "experiments").rglob("*.py")])
TALKERS = ("experiments", "contract")


def name(path):
    return str(path.relative_to(ROOT))


def room_of(module: str) -> str | None:
    """The room of a module; None of one from outside."""
    package, _, rest = module.partition(".")
    if package == "experiments":
        return "experiments"
    if package != "ancf_jax":
        return None
    first = rest.partition(".")[0] or "__init__"
    return next((room for room, files in SHARED.items() if first in files), first)


def imports(path):
    """Every module that a file imports, wherever in it, and what it takes from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)} has an import relative to its folder"
            yield from ((node.module, alias.name) for alias in node.names)


def modules(path):
    """Every module that a file imports; of `from ancf_jax import models`, ancf_jax.models."""
    for module, taken in imports(path):
        yield f"{module}.{taken}" if module in ("ancf_jax", "experiments", "absl") and taken else module


def own_room(path):
    return room_of(".".join(path.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_room_imports_from_one_above_it(path):
    own = own_room(path)
    assert own in ROOMS, f"{name(path)} is in no room"
    for module in modules(path):
        room = room_of(module)
        assert room is None or ROOMS.index(own) <= ROOMS.index(room), f"{name(path)} imports {module}"


def test_only_models_and_nn_import_flax():
    found = {own_room(path) for path in FILES if any(module.split(".")[0] == "flax" for module in modules(path))}
    assert found == {"models", "nn"}


def test_only_experiments_print_and_read_flags():
    """config defines flags and turns them into settings, given where they were parsed."""
    for path in FILES:
        if own_room(path) in TALKERS:
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not [call for call in calls if isinstance(call, ast.Name) and call.id == "print"], f"{name(path)} prints"
        reads = any(module in ("absl", "absl.flags", "absl.app") for module in modules(path))
        assert not reads or own_room(path) == "config", f"{name(path)} reads flags"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_file_is_longer_than_300_lines(path):
    assert len(path.read_text().splitlines()) <= 300


def test_no_folder_holds_more_than_ten_files_nor_the_package_more_than_eight():
    for folder in {path.parent for path in FILES if path.is_relative_to(ROOT / "ancf_jax")}:
        files = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= 10, name(folder)
    assert len(list((ROOT / "ancf_jax").glob("*.py"))) <= 8


SEVERAL = {  # files of several models, which share nearly all of what is in them
    "popularity": {"popularity", "personal", "recent", "random"},
    "means": {"global_mean", "item_mean"},
    "ncf": {"gmf", "mlp", "neumf"},
}
TASKS = ("ratings", "quantity", "cold", "baskets")  # what a recipe is for, where it is not the usual ranking


def test_a_file_and_its_registry_entry_bear_one_name():
    for model, entry in MODELS.items():
        file = entry.module.rpartition(".")[2]
        assert file == model or model in SEVERAL[file]
        assert (ROOT / entry.module.replace(".", "/")).with_suffix(".py").is_file()


def test_recipes_bear_the_name_of_their_model():
    """DATASET[-TASK]-MODEL[-VARIANT].flags trains MODEL on DATASET."""
    for path in sorted((ROOT / "experiments" / "recipes").glob("*.flags")):
        flags = dict(line.removeprefix("--").partition("=")[::2] for line in path.read_text().splitlines())
        dataset, model = flags["dataset"], flags["model"]
        assert path.stem.startswith(f"{dataset}-"), path.name
        rest = re.sub(f"^({'|'.join(TASKS)})-", "", path.stem.removeprefix(f"{dataset}-"))
        assert rest == model or rest.startswith(f"{model}-"), path.name
