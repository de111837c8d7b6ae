"""experiments.faithfulness on a shop's runs."""

import json

import pytest

from experiments import faithfulness

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once


def test_files_hold_what_is_printed(script, trained, tmp_path):
    output = tmp_path / "reasons"
    status, out, err = script(faithfulness, "--workdirs", trained("itemknn"), "--sample=5", "--output", output)
    assert status == 0, err
    result = json.loads(out.splitlines()[-1])
    assert json.loads(output.with_suffix(".json").read_text()) == result
    (run,) = result["runs"].values()
    assert run["model"] == "itemknn" and run["users"] == 5
    assert list(run["reasons"]) == ["contribution", "leave-one-out", "Shapley", "LXR", "cosine", "random"]
    exact = run["reasons"]["contribution"]["metrics"]
    assert exact == pytest.approx(run["reasons"]["leave-one-out"]["metrics"], abs=1e-5)  # the score is a sum
    assert run["lxr"]["users"] >= 5 and run["lxr"]["seconds"] > 0
    text = output.with_suffix(".md").read_text()
    assert f"{exact['pos@5']:.3f}" in text and "itemknn on log.csv, 5 users" in text and "Command: `" in text
    assert f"LXR learned of {run['lxr']['users']:,} users, " in text


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "--workdirs is missing"),
        (["--workdirs=MF"], "reads no history"),
        (["--workdirs=MF", "--output=/nowhere/at/all"], "--output"),
    ],
)
def test_bad_input(script, trained, tmp_path, flags, words):
    flags = [flag.replace("MF", str(trained("mf"))) for flag in [f"--output={tmp_path}/x", *flags]]
    status, _, err = script(faithfulness, *flags)
    assert status == 2 and words in err and len(err.strip().splitlines()) == 1
