"""A study belongs to one search; its trials hang on the seed and on those before; one process goes through it."""

import os

import pytest

from ancf_jax.config import Range
from ancf_jax.models import MODELS
from ancf_jax.runs.run import Run
from ancf_jax.settings import DataConfig, TrainConfig
from ancf_jax.tuning.space import with_settings
from ancf_jax.tuning.study import asked_of, counted, draw, opened, put_off, take_up
from ancf_jax.types import InputError

RUN = Run("mf", DataConfig(), MODELS["mf"].config(), TrainConfig())
SPACE = {"l2": Range(0.001, 0.1, log=True), "factors": (8, 16), "window": Range(4, 64, log=True)}
START = {"l2": 0.0, "factors": 16, "window": 64}


def asked(run=RUN, space=SPACE, fingerprint="abc", minutes=1.0, together=1):
    return asked_of(run, space, fingerprint, minutes, together)


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
        ({"run": with_settings(RUN, {"epochs": 3})}, "epochs is .auto. there and 3 here"),
        ({"run": with_settings(RUN, {"l2": 0.5})}, "l2 is 0.005 there and 0.5 here"),
        ({"run": RUN._replace(data=DataConfig(dataset="ml-1m"))}, "dataset is 'ml-100k' there and 'ml-1m' here"),
        ({"run": with_settings(RUN, {"seed": 4})}, "seed is 0 there and 4 here"),
        ({"fingerprint": "xyz"}, "data set is 'abc' there and 'xyz' here"),
        ({"minutes": 2.0}, "minutes is 1.0 there and 2.0 here"),
        ({"together": 4}, "together is 1 there and 4 here"),
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
        pytest.raises(InputError, match=f"--workdir: process {os.getpid()} of .* writes to"),
        opened(path, "mf", asked(), 0),
    ):
        pass


def test_the_start_comes_first_with_its_own_settings():
    with opened(None, "mf", asked(), 0) as study:
        take_up(study, SPACE, START)
        take_up(study, SPACE, START)
        (first, settings), (second, others) = draw(study, SPACE, RUN, START, 2)
        assert settings == START and first.params == {"l2": 0.001, "factors": "16", "window": 64}  # no logarithm of 0
        assert first.user_attrs == {"start": True} and second.user_attrs == {}
    assert 0.001 <= others["l2"] <= 0.1 and others["factors"] in (8, 16) and isinstance(others["window"], int)


def test_what_is_tried_hangs_on_the_seed_and_on_how_many_were():
    def drawn(seed, before):
        with opened(None, "mf", asked(), 0) as study:
            for _ in range(before):
                ((trial, _),) = draw(study, SPACE, with_settings(RUN, {"seed": 99}), START, 1)
                study.tell(trial, 0.5)
            return draw(study, SPACE, with_settings(RUN, {"seed": seed}), START, 1)[0][1]

    assert drawn(0, 0) == drawn(0, 0) and drawn(0, 2) == drawn(0, 2)
    assert len({drawn(seed, before)["l2"] for seed in (0, 1) for before in (0, 1)}) == 4


def test_trials_of_a_batch_share_what_they_are_to_and_are_put_off_together():
    with opened(None, "mf", asked(), 0) as study:
        take_up(study, SPACE, START)
        first = [settings for _, settings in draw(study, SPACE, RUN, START, 4, ("factors", "window"))]
        assert {(each["factors"], each["window"]) for each in first} == {(16, 64)}
        assert len({each["l2"] for each in first}) == 4
        put_off(study, SPACE)
        take_up(study, SPACE, START)
        again = [settings for _, settings in draw(study, SPACE, RUN, START, 4, ("factors", "window"))]
        assert sorted(each["l2"] for each in again) == sorted(each["l2"] for each in first)
        assert counted(study) == []
