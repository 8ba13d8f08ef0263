"""The door: quote located, faults looked for, one judgement."""

import re
from collections.abc import Sequence
from itertools import chain

import attrs

from text2expert.evidence import amounts, polarity, relevance
from text2expert.evidence.pair import Fault, Pair, source
from text2expert.evidence.quotes import locate
from text2expert.records import UNSPACED

_UNSPACED = re.compile(f"([{UNSPACED}])")
_POINTS = str.maketrans(
    {"\u3002": ". ", "\uff0e": ". ", "\uff0c": ", ", "\u3001": ", ", "\uff1b": "; ", "\uff1a": ": ", "\uff01": "! "}
    | {"\uff1f": "? ", "\uff08": " (", "\uff09": ") "}
)
"""Full-width punctuation ends and parts what others do."""


@attrs.frozen(kw_only=True)
class Grounding:
    """What the check found. ``start`` and ``end`` are offsets of the (first) quote in the passage, None without a quote."""

    grounded: bool
    no_hallucination: bool
    complete: bool
    reason: str = ""
    start: int | None = None
    end: int | None = None

    @property
    def supported(self) -> bool:
        """Whether nothing was found against the pair."""
        return self.grounded and self.no_hallucination and self.complete


def check(
    question: str, answer: str, passage: str, *, quote: str | Sequence[str] | None = None, context: str = ""
) -> Grounding:
    """Whether *passage* supports *answer* as the answer to *question*.

    Args:
        question: The question as asked.
        answer: The answer to judge.
        passage: The text that the answer must come from.
        quote: What the answer rests on, word for word from *passage*, or several such; None: the whole passage.
        context: What is read along with the passage and not quoted: heading path, a list's lead-in, a table's header.

    Returns:
        The judgement, with one sentence that says what did not fit. Equal inputs give equal judgements.
    """
    quotes = (quote,) if isinstance(quote, str) else quote or ()
    places: list[tuple[int, int]] = []
    for one in quotes:
        place = locate(one, passage)
        if place is None:
            short = " ".join(one.split())
            short = short if len(short) <= 60 else short[:57] + "..."
            return Grounding(
                grounded=False,
                no_hallucination=True,
                complete=True,
                reason=f"the quote is not in the passage: {short!r}",
            )
        places.append(place)
    held = source(_apart(context), _apart(passage))
    found = {i for place in places for i in held.overlapping(*(len(_apart(passage[:end])) for end in place))}
    fault = _first_fault(Pair(_apart(question), _apart(answer), held, sorted(found) if places else None))
    start, end = places[0] if places else (None, None)
    if fault is None:
        return Grounding(grounded=True, no_hallucination=True, complete=True, start=start, end=end)
    misplaced = fault.kind == "misplaced"
    return Grounding(
        grounded=misplaced,
        no_hallucination=misplaced,
        complete=not misplaced,
        reason=fault.reason,
        start=start,
        end=end,
    )


def _first_fault(pair: Pair) -> Fault | None:
    if not pair.clauses:
        return Fault("unfounded", "the answer has no word or number that can be compared")
    tests = (amounts.faults, polarity.faults, relevance.of_another_kind, relevance.faults)
    return next(chain.from_iterable(test(pair) for test in tests), None)


def _apart(text: str) -> str:
    """*text* with each character by itself where a script has no spaces between words.

    It goes by single characters: a part of a text becomes that part of what the text becomes.
    """
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", text).translate(_POINTS)
