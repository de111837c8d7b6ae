"""Help: flags by purpose, short enough to read, of the chosen model alone; and what is said of flags that are none."""

import dataclasses
import re
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from ancf_jax import settings
from ancf_jax.config import define_flags, field, settings_of
from ancf_jax.devices.settings import MeshConfig
from ancf_jax.models import MODELS, entry_of
from experiments import (
    benchmark,
    compare,
    console,
    describe,
    evaluate,
    export,
    faithfulness,
    options,
    recommend,
    serve,
    train,
    tune,
)
from experiments.console import manual

SCRIPTS = (train, evaluate, recommend, serve, describe, compare, tune, benchmark, faithfulness, export)
OUTSIDE = """
from dataclasses import dataclass
from ancf_jax.config import field

@dataclass(frozen=True)
class Config:
    width: int = field(3, "how wide it is", low=1)

def make(config, data):
    raise NotImplementedError
"""


@pytest.fixture
def asked(monkeypatch, capsys):
    """A function that starts a script with arguments: exit status, stdout, stderr; its main is never reached."""

    def ask(script, *arguments):
        monkeypatch.setattr(sys, "argv", ["script", *arguments])
        with flagsaver.flagsaver(), pytest.raises(SystemExit) as stop:
            console.run(script.define, dict)
        return stop.value.code, *capsys.readouterr()

    return ask


def explained(text):
    """The flags that a page explains, each with its number of lines."""
    found = re.findall(r"^  --(\w+).*\n((?:      +.*\n)*)", text, re.MULTILINE)
    return {name: 1 + rest.count("\n") for name, rest in found}


def named(text):
    """The flags that a page names without a word."""
    return re.findall(r"--(\w+)", " ".join(re.findall(r"^  also ((?:.*\n)(?:      --.*\n)*)", text, re.MULTILINE)))


def test_help_of_a_model_is_short(asked):
    status, out, err = asked(train, "--model=mf", "--help")
    assert status == 0 and err == ""
    assert len(out.splitlines()) <= 90 and max(map(len, out.splitlines())) <= 80
    assert max(explained(out).values()) <= 2
    titles = [line for line in out.splitlines() if line in {*manual.PURPOSES, "Model mf"}]
    before = ["What is read", "Cleaning", "Splitting", "Features", "Training", "Model mf"]
    assert titles == [*before, "Evaluation", "Devices", "Where things go"]


def test_every_flag_is_there_once_and_no_other_models(asked):
    _, out, _ = asked(train, "--model=mf", "--help")
    classes = (settings.DataConfig, settings.TrainConfig, settings.EvalConfig, MeshConfig)
    own = {name for cls in (*classes, entry_of("mf").config) for name in settings_of(cls)}
    found = [*explained(out), *named(out)]
    assert sorted(found) == sorted(
        own | {"model", "beside", "workdir", "warm_start", "json", "tensorboard", "compilation_cache", "flagfile"}
    )
    assert "--factors=64        embedding width D" in out and "--heads" not in out


def test_a_default_is_shown_as_it_is_typed(asked):
    _, out, _ = asked(train, "--model=ancf", "--helpfull")
    section = out[out.index("Model ancf") :]
    assert "--tower=64,32,16" in section and "--user=true" in section and "--dropout=0 " in section
    assert re.search(r"--ordered +order-aware", section)  # off


def test_settings_to_come_make_help_hardly_longer(asked, monkeypatch):
    _, before, _ = asked(train, "--model=mf", "--help")
    more = [(f"setting_{n}", str, field("", "what it does " * 9)) for n in range(17)]
    grown = dataclasses.make_dataclass("DataConfig", more, bases=(settings.DataConfig,), frozen=True)
    grown.__module__ = "ancf_jax.settings"
    monkeypatch.setattr(settings, "DataConfig", grown)
    monkeypatch.setattr(options, "DataConfig", grown)
    _, out, _ = asked(train, "--model=mf", "--help")
    assert len(out.splitlines()) <= 90 and "--setting_16" in out[: out.index("Cleaning")]
    assert set(named(out)) == set(named(before)) | {name for name, _, _ in more}


