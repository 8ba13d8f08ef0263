"""A known thing asked after what the texts do not say of it, and topics beside theirs: one function for each way."""

import re

from text2expert.refusals.entities import ADVERBIAL
from text2expert.refusals.frames import Frame
from text2expert.refusals.turning import (
    ASIDE,
    Named,
    Pools,
    Turned,
    class_of_noun,
    in_place,
    is_asked,
    is_cared_for,
    names,
    phrases,
    pick,
    prefix_of,
)
from text2expert.refusals.words import TOPIC_QUESTIONS, Class, Entry

_LASTS = re.compile(r"how long|why|for |after |.*(?:case|situation|condition|point|stage)", re.IGNORECASE)
"""What is asked of an act that takes time, or of the circumstances of one that is known."""


_URGENT = re.compile(r"how (?:soon|quickly)|within", re.IGNORECASE)
"""What is asked of work on a paper, and of nothing else that is done seldom."""


def other_act(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another act on the same thing: "How often are hoses repainted?"."""
    del question
    if frame is None or not frame.passive or not frame.verb:
        return None
    things = _plain_class(frame)
    if things is None or not pools.actions[things]:
        return None
    if not ADVERBIAL.fullmatch(frame.asked) or _LASTS.match(frame.asked):
        return None
    if things != "document" and _URGENT.match(frame.asked):
        return None
    new = pick(pools.actions[things], draw)
    return Turned("attribute", frame.with_verb(new), new)


def other_property(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """The same thing, asked after a property: "Which company manufactures hoses?"."""
    prefix = prefix_of(question)
    if frame is not None and frame.verb and (things := _plain_class(frame)):
        named = frame.many or re.match(r"(?:the|an?) |.*[A-Z]", frame.subject)
        if not named or not (frame.many or prefix or len(frame.subject.split()) > 2):  # "the room": which?
            return None
        return _asked_after(_small(frame.subject), pools.properties[things], prefix, draw, many=frame.many)
    found = [named for named in (*names(question), *phrases(question)) if not is_cared_for(named.head)]
    if len(found) != 1 or not _is_named(question, found[0]):
        return None
    start, end, kind, head = found[0]
    it = _small(question[start:end])
    if kind == "site" or it.startswith(("a ", "an ")) or (it[4:].islower() and len(it.split()) < 3 and not prefix):
        return None
    many = head.endswith("s") and not head.endswith("ss")
    return _asked_after(it, pools.properties[kind], prefix, draw, many=many)


def _small(phrase: str) -> str:
    """A phrase as it stands within a sentence: its article small."""
    return phrase[0].lower() + phrase[1:] if re.match(r"(?:The|An?) ", phrase) else phrase


def _is_named(question: str, named: Named) -> bool:
    """Whether it is named by itself: not as an example, and not in a question on what a word means."""
    return named.start >= len(prefix_of(question)) and not ASIDE.search(question[: named.start][-12:])


def _asked_after(
    it: str, pool: tuple[tuple[str, Entry], ...], prefix: str, draw: float, *, many: bool
) -> Turned | None:
    if not pool:
        return None
    asked, entry = pick(pool, draw)
    forms = {"is": "are", "was": "were", "does": "do"} if many else {"is": "is", "was": "was", "does": "does"}
    return Turned("attribute", in_place(prefix, asked.format(it=it, **forms)), entry.phrase)


_VALUE = re.compile(
    r"(?P<head>(?:.{0,80}[\"”’'],? ?)?[Ww]hat (?:is|was) the )(?P<property>[a-z][a-z -]{2,40}?) (?:of|for) "
    r"(?P<rest>(?:the |an? )?[^,?\"“]{3,60}\?)"
)
_NO_PROPERTY = re.compile(
    r"meaning|definition|term|rule|exception|entry|reason|name|purpose|limit|case|number", re.IGNORECASE
)


def other_value(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another property where one is asked after: "What is the purchase price of pump P-3?"."""
    del frame
    match = _VALUE.fullmatch(question)
    if match is None or not pools.values or _NO_PROPERTY.search(match["property"]):
        return None
    rest = match["rest"]
    noun = rest.rstrip("?").split()[-1].casefold()
    if class_of_noun(noun) not in {"device", "material"} or not is_asked(question, match.start("rest"), len(question)):
        return None
    if re.search(r"\b(?:that|which|who|in|at|on|to|is|are|of|for|with)\b", rest):
        return None
    new = pick(pools.values, draw)
    return Turned("attribute", f"{match['head']}{new} of {rest}", new)


_QUOTED = re.compile(r'"([^"]+)"|“([^”]+)”')


def column(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """Another column of a table."""
    del frame
    found = list(_QUOTED.finditer(question))
    tables = [m for m in found if re.search(r"\btable $", question[: m.start()], re.IGNORECASE)]
    others = [m for m in found if m not in tables]
    if not pools.columns or len(tables) != 1 or len(others) != 1:
        return None
    if not re.search(r"\b(?:under|as|column) $", question[: others[0].start()]):
        return None
    new = pick(pools.columns, draw)
    return Turned("attribute", question[: others[0].start() + 1] + new + question[others[0].end() - 1 :], new)


def topic(question: str, frame: Frame | None, pools: Pools, draw: float) -> Turned | None:
    """A topic beside the one of the section."""
    del frame
    if not pools.topics:
        return None
    prefix = prefix_of(question)
    new = pick(pools.topics, draw)
    asked = TOPIC_QUESTIONS[int(draw * 1e6) % len(TOPIC_QUESTIONS)].format(topic=new)
    return Turned("topic", in_place(prefix, asked), new, far=not prefix)


def _plain_class(frame: Frame) -> Class | None:
    """The class of a subject that is short and whose own noun tells it."""
    if is_cared_for(frame.head) or len(frame.subject.split()) > 5:
        return None
    return class_of_noun(frame.head)


WAYS = (other_act, other_property, other_value, column, topic)
"""All ways to ask a known thing after what is not said of it, and for a topic beside it."""
