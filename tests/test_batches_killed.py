"""kill -9 between any two steps of a batch: the next run finds it, and nothing is paid twice."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from batched import looked_at, settled_as_billed
from messages_server import KEY, MessagesServer

from text2expert.ledger import Ledger


@pytest.fixture
def server():
    with MessagesServer(lambda body: f"to {body['messages'][0]['content']}") as server:
        yield server


CHILD = """
import asyncio, functools, json, os, sys
sys.path.insert(0, {tests!r})
from text2expert import _sync
from text2expert.ledger import Ledger
from text2expert.llm import LLM
from text2expert.providers import batches, http
batches.Pace = functools.partial(batches.Pace, quiet_s=0.1, poll_s=0.05, find_s=2.0)

async def post(*args, _post=http.post, **kwargs):
    if {die!r} == "before":
        os.kill(os.getpid(), 9)
    reply = await _post(*args, **kwargs)
    if {die!r} == "sent":
        os.kill(os.getpid(), 9)
    return reply

http.post = post

def settle(self, *args, _settle=Ledger.settle, counter=[0]):
    if {die!r} == "booking" and counter[0] == 3:
        os.kill(os.getpid(), 9)
    counter[0] += 1
    _settle(self, *args)

Ledger.settle = settle

async def main():
    llm = LLM("anthropic/claude-sonnet-5-5", base_url={url!r}, api_key={key!r}, batch=True, thinking=False, max_tokens=100)
    answers = await asyncio.gather(*(llm.complete(f"question {{n}}") for n in range({count})))
    print(json.dumps([answer.text for answer in answers]))

with Ledger({folder!r}):
    _sync.run(main())
"""


class TestKills:
    """kill -9 of a real process, at each point where money is at stake."""

    def child(self, server, folder, die="", count=8):
        code = CHILD.format(
            tests=str(Path(__file__).parent), die=die, url=server.url, key=KEY, count=count, folder=str(folder)
        )
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finished(self, server, folder, count=8):
        """A run that goes to its end, and what it got and said."""
        with self.child(server, folder, count=count) as child:
            out, err = child.communicate(timeout=60)
        assert 0 == child.returncode, err
        assert [f"to question {n}" for n in range(count)] == json.loads(out)
        return err

    def killed(self, server, folder, die):
        with self.child(server, folder, die) as child:
            _, err = child.communicate(timeout=60)
        assert -signal.SIGKILL == child.returncode, err

    def paid_once(self, server, folder, count=8):
        assert [1] * count == list(Counter(entry["custom_id"] for entry in server.bill).values())
        with Ledger(folder) as ledger:
            settled_as_billed(ledger, server)
            assert (0, 0, count) == (ledger.spent().held, ledger.spent().lost, ledger.spent().replies)

    @pytest.mark.parametrize(
        ("die", "batches_in_all"),
        [
            ("before", 1),  # written down, not sent
            ("sent", 1),  # sent and taken; its id was not stored
            ("booking", 1),  # some of the results are booked
        ],
    )
    def test_the_next_run_finds_its_batch_and_pays_nothing_twice(self, server, tmp_path, die, batches_in_all):
        self.killed(server, tmp_path, die)
        self.finished(server, tmp_path)
        assert batches_in_all == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_killed_while_it_waits_for_a_batch_whose_id_is_stored(self, server, tmp_path):
        server.batch_s = None
        with self.child(server, tmp_path) as child:
            looked_at(server)
            child.kill()
            child.communicate()
        server.end()
        err = self.finished(server, tmp_path)
        assert "was sent already" in err
        assert 1 == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_an_unnamed_batch_that_is_still_at_work_is_waited_for(self, server, tmp_path):
        """What is in it can be seen only when it has ended: until then nothing is sent again."""
        server.batch_s = None
        self.killed(server, tmp_path, "sent")
        threading.Timer(3.0, server.end).start()
        self.finished(server, tmp_path)
        assert 1 == len(server.batches)
        self.paid_once(server, tmp_path)

    def test_killed_at_any_moment(self, server, tmp_path):
        """Again and again, wherever it happens to be, until it gets to its end."""
        server.batch_s = 0.3
        for delay in (0.2, 0.5, 0.65, 0.8, 1.0, 1.3):
            with self.child(server, tmp_path, count=40) as child:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(delay + 0.3)
                child.kill()
                child.communicate()
        self.finished(server, tmp_path, count=40)
        self.paid_once(server, tmp_path, count=40)
        assert 1 == len(server.batches)

    def test_an_interrupt_from_the_keyboard_ends_it_at_once_and_quietly(self, server, tmp_path):
        server.batch_s = None
        with self.child(server, tmp_path) as child:
            looked_at(server)
            started = time.monotonic()
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert "KeyboardInterrupt" in err.strip().splitlines()[-1]
        assert 1 == err.count("goes on at")
        assert "never retrieved" not in err
        assert "pending" not in err
        server.end()
        self.finished(server, tmp_path)
        self.paid_once(server, tmp_path)

    def test_the_key_is_nowhere(self, server, tmp_path):
        self.killed(server, tmp_path, "sent")
        err = self.finished(server, tmp_path)
        assert KEY not in err
        for root, _, names in os.walk(tmp_path):
            for name in names:
                assert KEY.encode() not in (Path(root) / name).read_bytes()
