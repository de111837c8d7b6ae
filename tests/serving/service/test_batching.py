"""Jobs that wait are answered together, each as its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ancf_jax.serving.service.batching import BusyError, answer, ask


def run(asked, work, sizes=(1, 4), waiting=100):
    """What jobs come to that are asked at once."""

    async def main():
        queue = asyncio.Queue(waiting)
        with ThreadPoolExecutor(1) as thread:
            task = asyncio.create_task(answer(queue, work, sizes, thread))
            found = await asyncio.gather(*(ask(queue, job) for job in asked), return_exceptions=True)
            task.cancel()
        return found

    return asyncio.run(main())


def test_what_waits_is_answered_together_and_each_gets_its_own():
    batches = []

    def work(jobs):
        batches.append(list(jobs))
        return [ValueError(job) if job == 3 else -job for job in jobs]

    found = run(range(10), work)
    assert [len(batch) for batch in batches] == [4, 4, 1, 1] and [job for batch in batches for job in batch] == list(
        range(10)
    )
    assert [value for n, value in enumerate(found) if n != 3] == [-n for n in range(10) if n != 3]
    assert isinstance(found[3], ValueError)


def test_a_failure_is_told_to_all_that_it_was_of_and_the_next_are_answered():
    def work(jobs):
        if 0 in jobs:
            raise RuntimeError("broken")
        return jobs

    found = run(range(6), work)
    assert all(isinstance(value, RuntimeError) for value in found[:4]) and found[4:] == [4, 5]


def test_too_many_are_turned_away():
    assert [type(value) for value in run(range(3), lambda jobs: jobs, waiting=2)] == [int, int, BusyError]


def test_who_hangs_up_is_not_computed_for():
    gone, done = threading.Event(), []

    async def main():
        queue = asyncio.Queue()

        def work(jobs):
            gone.wait(5)
            done.extend(jobs)
            return jobs

        with ThreadPoolExecutor(1) as thread:
            task = asyncio.create_task(answer(queue, work, (1,), thread))
            first, second = (asyncio.create_task(ask(queue, job)) for job in "ab")
            await asyncio.sleep(0.01)
            second.cancel()
            gone.set()
            assert await first == "a"
            with pytest.raises(asyncio.CancelledError):
                await second
            assert await ask(queue, "c") == "c"
            task.cancel()

    asyncio.run(main())
    assert done == ["a", "c"]
