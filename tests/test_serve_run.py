"""A whole run whose teacher is a real `transformers serve` on this machine, with a model that answers noise."""

import pytest

from text2expert import LLM, Ledger, Pipeline, Teacher, Verifier
from text2expert.errors import NothingTaughtError
from text2expert.records import Chunk, read_jsonl

TOKENS = 16
"""Of a reply at most. The tokens of the noise are bytes, and it does not end by itself."""


def asked(served):
    """How often the server was asked for a completion, by its own log."""
    return served.log.read_text("utf-8", "replace").count('"POST /v1/chat/completions HTTP/1.1" 200')


def test_a_teacher_of_noise_ends_the_run_loudly_and_every_request_is_in_the_ledger(served, pumps, tmp_path):
    """Nothing is taught, nothing is judged, nothing looks finished; and the same again asks the server nothing."""
    model = LLM(served.name, max_tokens=TOKENS, concurrency=2)
    steps = Pipeline(teacher=Teacher(model, budget=1.0), verifier=Verifier(model), budget=1.0)
    folder = tmp_path / "run"
    before = asked(served)
    with pytest.raises(NothingTaughtError, match=r"pumps\.txt: nothing was"):
        steps.run(pumps, out=folder, fine_tune=False)

    chunks = len(list(read_jsonl(folder / "chunks.jsonl", Chunk)))
    sent = asked(served) - before
    with Ledger(folder) as ledger:
        teacher, everything, usage = ledger.spent("teacher"), ledger.spent(), ledger.usage("teacher")
    assert teacher == everything
    assert (sent, sent) == (everything.calls, everything.replies)
    # Each passage is asked about and restated, and each of that is tried twice, since noise cannot be used.
    assert sent >= 2 * 2 * chunks > 0
    assert (0, 0, 0) == (everything.settled, everything.lost, everything.held)
    assert sent == usage.calls
    assert usage.output_tokens == TOKENS
    assert usage.input_tokens > 1000
    for name in ("golden_dataset.jsonl", "exam.jsonl", "run.json", "expert"):
        assert not (folder / name).exists(), name

    with pytest.raises(NothingTaughtError):
        steps.run(pumps, out=folder, fine_tune=False)
    assert sent == asked(served) - before
