"""The bridge from blocking code to the async core."""

import asyncio
import contextvars
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from text2expert import _sync


async def _double(number):
    await asyncio.sleep(0)
    return 2 * number


def test_a_coroutine_runs_and_its_result_comes_back():
    assert _sync.run(_double(21)) == 42


def test_an_exception_comes_back_as_it_was_raised():
    async def fail():
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        _sync.run(fail())


def test_it_works_inside_a_running_event_loop():
    """As in Jupyter, where the caller's own loop runs already."""

    async def caller():
        return _sync.run(_double(4))

    assert asyncio.run(caller()) == 8


def test_the_callers_context_is_seen_and_not_changed():
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("outer")

    async def look_and_set():
        seen = variable.get()
        variable.set("inner")
        return seen

    assert _sync.run(look_and_set()) == "outer"
    assert variable.get() == "outer"


def test_many_threads_share_one_loop():
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(_sync.run(_double(n)))) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [2 * n for n in range(20)]


def test_a_blocking_call_inside_an_async_step_is_refused_instead_of_hanging():
    async def step():
        return _sync.run(_double(1))

    with pytest.raises(RuntimeError, match="await"):
        _sync.run(step())


def test_a_forked_child_gets_a_loop_of_its_own():
    assert _sync.run(_double(1)) == 2
    code = textwrap.dedent(
        """
        import asyncio, os, sys
        from text2expert import _sync
        async def one(): return 1
        assert _sync.run(one()) == 1
        child = os.fork()
        if child == 0:
            os._exit(_sync.run(one()) + 6)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) - 7)
        """
    )
    finished = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=30, check=False)
    assert finished.returncode == 0


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_cancels_the_coroutine_and_waits_for_its_clean_up(tmp_path, sent, code):
    process, mark = _cleaning(tmp_path, seconds=0.05)
    process.send_signal(sent)
    process.communicate(timeout=20)
    assert process.returncode == code
    assert mark.exists()


@pytest.mark.parametrize("signals", ["INT INT", "INT TERM", "TERM TERM", "TERM HUP INT", "HUP INT"])
def test_another_interrupt_does_not_cut_the_clean_up_short(tmp_path, signals):
    """It may be giving back a rented machine, which costs by the hour."""
    process, mark = _cleaning(tmp_path, seconds=1.5)
    first, *others = (getattr(signal, f"SIG{name}") for name in signals.split())
    process.send_signal(first)
    for number in others:
        time.sleep(0.1)
        process.send_signal(number)
    _, words = process.communicate(timeout=20)
    assert process.returncode == (130 if first == signal.SIGINT else 128 + first)
    assert mark.exists()
    assert "a rented machine is given back" in words


def test_nobody_who_insists_is_kept_waiting(tmp_path):
    process, mark = _cleaning(tmp_path, seconds=60)
    for _ in range(4):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    _, words = process.communicate(timeout=20)
    assert process.returncode == 130
    assert not mark.exists()
    assert words.count("interrupt 1 more time\n") == 1


def _cleaning(tmp_path, seconds):
    """A process whose clean-up takes that long, and what is there when it is done."""
    mark = tmp_path / "cleaned"
    code = textwrap.dedent(
        f"""
        import asyncio, pathlib
        from text2expert import _sync
        async def work():
            print("started", flush=True)
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep({seconds})
                pathlib.Path({str(mark)!r}).touch()
        try:
            _sync.run(work())
        except KeyboardInterrupt:
            raise SystemExit(130)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "started\n"
    time.sleep(0.1)
    return process, mark


def test_ctrl_c_before_the_coroutine_has_begun_cancels_it_too(monkeypatch):
    """The background thread may be busy when the interrupt comes."""
    begun = []

    class Interrupted(threading.Event):
        def wait(self, timeout=None):
            if not begun:
                begun.append(True)
                raise KeyboardInterrupt
            return super().wait(timeout)

    async def long():
        await asyncio.sleep(60)

    loop = _sync.background_loop()
    loop.call_soon_threadsafe(time.sleep, 0.1)
    monkeypatch.setattr(_sync.threading, "Event", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        _sync.run(long())
