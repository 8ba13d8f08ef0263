"""The only bridge from blocking code to the async core: one daemon thread with one event loop per process.

It serves scripts, pytest and a running event loop (Jupyter) alike, because the coroutine never runs on the caller's loop.
"""

import asyncio
import contextlib
import contextvars
import os
import signal
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

_QUICK = 1.0
"""Seconds of clean-up after an interrupt over which nothing is said."""

_GIVES_UP = 4
"""The interrupt, the first one counted, that ends the clean-up of another one: nobody presses so often by mistake."""

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

    An interrupt (Ctrl-C), SIGTERM or SIGHUP cancels the coroutine and waits until its clean-up is done before it is raised
    again (the latter two as `SystemExit`, and only where the program has no handler of its own). More of them do not cut
    the clean-up short, which may be giving back a rented machine, until the `_GIVES_UP`th does.
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
    with _Interrupts() as interrupts:
        try:
            done.wait()
        except BaseException:
            loop.call_soon_threadsafe(cancel)
            if not done.wait(_QUICK):
                interrupts.tell()
                done.wait()
            raise
    return tasks[0].result()


class _Interrupts:
    """What would end the program ends the block instead, once: who stops a service must not leave a rented machine behind."""

    def __init__(self) -> None:
        self._came = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            defaults = {
                signal.SIGINT: signal.default_int_handler,
                signal.SIGTERM: signal.SIG_DFL,
                signal.SIGHUP: signal.SIG_DFL,
            }
            for number, default in defaults.items():
                if signal.getsignal(number) is default:
                    self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: FrameType | None) -> None:
        self._came += 1
        if 1 < self._came < _GIVES_UP:
            self.tell()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(128 + number)

    def tell(self) -> None:
        """Say why it does not end at once. In a signal handler, so without a lock that the main thread may hold."""
        left = _GIVES_UP - max(1, self._came)
        words = (
            "\nstopping: what is under way is ended in order (a rented machine is given back); "
            f"to give up on that, interrupt {left} more {'time' if left == 1 else 'times'}\n"
        )
        with contextlib.suppress(OSError):
            os.write(2, words.encode())
