"""What is trained of a golden record: its answer, with the reasoning and the short answer where they are wanted.

The one place for these words. Training writes them, answering takes them apart again, and `text2expert.exports` writes
the same for training elsewhere; so this file knows nothing but the standard library.
"""

import re
from collections.abc import Mapping
from typing import Any

_ANSWER = "\n\nAnswer: "
_REASONING = "\n\nReasoning: "
_SHORT = " In short: "


def target_of(record: Mapping[str, Any], reasoning: str = "none", short_answer: str = "none") -> str:
    """The text to train for *record*, a line of a golden dataset.

    Args:
        record: With ``output``, and perhaps ``short_answer`` and ``reasoning``; an empty one is left out.
        reasoning: "none", "before" or "after" the answer.
        short_answer: "none", "first" or "last": the canonical answer before or after the sentence that gives it. It is
            not said twice where the sentence begins (ends) with it.
    """
    answer = _with_short(record["output"].strip(), (record.get("short_answer") or "").strip(), short_answer)
    # Without blank lines in it, a trace cannot hold the words that part it from the answer.
    trace = re.sub(r"\n{2,}", "\n", (record.get("reasoning") or "").strip())
    if trace and answer and reasoning == "before":
        return f"{trace}{_ANSWER}{answer}"
    if trace and answer and reasoning == "after":
        return f"{answer}{_REASONING}{trace}"
    return answer


def split_answer(text: str, reasoning: str = "none") -> tuple[str, str]:
    """What a model that was trained so has written, taken apart: the answer and its reasoning, which may be empty."""
    if reasoning == "before" and _ANSWER in text:
        trace, _, answer = text.partition(_ANSWER)
        return answer.strip(), trace.strip()
    if reasoning == "after" and _REASONING in text:
        answer, _, trace = text.rpartition(_REASONING)
        return answer.strip(), trace.strip()
    return text.strip(), ""


def _with_short(answer: str, short: str, place: str) -> str:
    if not short or not answer or place == "none":
        return answer
    said, bare = _plain(answer), _plain(short)
    before, after = said[: -len(bare)], said[len(bare) :]
    if place == "first":
        repeats = said.startswith(bare) and not after[:1].isalnum()  # "no" does not begin "nobody"
        return answer if repeats else f"{_sentence(short)} {answer}"
    repeats = said.endswith(bare) and not before[-1:].isalnum()
    return answer if repeats else f"{_sentence(answer)}{_SHORT}{_sentence(short)}"


def _plain(text: str) -> str:
    return text.casefold().rstrip(" .!?;:,") or text


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "。", "！", "？", "।", "؟")) else f"{text}."
