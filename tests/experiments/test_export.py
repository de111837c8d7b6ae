"""Exported models, read by processes that have jax, or NumPy alone, but not this package."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ancf_jax import open_run
from experiments import export

pytestmark = pytest.mark.xdist_group("shop")  # whose runs one worker trains, once

BY_JAX = """
import json, sys
sys.modules["ancf_jax"] = None  # so that importing it fails
import jax, numpy as np
from safetensors.numpy import load_file
folder, (users, history) = sys.argv[1], json.loads(sys.argv[2])
score = jax.export.deserialize(bytearray(open(f"{folder}/score.stablehlo", "rb").read())).call
weights, history = load_file(f"{folder}/weights.safetensors"), np.array(history, np.int32)
items = json.load(open(f"{folder}/model.json"))["items"]
scores = score(weights, np.array(users, np.int32), history, (history < items).astype(np.float32))
print(json.dumps(np.asarray(scores).tolist()))
"""


def test_a_process_without_the_package_scores_any_number_of_users(script, trained, tmp_path):
    status, out, err = script(export, "--workdir", trained("ancf"), "--output", tmp_path / "new")
    result = json.loads(out.splitlines()[-1])
    assert status == 0, err
    assert result["model"] == "ancf" and set(result["files"]) == {path.name for path in (tmp_path / "new").iterdir()}
    users, items = (pd.read_parquet(tmp_path / f"new/{side}.parquet") for side in ("users", "items"))
    assert users.row.tolist() == list(range(12)) and items.title[0] == "Product 0"
    fitted = open_run(trained("ancf"))
    expected = fitted.score([(user, item) for user in ("c03", "c11", "c00") for item in items.id]).reshape(3, -1)
    log = fitted.dataset
    history = np.full((3, result["history"]), len(items))
    for row, user in zip(history, (3, 11, 0), strict=True):
        own = [part.items[part.offsets[user] : part.offsets[user + 1]] for part in (log.train, log.valid, log.test)]
        past = np.concatenate(own)[-len(row) :]
        row[len(row) - len(past) :] = past
    asked = json.dumps([[3, 11, 0], history.tolist()])
    done = subprocess.run([sys.executable, "-c", BY_JAX, tmp_path / "new", asked], capture_output=True, check=True)
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-4, atol=1e-5)


def test_a_model_of_sparse_products_is_refused(script, trained, tmp_path):
    status, out, err = script(export, "--workdir", trained("chebycf"), "--output", tmp_path / "new")
    assert status == 2 and "error: --workdir: this model cannot be exported: its scores are products of sparse" in err
    assert "Traceback" not in out + err and not list(tmp_path.iterdir())


def test_an_inner_product_takes_numpy_alone(script, trained, tmp_path):
    from safetensors.numpy import load_file

    status, _, err = script(export, "--workdir", trained("mf"), "--output", tmp_path / "new")
    assert status == 0, err
    vectors = load_file(tmp_path / "new" / "vectors.safetensors")
    items = pd.read_parquet(tmp_path / "new/items.parquet").id
    expected = open_run(trained("mf")).score([("c03", item) for item in items])
    np.testing.assert_allclose(vectors["items"] @ vectors["users"][3], expected, rtol=1e-4, atol=1e-5)
    status, _, err = script(export, "--workdir", trained("mf"), "--output", tmp_path / "new")
    assert status == 2 and "--output" in err and "already" in err
    assert not list(tmp_path.glob(".new*"))
