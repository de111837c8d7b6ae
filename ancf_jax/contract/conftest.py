"""`--model=package.module` is tested if it is given; every registered model and its variants if it is not."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from ancf_jax.contract import compile_quickly, let_go

compile_quickly()

from ancf_jax.contract.board import NAMES, VARIANTS, Case, case_of  # noqa: E402
from ancf_jax.types import Gradient, InputError  # noqa: E402

ABLE: dict[str, Callable[[Case], bool]] = {
    "attends": lambda case: case.model.attend is not None,
    "contributes": lambda case: case.model.contribute is not None,
    "knows its falls": lambda case: case.model.falls is not None,
    "embeds": lambda case: case.model.embed is not None,
    "has rows of different lengths": lambda case: getattr(case.model.learn, "lengths", None) is not None,
    "is no variant": lambda case: case.name not in VARIANTS,
    "learns by gradient": lambda case: isinstance(case.model.learn, Gradient),
    "personal": lambda case: case.personal,
    "takes narrow histories": lambda case: case.model.narrow > 0,
    "streams": lambda case: case.entry.streams,
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """The model that is tested."""
    parser.addoption("--model", default="", help="package.module of a model of one's own; all registered ones without")


def pytest_configure(config: pytest.Config) -> None:
    """The marker of tests that are for some models. A model that is not there is refused in one line."""
    config.addinivalue_line("markers", f"able(what): for models of which one of these holds: {', '.join(ABLE)}")
    if config.getoption("--model", ""):
        try:
            case_of(config.getoption("--model", ""))
        except InputError as error:
            raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test of a `case` runs for each model that it is for; all tests of a model run on one worker."""
    if "case" not in metafunc.fixturenames:
        return
    wanted = metafunc.config.getoption("--model", "")
    conditions = [ABLE[marker.args[0]] for marker in metafunc.definition.iter_markers("able")]
    names = [name for name in ([wanted] if wanted else NAMES) if all(holds(_made(name)) for holds in conditions)]
    cases = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in names]
    metafunc.parametrize("case", cases, indirect=True, scope="session")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of one model after another, on one worker too."""
    own = [item for item in items if isinstance(item, pytest.Function) and item.path.parent == Path(__file__).parent]
    names = list(dict.fromkeys(item.callspec.params["case"] for item in own))
    together = iter(sorted(own, key=lambda item: names.index(item.callspec.params["case"])))
    items[:] = [next(together) if item in own else item for item in items]


@pytest.fixture(scope="session")
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A model on the board. The tests of one model run together, so it is trained once."""
    yield case_of(request.param)
    let_go()


@cache
def _made(name: str) -> Case:
    """A case to look at, which is never trained."""
    return case_of(name)
