"""What tests of the exam sit it with: questions, answers from a script, and a machine that only says that it answered."""

import asyncio
import json

from pumps import PUMPS

from text2expert.chunker import Chunker
from text2expert.examiner import (
    Examiner,
)
from text2expert.prices import Price
from text2expert.records import (
    Document,
    ExamQuestion,
    GoldRecord,
)
from text2expert.testing import ScriptedProvider

CHUNKS = Chunker(size=200, overlap=0).split(Document.from_text(PUMPS, id="pumps"))


PRICE = Price(input=1.0, output=2.0)


def asked(question, answer="80 °C", *, id="q", row="held_out", **fields):  # noqa: A002 - the record's own field name
    return ExamQuestion(id=id, row=row, question=question, answer=answer, **fields)


def trained(question, answer="80 °C"):
    return GoldRecord(instruction=question, output=answer, item=question, document="pumps")


def made(split=(), records=(), *, own=(), **given):
    return asyncio.run(Examiner(general=False).amake(split, records, own=own, **given))


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def scripted(answer="80 °C"):
    return ScriptedProvider(lambda request: answer)


class Elsewhere:
    """A machine that trains nothing: it answers and leaves what a training leaves."""

    async def run(self, job):
        from pathlib import Path

        folder = Path(job.folder)
        for stage in job.stages:
            if stage.argv[0] == "answer.py":
                answers = [
                    {"id": each["id"], "text": "80 °C", "confidence": 1.0, "tokens_in": 9, "tokens_out": 3}
                    for each in lines(folder / "stages" / stage.name / "prompts.jsonl")
                ]
                (folder / stage.outputs[0]).write_text("".join(json.dumps(each) + "\n" for each in answers))
            (folder / "stages" / stage.name / "done.json").write_text('{"device": "cuda"}')
