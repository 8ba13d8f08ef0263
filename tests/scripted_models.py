"""Models for the tests' servers: a teacher that asks real questions about the passages it is shown, and a judge that
compares figures. Both read nothing but the request, as real models do.
"""

import functools
import json
import re
from typing import Any

from text2expert.chunker import Chunker
from text2expert.offline import RuleTeacher
from text2expert.records import Document

FENCED = re.compile(r"<(?P<label>\w+) (?P<code>[0-9a-f]{16})>\n(?P<text>.*?)\n</(?P=label) (?P=code)>", re.DOTALL)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def fences(prompt: str, label: str) -> list[str]:
    """What stands in the fences of that label, in their order."""
    return [found["text"] for found in FENCED.finditer(prompt) if found["label"] == label]


def prompt_of(body: dict[str, Any]) -> str:
    """What a request asks, of either protocol."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def teach(body: dict[str, Any], nth: int = 0) -> str:
    """The reply of a teacher: what the offline teacher finds to ask, in the form that was asked for."""
    prompt = prompt_of(body)
    passages = fences(prompt, "passage")
    if re.search(r"Write (one|\d+) restatements?", prompt):
        return json.dumps({"rewrites": [{"text": " ".join(reversed(re.split(r"(?<=\.)\s+", passages[0])))}]})
    items = _items(passages[0]) if len(passages) == 1 else ()
    asked = re.search(r"Write (\d+) question", prompt)
    return json.dumps({"items": items[: int(asked[1]) if asked else 5]})


@functools.lru_cache(maxsize=2000)
def _items(passage: str) -> tuple[dict[str, Any], ...]:
    items: dict[str, dict[str, Any]] = {}
    for pair in RuleTeacher().teach(Chunker(size=4000, overlap=0).split(Document.from_text(passage))):
        item = items.setdefault(
            pair.item,
            {
                "question": pair.question,
                "answer": pair.answer,
                "short_answer": pair.short_answer,
                "reasoning": pair.reasoning,
                "difficulty": pair.difficulty,
                "evidence": [span.text for span in pair.evidence],
                "wordings": [],
            },
        )
        if pair.question != item["question"]:
            item["wordings"].append(pair.question)
    return tuple(items.values())


def judge(body: dict[str, Any], nth: int = 0) -> str:
    """The reply of a judge that approves an item whose answer has no figure that the passages have not."""
    prompt = prompt_of(body)
    shown = {number for passage in fences(prompt, "passage") for number in _NUMBER.findall(passage)}
    verdicts = []
    for number, text in enumerate(fences(prompt, "item"), 1):
        good = set(_NUMBER.findall(json.loads(text)["answer"])) <= shown
        verdicts.append(
            {
                "item": number,
                "reason": "compared the figures",
                "grounded": good,
                "no_hallucination": good,
                "complete": True,
                "approved": good,
                "bad_wordings": [],
            }
        )
    return json.dumps({"verdicts": verdicts})
