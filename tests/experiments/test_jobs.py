"""Runs are checked, with what they start from, before anything is trained."""

import json

import pytest

from ancf_jax.types import InputError
from experiments import recipe, train

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once

WARM = "--warm_start={runs}/popularity/{seed}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([WARM, "--metric=rmse"], "flag --metric: 'rmse' is unknown here"),
        ([WARM, "--warm_start={runs}/itemknn/{seed},nowhere"], "--warm_start: nowhere holds no checkpoints"),
        ([WARM, "--factors=5"], "holds another run: factors is 4 there and 5 here"),
    ],
)
def test_a_run_that_is_refused_has_no_start_trained(script, arguments, trained, tmp_path, options, message):
    other = "factors" in message  # the workdir of a run that is there
    workdir = trained("mf") if other else tmp_path / "run"
    status, _, err = script(train, *arguments("mf", workdir), *options)
    assert status == 2 and message in err and err.count("\n") == 1
    assert not (workdir / "starts").exists() and (other or not workdir.exists())


def test_a_start_is_trained_first_on_the_same_reading_of_the_data(script, arguments, tmp_path):
    (tmp_path / "own.flags").write_text("# MF by itself.\n# trials: 7\n--knows=train\n--warm_start={runs}/mf/{seed}\n")
    flags = [*arguments("mf", tmp_path / "run"), "--flagfile", f"{tmp_path}/own.flags", "--factors=64"]
    status, out, err = script(train, *flags)
    assert status == 0, err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    start = json.loads((tmp_path / "run" / "starts" / "mf" / "0" / "result.json").read_text())
    assert out.count("reading ") == 1 and "mf starts from mf, which is trained first" in out
    assert result["start_seconds"] == start["training_seconds"] > 0
    assert (result["trials"], start["trials"]) == (7, None)


@pytest.mark.parametrize(
    ("arguments", "trials"),
    [
        (["--flagfile={}"], 12),
        (["--model=mf", "--flagfile", "{}", "--factors=3"], 12),
        (["--model=mf"], None),
        (["--flagfile_of={}"], None),
    ],
)
def test_trials_are_those_of_the_flag_file(tmp_path, arguments, trials):
    path = tmp_path / "some.flags"
    path.write_text("# Some model, the best of 30 on another data set.\n# trials: 12\n--model=mf\n")
    assert recipe.trials_of([argument.format(path) for argument in arguments]) == trials
    path.write_text("# Some model.\n--model=mf\n")
    assert recipe.trials_of([f"--flagfile={path}"]) is None
    path.write_text("# trials: a dozen\n--model=mf\n")
    with pytest.raises(InputError, match=r"some\.flags has '# trials: a dozen'; after '# trials:' stands a number"):
        recipe.trials_of([f"--flagfile={path}"])
