"""Figures on real data, to 4 digits: the published NCF files, where they are at hand.

Popularity is published for them as .4531 and .2542 (Dacrema, Cremonesi & Jannach, Are We Really Making Much Progress?,
2019), with other rules for ties; the others are the figures of experiments/results, by the settings of their recipes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ancf_jax.data.named.downloads import FILES

NAME = "ncf-ml-1m"
GIVEN = os.environ.get("ANCF_DATA_DIR")
ROOTS = [*([Path(GIVEN)] if GIVEN else []), Path.home() / ".cache" / "ancf_jax"]
FOUND = [root for root in ROOTS for name in (NAME, "ncf") if all((root / name / file).exists() for file in FILES[NAME])]

FIT = """
import json, sys, ancf_jax
name, folder, models = json.loads(sys.argv[1])
dataset = ancf_jax.load(name, data_dir=folder)
found = {model: ancf_jax.fit(model, dataset, validation=False, **own).result for model, own in models.items()}
print(json.dumps({model: [round(result[name], 4) for name in ("hr@10", "ndcg@10")] for model, result in found.items()}))
"""
MODELS = {
    "popularity": {},
    "itemknn": {"neighbours": 70, "shrinkage": 0.3, "activity": 0.8},
    "ease": {"l2": 1000.0},
}


@pytest.mark.skipif(not FOUND, reason=f"{NAME} is neither in $ANCF_DATA_DIR nor in ~/.cache/ancf_jax")
def test_figures_on_the_published_files():
    """In a process of its own: the programs that tests compile are quick to compile, but slow."""
    optimised = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    arguments = json.dumps([NAME, str(FOUND[0]), MODELS])
    done = subprocess.run([sys.executable, "-c", FIT, arguments], env=optimised, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "popularity": [0.4531, 0.2541],
        "itemknn": [0.6725, 0.3989],
        "ease": [0.7182, 0.4511],
    }
