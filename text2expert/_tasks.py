"""Many coroutines at a time, few under way: the loops that steps and pipeline share."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def in_order(work: Iterable[Coroutine[Any, Any, T]], window: int) -> AsyncIterator[T]:
    """Results of *work* in its order, at most *window* under way; the rest is cancelled when one fails."""
    waiting: deque[asyncio.Task[T]] = deque()
    try:
        for coroutine in work:
            waiting.append(asyncio.create_task(coroutine))
            if len(waiting) == window:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    finally:
        await _cancel(waiting)


async def as_done(work: Iterable[Coroutine[Any, Any, T]], window: int) -> AsyncIterator[T]:
    """Results of *work* as they come, at most *window* under way: a slow one keeps nothing else from starting.

    The rest is cancelled when one fails.
    """
    running: set[asyncio.Task[T]] = set()
    try:
        for coroutine in work:
            running.add(asyncio.create_task(coroutine))
            if len(running) == window:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        await _cancel(running)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
