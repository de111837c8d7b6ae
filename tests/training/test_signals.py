"""Ctrl-C and SIGTERM wait for what runs to be saved, and no longer than that."""

import signal

import pytest

from ancf_jax.training.signals import put_off


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def heard(request):
    """The signals that have arrived; beside them which one is tried."""
    arrived = []
    before = signal.signal(request.param, lambda number, frame: arrived.append(number))
    yield request.param, arrived
    signal.signal(request.param, before)


def test_a_signal_arrives_when_the_context_ends(heard):
    number, arrived = heard
    with put_off() as asked:
        assert not asked()
        signal.raise_signal(number)
        assert asked() and not arrived
    assert arrived == [number]


def test_a_second_one_arrives_at_once(heard):
    number, arrived = heard
    with put_off():
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert arrived == [number]


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with put_off() as asked:
            signal.raise_signal(signal.SIGTERM)
            assert not asked()
    finally:
        signal.signal(signal.SIGTERM, before)
