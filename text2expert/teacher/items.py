"""Items out of a reply: what can be used of each, and which cannot be used at all."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

import attrs

from text2expert import evidence, replies
from text2expert.records import Chunk, Difficulty, wording

_PARTS = (
    r"(?:sections?|sub-?sections?|passages?|texts?|excerpts?|extracts?|snippets?|paragraphs?|chapters?|chunks?|documents?"
    r"|clauses?|articles?|append(?:ix|ices)|annex(?:es)?|schedules?|tables?|figures?|lists?)"
)
_TEXTS = r"(?:sections?|sub-?sections?|passages?|texts?|excerpts?|extracts?|snippets?|paragraphs?|chapters?|chunks?|documents?)"
_SHOWN = r"(?:above|following|preceding|previous|given|provided|quoted|present|supplied)"
_POINTING = re.compile(
    rf"\b(?:this|these)\s+(?:\w+\s+)?(?P<noun>{_PARTS})\b"
    rf"|\b(?:the|this|these)\s+(?P<shown>{_SHOWN}\s+{_TEXTS})\b"
    rf"|\b(?P<nowhere>which\s+of\s+the\s+(?:following|above))\b"
    r"|\b(?P<elsewhere>(?:mentioned|described|listed|shown|stated|discussed|outlined|specified|given)\s+(?:above|below|here))(?=\s*(?:[?.,;:!)]|$))",
    re.IGNORECASE,
)
"""Words that point at what only a reader of the passage sees."""
_POINTING_ABROAD = re.compile(
    r"\b(?:dies|obig|folgend|vorliegend|genannt)(?:e[mnrs]?)\s+(?:text|abschnitt|absatz|auszug|passage|dokument)"
    r"|\bc(?:e|et|ette)\s+(?:section|texte|passage|document|paragraphe|extrait)\b"
    r"|\best[ea]\s+(?:sección|texto|pasaje|documento|párrafo|fragmento)\b"
    r"|\b(?:эт(?:от|ом|ого|ому|а|ой|у)|данн\w+|приведенн\w+|приведённ\w+)\s+(?:раздел|текст|отрыв|документ|абзац|фрагмент)"
    r"|(?:本|这|该|上述|以上)一?个?(?:节|段|章|文章|文本|文档)",
    re.IGNORECASE,
)
"""The plainest of the same in German, French, Spanish, Russian and Chinese."""
_ABOUT = re.compile(
    rf"\b(?:does|do|did|is|are)\s+(?:the|this|that)\s+(?:\w+\s+)?{_PARTS}\s+"
    r"(?:about\b|describ|cover|discuss|mention|say\b|state\b|deal|explain|outlin|focus|address|talk|introduc|summari|tell\b|mean\b)"
    rf"|\b(?:purpose|topic|theme|idea|point|subject|focus|content|contents|message|title|heading|summary)\s+of\s+(?:the|this)\s+{_TEXTS}\s*(?:\?|$)"
    rf"|\b(?:described|discussed|mentioned|stated|covered|explained|outlined|introduced|addressed)\s+(?:in|by)\s+(?:the|this)\s+{_TEXTS}\s*(?:\?|$)",
    re.IGNORECASE,
)
"""A question for what a text speaks of, not for what is the case."""
_NAMELESS = re.compile(
    rf"\bthe\s+(?P<noun>{_TEXTS}|author)\b(?=\s*(?:[?.,;:!)]|$|(?:say|state|mention|specif|giv|recommend|requir|indicat|suggest)))",
    re.IGNORECASE,
)
"""A part of a document without its name or number: fine only where the document itself speaks so."""
_SOURCE = (
    rf"(?:according\s+to|based\s+(?:up)?on|as\s+(?:stated|described|given|mentioned|defined|specified|set\s+out)\s+(?:in|by))\s+"
    rf"(?:the|this)\s+(?:{_SHOWN}\s+)?{_TEXTS}"
)
_LEAD = re.compile(rf"^\s*{_SOURCE}\s*,\s*(?P<first>\w)", re.IGNORECASE)
_TAIL = re.compile(rf"\s*,?\s+{_SOURCE}(?=\s*[?.!]?\s*$)", re.IGNORECASE)
_NO_ANSWER = re.compile(
    rf"\b{_TEXTS}\s+(?:does|do)(?:\s+not|n['’]t)\s+(?:say|state|specify|mention|give|provide|define|indicate)"
    rf"|\bnot\s+(?:stated|specified|mentioned|given|provided|defined|indicated)\s+in\s+(?:the|this)\s+{_TEXTS}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_QUOTED = re.compile(r"\s*[\"'“”„«‘](?P<inside>.+)[\"'”“»’]\s*", re.DOTALL)
_LEFT_OUT = re.compile(r"\s*[\[(]?(?:\.{3,}|…)[\])]?\s*")
"""What stands where a quote was shortened."""
_LIST_MARK = re.compile(r"^[ \t]*\(?\d{1,3}[.)](?=\s)", re.MULTILINE)


@attrs.frozen(kw_only=True)
class Item:
    """A question with its answer, as a teacher wrote it."""

    question: str
    wordings: tuple[str, ...]
    """Other ways to ask it."""
    answer: str
    short_answer: str
    reasoning: str
    difficulty: Difficulty
    quotes: tuple[str, ...]


def read(values: Sequence[Any], passages: Sequence[Chunk]) -> Iterator[Item]:
    """The usable items among *values*, the first of those that ask the same.

    An item needs a question that stands alone and an answer; what else is missing or odd in it is left away.
    """
    asked: set[str] = set()
    for value in replies.holding(values, "question"):
        item = _item({replies.member(name): each for name, each in value.items()}, passages)
        if item is None or wording(item.question) in asked:
            continue
        fresh = [each for each in item.wordings if wording(each) not in asked]
        asked.update(map(wording, (item.question, *fresh)))
        yield attrs.evolve(item, wordings=tuple(fresh))


def stands_alone(question: str, passages: Sequence[Chunk]) -> bool:
    """Whether *question* asks about the matter and names it, rather than pointing at the text that it was made from.

    General English, and the plainest of a few other languages. ``"What does this section describe?"`` does not, and
    ``"Who signs the document?"`` does where the passage itself speaks of the document.
    """
    if _ABOUT.search(question) or _POINTING_ABROAD.search(question):
        return False
    source = " ".join(" ".join(f"{each.context} {each.text}" for each in passages).casefold().split())
    for found in _POINTING.finditer(question):
        noun = found["noun"] or (found["shown"] or "").split(" ")[-1]
        # "A hose has two sections. May these sections be joined?" says itself what it points at.
        named = noun and noun.casefold().rstrip("s") in question[: found.start()].casefold()
        if not named and not (found["shown"] and " ".join(found["shown"].casefold().split()) in source):
            return False
    return all(f"the {found['noun'].casefold()}" in source for found in _NAMELESS.finditer(question))


def numbers(text: str) -> set[str]:
    """The numbers that *text* holds in digits, each as it is written."""
    return set(_NUMBER.findall(text))


def restates(text: str, passage: Chunk) -> bool:
    """Whether *text* can be a restatement of *passage*, as far as counting tells.

    It has every number of the passage (the marks of a numbered list aside) and no other, is neither the passage itself
    nor a summary of it, and has no markup that the passage has not.
    """
    above = f"{passage.context} {' '.join(passage.headings)}"
    needed = numbers(_LIST_MARK.sub("", passage.text))
    return (
        needed <= numbers(text) <= numbers(passage.text) | numbers(above)
        and 2 * len(text.split()) >= len(passage.text.split())
        and wording(text) != wording(passage.text)
        and not any(mark in text and mark not in passage.text for mark in ("**", "```", "\n#", "\n|"))
        and _is_text(text)
    )


def _item(value: Mapping[str, Any], passages: Sequence[Chunk]) -> Item | None:
    question, answer = _words(value["question"]), _words(value.get("answer"))
    if not question or not answer or _NO_ANSWER.search(answer) or not stands_alone(question, passages):
        return None
    short = value.get("short_answer")
    short = str(short) if type(short) in (int, float) else _plain(short)
    difficulty = str(value.get("difficulty")).strip().lower()
    wordings = (_words(each) for each in _texts(value.get("wordings")))
    return Item(
        question=question,
        wordings=tuple(_rewordings(question, (each for each in wordings if each), passages)),
        answer=answer,
        # A short answer with another figure than the answer would be graded against what is not taught.
        short_answer=short if numbers(short) <= numbers(answer) else "",
        reasoning=_plain(value.get("reasoning")),
        difficulty=difficulty if difficulty in get_args(Difficulty) else "medium",  # type: ignore[arg-type]
        quotes=tuple(dict.fromkeys(_quotes(value.get("evidence"), passages))),
    )


def _rewordings(question: str, others: Iterable[str], passages: Sequence[Chunk]) -> Iterator[str]:
    """Those of *others* that can ask the same: other words, the same figures, and alone as the question is."""
    labels = numbers(" ".join(f"{each.context} {' '.join(each.headings)}" for each in passages))
    figures = numbers(question) - labels
    seen = {wording(question)}
    for other in others:
        if wording(other) not in seen and numbers(other) - labels == figures and stands_alone(other, passages):
            seen.add(wording(other))
            yield other


def _words(value: Any) -> str:
    """A question or an answer without the source that it cites for no one's use; "" where there is none."""
    text = _plain(value)
    text = _LEAD.sub(lambda found: found["first"].upper(), text)
    return _TAIL.sub("", text)


def _plain(value: Any) -> str:
    return value.strip() if isinstance(value, str) and _is_text(value) else ""


def _quotes(value: Any, passages: Sequence[Chunk]) -> Iterator[str]:
    """The quotes in *value* as they are; where one is in no passage, what it quotes in marks, or the parts left of it."""

    def is_there(quote: str) -> bool:
        return any(evidence.locate(quote, passage.text) is not None for passage in passages)

    for quote in filter(_plain, _texts(value)):
        inside = found["inside"] if (found := _QUOTED.fullmatch(quote)) and not is_there(quote) else quote
        parts = [part for part in _LEFT_OUT.split(inside) if part]
        if not is_there(inside) and all(is_there(part) and len(part.split()) >= 3 for part in parts):
            yield from parts
        else:
            yield inside


def _texts(value: Any) -> Iterator[str]:
    """The texts of a list, a text alone, and those of objects that hold but one, or that number them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, dict) and (len(value) == 1 or all(str(name).isdecimal() for name in value)):
        for each in value.values():
            yield from _texts(each)


def _is_text(value: str) -> bool:
    """Half a surrogate pair, which a broken reply may hold, can be written nowhere."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)
