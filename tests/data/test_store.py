"""A data set as one file: what is written is read, with what its values are."""

import json

import numpy as np
import pandas as pd
import pytest

from ancf_jax.data.dataset import from_source, in_log_units, load
from ancf_jax.data.features import encoded
from ancf_jax.data.read.sources import source_of
from ancf_jax.data.store import load_dataset, save_dataset
from ancf_jax.settings import IN_MEMORY, TARGETS, DataConfig
from ancf_jax.types import InputError


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    log = pd.DataFrame({"user": np.repeat(list("abcd"), 5), "item": np.tile(list("vwxyz"), 4)})
    log["value"] = rng.integers(1, 9, 20)

    def make(target):
        config = DataConfig(dataset=IN_MEMORY, value_column="value", target=target)
        return from_source(source_of(log, config), config), log

    return make


@pytest.mark.parametrize("target", TARGETS)
def test_values_are_those_of_the_log_after_a_round_trip(made, tmp_path, target):
    dataset, log = made(target)
    save_dataset(tmp_path / "data.npz", dataset)
    again = load_dataset(tmp_path / "data.npz")
    for name in ("train", "valid", "test"):
        part = getattr(again, name)
        np.testing.assert_array_equal(part.values, getattr(dataset, name).values)
        rows = in_log_units(again, part)
        expected = log.set_index(["user", "item"])["value"]
        found = [expected[again.user_ids[u], again.item_ids[i]] for u, i in zip(part.users, part.items, strict=True)]
        np.testing.assert_allclose(rows.values, found, rtol=1e-6)
    assert (again.target.low, again.target.high) == (dataset.target.low, dataset.target.high)


def test_words_and_categories_after_a_round_trip(tmp_path):
    (tmp_path / "items.csv").write_text("item,kind,text\na,mug|gift,red mug\nb,,blue\nc,mug,red\n")
    (tmp_path / "log.csv").write_text("user,item\n" + "".join(f"{n},{item}\n" for n in range(3) for item in "abc"))
    config = DataConfig(
        f"{tmp_path}/log.csv", items_path=f"{tmp_path}/items.csv", item_categories=("kind",), item_text=("text",)
    )
    dataset = load(config, features=True)
    save_dataset(tmp_path / "data.npz", dataset)
    again = load_dataset(tmp_path / "data.npz")
    assert again.categories.names == dataset.categories.names == ["gift", "mug"]
    np.testing.assert_array_equal(again.categories.of.toarray(), [[1, 1], [0, 0], [0, 1]])
    np.testing.assert_array_equal(encoded(again.features, "a red gift"), encoded(dataset.features, "a red gift"))
    for name in ("train", "valid", "test"):
        for column, expected in zip(getattr(again, name), getattr(dataset, name), strict=True):
            np.testing.assert_array_equal(column, expected)
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_file_of_another_version_is_refused(made, tmp_path):
    save_dataset(tmp_path / "data.npz", made("value")[0])
    with np.load(tmp_path / "data.npz") as stored:
        found = dict(stored)
    found["about"] = np.asarray(json.dumps(json.loads(found["about"].item()) | {"version": 1}))
    np.savez(tmp_path / "data.npz", **found)
    with pytest.raises(InputError, match="is of format 1, and this version reads 3 alone"):
        load_dataset(tmp_path / "data.npz")


@pytest.mark.parametrize("name", ["about", "item_ids", "train.items", "test.offsets"])
@pytest.mark.parametrize("content", [None, b"", b"\1\0\0"])
def test_arrays_that_are_no_data_set_are_named(made, tmp_path, name, content):
    """What fits its checksum and is no data set, as by another program."""
    path = tmp_path / "data.npz"
    save_dataset(path, made("value")[0])
    with np.load(path) as stored:
        arrays = {key: array for key, array in stored.items() if key != name or content is not None}
    if content is not None:
        arrays[name] = np.array(content.decode()) if name == "about" else np.frombuffer(content, np.uint8)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"data\.npz is damaged"):
        load_dataset(path)
