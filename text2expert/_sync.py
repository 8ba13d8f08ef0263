"""The only bridge from blocking code to the async core: one daemon thread with one event loop per process.

It serves scripts, pytest and a running event loop (Jupyter) alike, because the coroutine never runs on the caller's loop.
"""

import asyncio
import contextlib
import contextvars
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

_guard = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_thread: threading.Thread | None = None
_owner = 0


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of the background thread, which runs until the process ends: for work that outlives its caller's loop."""
    global _loop, _thread, _owner  # noqa: PLW0603 - one loop per process is the point of this module
    with _guard:
        # After a fork the thread is gone though the object is there.
        if _loop is None or _owner != os.getpid():
            _loop, _owner = asyncio.new_event_loop(), os.getpid()
            _thread = threading.Thread(target=_loop.run_forever, name="text2expert", daemon=True)
            _thread.start()
        return _loop


def run(coro: Coroutine[Any, Any, T]) -> T:
    """Run *coro* on the background loop, in a copy of the caller's context, and return its result.

    An interrupt (Ctrl-C) or SIGTERM cancels the coroutine and waits until its clean-up is done before it is raised again
    (SIGTERM as `SystemExit`, and only where the program has no handler of its own).
    """
    loop = background_loop()
    if threading.current_thread() is _thread:
        coro.close()
        msg = "a blocking method was called from inside an async step; call its async twin and await it"
        raise RuntimeError(msg)
    context = contextvars.copy_context()
    done = threading.Event()
    tasks: list[asyncio.Task[T]] = []

    def start() -> None:
        task = loop.create_task(coro, context=context)
        task.add_done_callback(lambda _: done.set())
        tasks.append(task)

    def cancel() -> None:  # `start` has run by then, and perhaps not before
        tasks[0].cancel()

    loop.call_soon_threadsafe(start)
    try:
        with _terminable():
            done.wait()
    except BaseException:
        loop.call_soon_threadsafe(cancel)
        done.wait()
        raise
    return tasks[0].result()


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the block like an interrupt: who stops a service must not leave a rented machine behind."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not ours:
        yield
        return

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
