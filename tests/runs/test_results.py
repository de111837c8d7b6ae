"""What a run leaves behind: where and with what it was measured."""

import hashlib
import json
from dataclasses import replace

import jax
import numpy as np

from ancf_jax.data.read.sources import sums_of
from ancf_jax.runs.results import provenance
from ancf_jax.settings import DataConfig


def test_provenance_says_where_and_with_what():
    found = provenance()
    assert found["versions"]["jax"] == jax.__version__ and found["versions"]["numpy"] == np.__version__
    assert jax.devices()[0].device_kind in found["hardware"]
    json.dumps(found)


def test_the_sums_of_the_data_are_those_of_the_files(tmp_path):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "log").mkdir()
    for name in ("ml-100k/u.data", "ml-100k/u.item", "log/part-2.csv", "log/part-10.csv", "items.csv"):
        (tmp_path / name).write_text(name)
    of = lambda *texts: hashlib.sha256("".join(texts).encode()).hexdigest()  # noqa: E731
    named = sums_of(DataConfig(dataset="ml-100k", data_dir=str(tmp_path)))
    assert named == {"u.data": of("ml-100k/u.data"), "u.item": of("ml-100k/u.item")}
    folder = DataConfig(dataset=f"{tmp_path}/log", items_path=f"{tmp_path}/items.csv")
    assert sums_of(folder) == {"dataset": of("log/part-2.csv", "log/part-10.csv"), "items_path": of("items.csv")}
    assert sums_of(replace(folder, stream=True)) == sums_of(folder)
    assert sums_of(DataConfig(dataset="DataFrame")) == {} == sums_of(DataConfig(dataset=f"{tmp_path}/gone.csv"))
