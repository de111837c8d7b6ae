"""Work in a thread goes on beside its caller, and comes to what it would have come to."""

import threading

import pytest

from ancf_jax.training.meanwhile import meanwhile


def test_it_runs_beside_the_caller():
    go_on = threading.Event()
    result = meanwhile(lambda: go_on.wait(10))
    go_on.set()  # never, if the caller had to wait
    assert result() is True and result() is True  # may be asked again


def test_what_it_raises_is_raised_where_it_is_waited_for():
    def fail():
        raise ValueError("no")

    result = meanwhile(fail)
    with pytest.raises(ValueError, match="no"):
        result()
