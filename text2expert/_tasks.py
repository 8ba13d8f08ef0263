"""Many coroutines at a time, few under way: the loops that steps and pipeline share.

Both are generators. A loop over one that may be left early, by a ``break`` or an error in its body, stands in
``contextlib.aclosing``, so that nothing goes on after it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_S = 5.0
"""For what is under way when something else fails, before it is cancelled: a request that is cancelled was perhaps billed,
and where one is refused the others are answered alike within moments."""


async def in_order(work: Iterable[Coroutine[Any, Any, T]], window: int) -> AsyncGenerator[T, None]:
    """Results of *work* in its order, at most *window* under way.

    When one fails, or the generator is closed, the rest has `GRACE_S` to end and is cancelled; at once on an interrupt.
    """
    waiting: deque[asyncio.Task[T]] = deque()
    try:
        for coroutine in work:
            waiting.append(asyncio.create_task(coroutine))
            if len(waiting) == window:
                yield await waiting.popleft()
        while waiting:
            yield await waiting.popleft()
    except (Exception, GeneratorExit):
        await _let_end(waiting)
        raise
    finally:
        await _cancel(waiting)


async def as_done(work: Iterable[Coroutine[Any, Any, T]], window: int) -> AsyncGenerator[T, None]:
    """Results of *work* as they come, at most *window* under way: a slow one keeps nothing else from starting.

    The rest ends as that of `in_order` does.
    """
    running: set[asyncio.Task[T]] = set()
    done: set[asyncio.Task[T]] = set()
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
    except (Exception, GeneratorExit):
        await _let_end(running)
        raise
    finally:
        # Those that are done may have failed too, and then somebody must have heard of it.
        await _cancel((*running, *done))


async def _let_end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    if tasks := list(tasks):
        await asyncio.wait(tasks, timeout=GRACE_S)


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