def test_helpfull_is_of_every_model_and_without_noise(asked):
    _, out, _ = asked(train, "--model=mf", "--helpfull")
    for name, entry in MODELS.items():
        section = out.partition(f"\nModel {name}\n")[2].partition("\nModel ")[0]
        assert set(settings_of(entry.config)) <= set(explained(f"{section}\n"))
    assert out.count("\nModel mf\n") == 1 and named(out) == []
    assert "log_dir" not in out and ", or a file, or a folder of files" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_a_long_text_is_cut_between_words():
    flag = manual.Flag("name", "value", " ".join(f"word{n}" for n in range(60)))
    first, second = manual.explained(flag, full=False)
    assert first.startswith("  --name=value        word0 ") and second.endswith(" ...") and len(second) <= 80
    words = f"{first} {second}".split()[1:-1]
    assert words == [f"word{n}" for n in range(len(words))]
    assert " ".join(" ".join(manual.explained(flag, full=True)).split()).endswith("word59")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_answers(script, asked):
    status, out, _ = asked(script, "--help")
    assert status == 0 and "--json" in out and "--flagfile" in out and "--workdir" in out
    assert ("Model ancf" in out) == (script in (train, benchmark))
    assert "<" not in out  # as absl writes what is legal


def test_purposes_name_flags_that_are_there():
    values = flags.FlagValues()
    benchmark.define(values, ["script"])
    define_flags(MeshConfig, values=values)
    defined = {*values, "part", "protocol", "json", "flagfile", "beside", "compilation_cache"}
    assert {name for parts in manual.PURPOSES.values() for name in " ".join(parts).split()} <= defined


def test_help_imports_neither_data_nor_checkpoints():
    code = f"""
import runpy, sys
for script in {[script.__name__ for script in SCRIPTS]}:
    sys.argv = [script, "--model=mf", "--help"] if script == "experiments.train" else [script, "--help"]
    try:
        runpy.run_module(script, run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        assert stop.code == 0
print(sorted({{"pandas", "orbax", "sklearn", "scipy", "matplotlib"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Train one model: python -m experiments.train")
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_model_from_outside(asked, tmp_path, monkeypatch):
    (tmp_path / "somebodys").mkdir()
    (tmp_path / "somebodys" / "model.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    _, out, _ = asked(train, "--model=somebodys.model", "--help")
    assert "Model somebodys.model\n" in out and "--width=3           how wide it is" in out
    status, _, err = asked(train, "--model=somebodys.model", "--factors=3")
    assert status == 2 and "not one of somebodys.model's, but of" in err and "somebodys.model's own are --width" in err


@pytest.mark.parametrize(
    ("script", "arguments", "messages"),
    [
        (
            train,
            ["--model=mf", "--heads=2"],
            ["flag --heads: not one of mf's", "ancf", "mf's own are --factors --loss"],
        ),
        (train, ["--model=mf", "--factor=2"], ["flag --factor: unknown", "did you mean --factors?"]),
        (train, ["--model=popularity", "--l2=1"], ["flag --l2", "popularity has none of its own"]),
        (train, ["--model=mff", "--help"], ["--model=mff is unknown"]),
        (train, ["--ecpochs=3", "--bogus"], ["flag --ecpochs: unknown", "did you mean --epochs?"]),
        (compare, ["--model=mf"], ["flag --model: unknown", "did you mean --models?"]),
        (recommend, ["--topk=3"], ["flag --topk: unknown; did you mean --top_k?"]),
        (recommend, ["--zzz"], ["flag --zzz: unknown; --help shows all"]),
    ],
)
def test_flags_that_are_none(asked, script, arguments, messages):
    status, out, err = asked(script, *arguments)
    assert status == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert all(message in err for message in messages), err
