"""What a run leaves behind: where and with what it was measured."""

import json

import jax
import numpy as np

from ancf_jax.runs.results import provenance


def test_provenance_says_where_and_with_what():
    found = provenance()
    assert found["versions"]["jax"] == jax.__version__ and found["versions"]["numpy"] == np.__version__
    assert jax.devices()[0].device_kind in found["hardware"]
    json.dumps(found)
