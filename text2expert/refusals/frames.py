"""The shape of an English question: what is asked, of whom or what, and which act; None where it is not plain."""

import re

import attrs

from text2expert.refusals.texts import fold, singular
from text2expert.refusals.words import PEOPLE, acts, word_set

PREFIX = re.compile(r"""^(?:Under|In|According to|For|Of) ["“'][^"”]+["”'], ?""")
AUXILIARIES = word_set("is are was were must shall should may can could might will would does do did has have")
_BE = word_set("is are was were")
_DO = word_set("does do did")
_WH = word_set("what which who whom whose when where why how")
_DETERMINERS = word_set("a an the")
PREPOSITIONS = word_set("about above across after against along among around at before behind below beneath beside between beyond by during for from in inside into near of off on onto over per since through "
    "throughout to toward towards under until up upon via with within without")  # fmt: skip
_UNFIT = word_set("all every any each both no none other another either neither these this those that such it its they their them he she his her you we your our there "
    "which who whom whose if when whenever where while unless except including than only")  # fmt: skip
"""Words that make a subject a rule for many, a pointer or a clause."""
_IRREGULAR = word_set("begun bound bought broken brought built chosen cut dealt done drawn driven fed found given held hung kept laid led left lent lit made met paid put read run said sent set sewn shown shut "
    "sold spent split spread swept taken taught thrown told torn understood withdrawn withheld written worn")  # fmt: skip
_NOT_PARTICIPLES = word_set("need feed speed seed breed bed red shed hundred indeed embed weed")
_BASES = word_set("apply approve arrange attend begin call carry change charge check clean close collect complete confirm conduct contact contain cover decide deliver destroy "
    "enter examine fill follow get give have hold happen include inform inspect issue keep last leave maintain make measure meet notify obtain open operate pay perform prepare provide reach "
    "receive record remove renew repair repeat replace report request require return review send serve sign start stay stop store submit supply take tell test train treat use wear work "
    "write") | frozenset(acts())  # fmt: skip


@attrs.frozen
class Frame:
    """A question taken apart: prefix + asked + auxiliary + subject + verb + rest + "?"."""

    prefix: str
    """What stands before the question proper: a section's name in quotation marks."""
    asked: str
    """From the question word up to the auxiliary: "Within what time"."""
    auxiliary: str
    subject: str
    verb: str
    """As it stands: "be tested", "tested", "notify"; "" in "What is X?"."""
    rest: str

    @property
    def head(self) -> str:
        """The noun that the subject is about, lower case: "hook" in "a quick-release hook at Quay 5"."""
        words = self.subject.split()
        for place, word in enumerate(words):
            if place and word.casefold() in PREPOSITIONS:
                words = words[:place]
                break
        return fold(words[-1].strip(",;"))

    @property
    def passive(self) -> bool:
        """Whether something is done to the subject."""
        return self.auxiliary in _BE or self.verb.startswith("be ")

    @property
    def many(self) -> bool:
        """Whether the subject is in the plural."""
        if self.auxiliary in {"is", "was", "does", "has"}:
            return False
        if self.auxiliary in {"are", "were", "do", "have"}:
            return True
        return not re.match(r"(?:a|an)\b", self.subject) and bool(re.search(r"[^s]s$", self.head))

    @property
    def act(self) -> str:
        """The verb proper: "tested" in "be tested"."""
        return self.verb.split()[-1].casefold() if self.verb else ""

    def with_subject(self, subject: str) -> str:
        """The question about another subject."""
        parts = (self.asked, self.auxiliary, subject, self.verb, self.rest)
        return self.prefix + " ".join(part for part in parts if part) + "?"

    def with_verb(self, participle: str) -> str:
        """The question about another act on the same subject; what stood behind the verb is left out."""
        be = "be " if self.verb.startswith("be ") else ""
        return f"{self.prefix}{self.asked} {self.auxiliary} {self.subject} {be}{participle}?"


def parse(question: str) -> Frame | None:
    """The frame of *question*; None where it has another shape or more than one reading."""
    prefix = match[0] if (match := PREFIX.match(question)) else ""
    body = question[len(prefix) :].strip()
    if not body.endswith("?") or "?" in body[:-1]:
        return None
    words = body[:-1].split()
    at = next((n for n, word in enumerate(words[:8]) if word in AUXILIARIES), 0)
    asked = [fold(word) for word in words[:at]]
    if not at or not _WH & set(asked[:2]) or any("," in word for word in words[:at]):
        return None
    if asked[0] == "who" or asked[:3] == ["which", "person", "or"]:  # what follows is no subject
        return None
    auxiliary, rest = words[at], words[at + 1 :]
    verb = _verb(auxiliary, rest)
    if verb is None:
        return None
    start, end = verb
    subject = rest[:start]
    if not is_plain(subject) and subject != ["you"]:
        return None
    return Frame(
        prefix, " ".join(words[:at]), auxiliary, " ".join(subject), " ".join(rest[start:end]), " ".join(rest[end:])
    )


def _verb(auxiliary: str, words: list[str]) -> tuple[int, int] | None:
    """Where the verb begins and ends among the words behind *auxiliary*; None where that is not plain."""
    lower = [word.casefold() for word in words]
    if auxiliary in _BE:
        found = [n for n, word in enumerate(lower) if n and is_participle(word)]
        if len(found) > 1:
            return None
        return (found[0], found[0] + 1) if found else (len(words), len(words))
    if auxiliary not in _DO and "be" in lower[1:-1]:
        at = lower.index("be", 1)
        return (at, at + 2) if is_participle(lower[at + 1]) else None
    found = [n for n, word in enumerate(lower) if n and word in _BASES and lower[n - 1] not in _DETERMINERS]
    if len(found) != 1 or not _acts(lower[: found[0]]):  # many a noun looks like a verb
        return None
    return found[0], found[0] + 1


def _acts(subject: list[str]) -> bool:
    """Whether the words name somebody who does something."""
    return subject == ["you"] or (bool(subject) and singular(subject[-1].strip(",")) in PEOPLE)


def is_plain(subject: list[str]) -> bool:
    """Whether the words are one thing or kind of thing, not many, a pointer or a clause."""
    lower = [word.casefold().strip(",") for word in subject]
    content = [word for word in lower if word not in _DETERMINERS]
    return (
        bool(content)
        and len(subject) <= 9
        and not _UNFIT & set(lower)
        and not any(word.endswith(",") or '"' in word for word in subject)
        and lower[0] not in PREPOSITIONS
        and any(word[0].isalpha() for word in content)
    )


def is_act(word: str) -> bool:
    """Whether *word* (lower case) looks like a verb that is known, or like a participle."""
    return word in _BASES or is_participle(word)


def is_participle(word: str) -> bool:
    """Whether *word* (lower case) looks like a past participle."""
    return word in _IRREGULAR or (word.endswith("ed") and len(word) > 4 and word not in _NOT_PARTICIPLES)
