"""kill -9 at any moment of a run that is paid for: what is stored is never sent again, what is not is asked for.

Three kills; ``KILLS=20`` for more (``make proof``).
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paid import servers, spent

from text2expert import Run
from text2expert.records import Chunk, read_jsonl

SAMPLES = sorted(Path("text2expert/samples").glob("*.txt"))
KILLS = int(os.environ.get("KILLS", "3"))
CONCURRENCY = 16
REQUESTS = 650
"""Of both steps in an undisturbed run, about: 400 passages taught, 40 once more beside others, and judged."""

CHILD = """
import sys
sys.path.insert(0, "tests")
from paid import pipeline
from text2expert import Chunker
class At:
    def __init__(self, url): self.url = url
chat, messages, out, concurrency, *sources = sys.argv[1:]
pipeline(
    At(chat), At(messages), teacher={"rewrites": 0}, verifier={"sample": 0.5},
    llm={"concurrency": int(concurrency)}, chunker=Chunker(size=380, overlap=40),
).run(sources, out=out, fine_tune=False)
"""


@pytest.fixture(scope="module")
def at_work():
    with servers(latency_s=0.02) as both:
        yield both


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_at_a_random_moment_only_what_has_no_stored_reply_is_sent_again(at_work, tmp_path, number):
    chat, messages = at_work
    chat.received.clear()
    messages.bodies.clear()
    moment = random.SystemRandom().uniform(0.02, 0.98)
    command = [sys.executable, "-c", CHILD, chat.url, messages.url, tmp_path / "run", str(CONCURRENCY), *SAMPLES]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(chat.received) + len(messages.bodies) < moment * REQUESTS:
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    sent = {"teacher": len(chat.received), "verifier": len(messages.bodies)}
    stored = spent(tmp_path / "run")
    for step, count in sent.items():
        # A hold of each request that was out is booked, whether or not the server answered it.
        assert stored[step].calls - stored[step].replies <= CONCURRENCY, (moment, step)
        assert stored[step].replies <= count, (moment, step)

    subprocess.run(command, check=True, capture_output=True, timeout=300)
    finished = spent(tmp_path / "run")
    bodies = {"teacher": [each.digest for each in chat.received], "verifier": [str(body) for body in messages.bodies]}
    for step, asked in bodies.items():
        again = len(asked) - len(set(asked))
        # Not counted by what the server has seen: it reads the last of it after the child is dead.
        assert again <= stored[step].calls - stored[step].replies, (moment, step)
        assert finished[step].replies == len(set(asked)), (moment, step)
        assert finished[step].lost == stored[step].lost, (moment, step)
    assert len(list(read_jsonl(tmp_path / "run" / "chunks.jsonl", Chunk))) >= 400
    assert Run.load(tmp_path / "run").receipt["counts"]["gold"] > 500
