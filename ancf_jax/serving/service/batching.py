"""Requests that wait at once are answered together: none waits for others to come.

So many are taken as fill a program whole: padding costs what a request does.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

WAITING = 1024  # requests that may wait; more are turned away

Work = Callable[[Sequence[Any]], Sequence[Any]]  # jobs -> what each comes to, or the error that it ends in


class BusyError(RuntimeError):
    """Too many requests wait already."""


async def ask(queue: asyncio.Queue[Any], job: Any) -> Any:
    """What a job comes to. Raises BusyError if too many wait, or the error that the job ends in."""
    done = asyncio.get_running_loop().create_future()
    try:
        queue.put_nowait((job, done))
    except asyncio.QueueFull:
        raise BusyError("too many requests wait; try again in a second") from None
    return await done


async def answer(queue: asyncio.Queue[Any], work: Work, sizes: Sequence[int], thread: Executor) -> None:
    """Answer the jobs in a queue until it is cancelled, so many together as the greatest of `sizes`, from 1 on, that is
    there. One thread works at a time.
    """
    loop = asyncio.get_running_loop()
    while True:
        batch = [await queue.get()]
        size = max(size for size in sizes if size <= 1 + queue.qsize())
        while len(batch) < size:
            batch.append(queue.get_nowait())
        batch = [(job, done) for job, done in batch if not done.done()]  # who hung up needs no answer
        if not batch:
            continue
        try:
            found = await loop.run_in_executor(thread, work, [job for job, _ in batch])
        except Exception as error:
            found = [error] * len(batch)
        for (_, done), result in zip(batch, found, strict=True):
            if done.done():
                continue
            if isinstance(result, Exception):
                done.set_exception(result)
            else:
                done.set_result(result)
