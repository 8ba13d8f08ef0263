"""Steps in the places of ours, and ours alone."""

import asyncio
import json

import attrs
import pytest
from pumps import PUMPS, gold_only

from text2expert import Document, EvidenceVerifier, NothingTaughtError, Pipeline, RuleTeacher
from text2expert.receipt import settings
from text2expert.records import Chunk, GoldRecord, QAPair, Span, Verdict, read_jsonl


def test_own_steps_take_the_places_of_ours(pumps, tmp_path):
    @attrs.frozen
    class Shy:
        """Teaches one thing, and judges it too."""

        async def ateach(self, passages, n):
            await asyncio.sleep(0)
            chunk = passages[0]
            return [
                QAPair(
                    qa_id="", question=f"What does {chunk.key[:6]} say?", answer=chunk.text[:20], sources=(chunk.id,)
                )
            ]

        async def averify(self, pairs, passages):
            return [
                Verdict(qa_id=pair.qa_id, grounded=True, no_hallucination=True, complete=True, by="me")
                for pair in pairs
            ]

    run = Pipeline(teacher=Shy(), verifier=Shy()).run(pumps, out=tmp_path / "run", fine_tune=False)
    assert set(run.gold["status"]) == {"model"}
    assert run.receipt["counts"]["parsed"] == len(list(read_jsonl(run.folder / "chunks.jsonl", Chunk)))


@attrs.frozen
class Quoting:
    """A teacher whose quotes have the places, and the wording, that the test says."""

    quote: str
    start: int

    async def ateach(self, passages, n):
        (chunk,) = passages
        if "greased" not in chunk.text:
            return []
        span = Span(document=chunk.document, start=self.start, end=self.start + 3, text=self.quote)
        return [
            QAPair(
                qa_id="x", question="How often are the bearings greased?", answer="Every 6 weeks.",
                sources=("chunk_of_another_run",), evidence=(span,),
            )
        ]  # fmt: skip


@pytest.mark.parametrize(
    "quote", ["The bearings are greased every 6 weeks.", "The  bearings are\ngreased every 6 weeks."]
)
def test_a_quote_is_looked_up_whatever_place_the_teacher_gives(pumps, tmp_path, quote):
    """Promise 4 holds for teachers of other people's too."""
    run = gold_only(pumps, tmp_path / "run", teacher=Quoting(quote, 7))
    (record,) = read_jsonl(run.folder / "golden_dataset.jsonl", GoldRecord)
    (span,) = record.evidence
    assert PUMPS[span.start : span.end] == span.text == "The bearings are greased every 6 weeks."


def test_a_quote_that_is_nowhere_is_rejected_before_a_verifier_sees_it(pumps, tmp_path):
    class Unasked:
        async def averify(self, pairs, passages):
            raise AssertionError("it was asked")

    with pytest.raises(NothingTaughtError, match="nowhere in the passage"):
        gold_only(pumps, tmp_path / "run", teacher=Quoting("Bearings last for ever.", 7), verifier=Unasked())


def test_without_a_quote_the_passage_is_the_evidence(pumps, tmp_path):
    class Quoteless(Quoting):
        async def ateach(self, passages, n):
            return [attrs.evolve(pair, evidence=()) for pair in await Quoting.ateach(self, passages, n)]

    run = gold_only(pumps, tmp_path / "run", teacher=Quoteless("", 0))
    (record,) = read_jsonl(run.folder / "golden_dataset.jsonl", GoldRecord)
    (chunk,) = [chunk for chunk in read_jsonl(run.folder / "chunks.jsonl", Chunk) if "greased" in chunk.text]
    assert [span.text for span in record.evidence] == [chunk.text]


def test_a_failing_step_fails_the_run_with_its_own_error(pumps, tmp_path):
    class Broken:
        async def ateach(self, passages, n):
            raise ConnectionError("the teacher is out")

    with pytest.raises(ConnectionError, match="the teacher is out"):
        gold_only(pumps, tmp_path / "run", teacher=Broken())
    assert not (tmp_path / "run" / "run.json").exists()
    assert gold_only(pumps, tmp_path / "run").receipt["counts"]["gold"] > 0


def test_the_default_trainer_has_the_pipelines_seed():
    assert Pipeline(seed=7).trainer.seed == 7


def test_whatever_configures_a_step_is_a_setting_of_it():
    """Else a changed prompt would bring back old answers."""

    class Prompted:
        prompt = "Ask about {passage}"

        def __init__(self, examples):
            self.examples = examples
            self.client = object()

    class Changed(Prompted):
        prompt = "Ask well about {passage}"

    one = settings(Prompted([{"q": 1}]))
    assert one == settings(Prompted([{"q": 1}]))
    assert one != settings(Prompted([{"q": 2}]))
    assert one["prompt"] != settings(Changed([{"q": 1}]))["prompt"]
    json.dumps(one)


def test_keys_that_a_step_or_a_provider_keeps_in_public_are_not_written():
    """Receipts hold what distinguishes settings, and no run folder holds a key."""

    @attrs.frozen
    class Provider:
        api_key: str = "sk-mine"
        endpoint: str = "http://localhost/mine"

    class Mine:
        max_tokens = 5

        def __init__(self):
            self.provider, self.client_secret, self.headers = Provider(), "sk-mine", {"X-Api-Key": "sk-mine"}

    shown = settings(Mine())
    assert "sk-mine" not in json.dumps(shown)
    assert (5, "http://localhost/mine") == (shown["max_tokens"], shown["provider"]["endpoint"])


def test_steps_serve_alone_and_give_what_the_pipeline_gives(pumps, tmp_path):
    from text2expert import Chunker

    run = gold_only(pumps, tmp_path / "run")
    chunks = Chunker().split(Document.from_text(PUMPS, id="pumps"))
    assert chunks == list(read_jsonl(run.folder / "chunks.jsonl", Chunk))
    pairs = RuleTeacher().teach(chunks)
    assert pairs
    verdicts = EvidenceVerifier().verify(pairs, chunks)
    assert len(verdicts) == len(pairs)
