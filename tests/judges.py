"""Judges for the verifier's tests: what a request shows them, and how they answer."""

import json
import re

from text2expert.llm import LLM
from text2expert.records import Chunk, QAPair, Span, digest
from text2expert.testing import ScriptedProvider

_ITEM = re.compile(r"^Item (\d+):\n<item (\w+)>\n(.*?)\n</item \2>$", re.MULTILINE | re.DOTALL)

GOOD = {"grounded": True, "no_hallucination": True, "complete": True, "approved": True}
BAD = {"grounded": False, "no_hallucination": True, "complete": True, "approved": False}


def shown(request):
    """The items that *request* asks to judge, in the order of their numbers."""
    found = [(int(number), json.loads(text)) for number, _, text in _ITEM.findall(request.prompt)]
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return [item for _, item in found]


def verdict(number, approved=True, **fields):
    return {"item": number, "reason": "as read", **(GOOD if approved else BAD), "bad_wordings": [], **fields}


def reply(*verdicts):
    return json.dumps({"verdicts": list(verdicts)})


def judging(approve):
    """A provider that judges each item by ``approve(item)``."""

    def answer(request):
        return reply(*(verdict(number, approve(item)) for number, item in enumerate(shown(request), 1)))

    return ScriptedProvider(answer)


def llm(provider, **settings):
    return LLM("judge", provider=provider, **settings)


def chunk(text, number=1, document="manual", start=0):
    return Chunk(
        id=f"chunk_{number:06d}", key=digest(text), document=document, text=text, start=start, end=start + len(text),
        char_count=len(text),
    )  # fmt: skip


def pair(passage, qa_id, question, answer, *, quote="", item="", short_answer=""):
    quote = quote or passage.text
    start = passage.start + passage.text.index(quote)
    evidence = Span(document=passage.document, start=start, end=start + len(quote), text=quote)
    return QAPair(
        qa_id=qa_id, question=question, answer=answer, short_answer=short_answer, item=item, sources=(passage.id,),
        evidence=(evidence,),
    )  # fmt: skip


PUMP = (
    "The feed pump runs for 20 minutes unless the tank is empty. "
    "The shift leader greases the bearings every 6 weeks. "
    "The relief valve opens at 8 bar. "
    "Filters are washed with warm water, dried in air and weighed. "
    "The alarm sounds when the level falls below 15 cm."
)


def pump_lesson():
    """A passage and five items about it, the first in three wordings."""
    passage = chunk(PUMP)
    long = ("The feed pump runs for 20 minutes unless the tank is empty.", "20 minutes", "run")
    return passage, [
        pair(passage, qa_id, question, answer, short_answer=short, item=digest(item))
        for qa_id, question, (answer, short, item) in [
            ("q0", "For how long does the feed pump run?", long),
            ("q1", "How long does the feed pump run?", long),
            ("q2", "What is the running time of the feed pump?", long),
            ("q3", "How often are the bearings greased?", ("Every 6 weeks, by the shift leader.", "every 6 weeks", "grease")),
            ("q4", "At what pressure does the relief valve open?", ("At 8 bar.", "8 bar", "valve")),
            ("q5", "How are filters cleaned?", ("They are washed with warm water, dried in air and weighed.", "", "wash")),
            ("q6", "When does the alarm sound?", ("When the level falls below 15 cm.", "below 15 cm", "alarm")),
        ]
    ]  # fmt: skip
