"""A study belongs to one search; its trials hang on the seed and on those before; one process goes through it."""

import pytest

from ancf_jax.config import Range
from ancf_jax.models import MODELS
from ancf_jax.runs.run import Run
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.tuning.space import with_settings
from ancf_jax.tuning.study import ask, asked_of, counted, opened, suggested, take_up
from ancf_jax.types import InputError

RUN = Run("mf", DataConfig(), MODELS["mf"].config(), TrainConfig())
SPACE = {"l2": Range(0.001, 0.1, log=True), "factors": (8, 16), "window": Range(4, 64, log=True)}
START = {"l2": 0.0, "factors": 16, "window": 64}


def asked(run=RUN, space=SPACE, fingerprint="abc", minutes=1.0):
    return asked_of(run, space, fingerprint, minutes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file with a study called mf."""
    path = tmp_path_factory.mktemp("studies") / "s.db"
    with opened(path, "mf", asked(), 0) as study:
        take_up(study, SPACE, START)
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": with_settings(RUN, {"epochs": 3})}, "epochs is 20 there and 3 here"),
        ({"run": with_settings(RUN, {"l2": 0.5})}, "l2 is 0.005 there and 0.5 here"),
        ({"run": RUN._replace(data=DataConfig(dataset="ml-1m"))}, "dataset is 'ml-100k' there and 'ml-1m' here"),
        ({"run": with_settings(RUN, {"seed": 4})}, "seed is 0 there and 4 here"),
        ({"fingerprint": "xyz"}, "data set is 'abc' there and 'xyz' here"),
        ({"minutes": 2.0}, "minutes is 1.0 there and 2.0 here"),
        ({"space": SPACE | {"factors": (8, 32)}}, r"the space of factors is \[8, 16\] there and \[8, 32\] here"),
    ],
)
def test_a_file_with_a_study_of_something_else_is_refused(path, changes, message):
    with (
        pytest.raises(InputError, match=f"--workdir: .* holds another study of mf: {message}"),
        opened(path, "mf", asked(**changes), 0),
    ):
        pass


def test_the_folder_of_the_originals_may_change(path):
    with opened(path, "mf", asked(RUN._replace(data=DataConfig(data_dir="elsewhere"))), 0) as study:
        assert counted(study) == []


def test_a_file_is_for_one_search_at_a_time(path):
    with (
        opened(path, "mf", asked(), 0),
        pytest.raises(InputError, match="--workdir: another process searches in"),
        opened(path, "mf", asked(), 0),
    ):
        pass


def test_the_start_comes_first_as_near_as_the_space_holds_it():
    with opened(None, "mf", asked(), 0) as study:
        take_up(study, SPACE, START)
        take_up(study, SPACE, START)
        first, second = ask(study, 0), ask(study, 0)
        assert suggested(first, SPACE, RUN) == {"l2": 0.001, "factors": 16, "window": 64}
        assert first.user_attrs == {"start": True} and second.user_attrs == {}
        found = suggested(second, SPACE, RUN)
    assert 0.001 <= found["l2"] <= 0.1 and found["factors"] in (8, 16) and isinstance(found["window"], int)


def test_what_is_tried_hangs_on_the_seed_and_on_how_many_were():
    def drawn(seed, before):
        with opened(None, "mf", asked(), 0) as study:
            for _ in range(before):
                study.tell(ask(study, 99), 0.5)
            return suggested(ask(study, seed), SPACE, RUN)

    assert drawn(0, 0) == drawn(0, 0) and drawn(0, 2) == drawn(0, 2)
    assert len({drawn(seed, before)["l2"] for seed in (0, 1) for before in (0, 1)}) == 4
