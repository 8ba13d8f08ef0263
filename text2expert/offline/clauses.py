"""Clauses of English: who or what, the finite verb, and the rest, so that a statement can be turned into a question.

A shallow reading by closed word classes and verb forms, without a model. It answers None rather than guess: a clause
that it reads wrongly would become a wrong question.
"""

import re
from collections.abc import Iterable
from typing import Literal

import attrs

from text2expert.offline.lexicon import (
    ADVERBS,
    AUXILIARIES,
    BE,
    DETERMINERS,
    FIRM,
    MODALS,
    NUMBER_WORDS,
    ONLY_VERBS,
    POINTERS,
    PREPOSITIONS,
    PRONOUNS,
    RELATIVES,
    SUBORDINATORS,
    THIRD,
    VERBS,
    is_participle,
    third,
    verb_of,
    word_set,
)

DOCUMENT = re.compile(
    r"This (?:\w+ )?(?:policy|procedure|handbook|manual|protocol|agreement|contract|document|guide|guideline|standard|code|lease|licence|"
    r"license|plan|regulation|act|charter|instruction|specification)\b",
    re.IGNORECASE,
)
"""A document that names itself: "This Policy" is "the Policy" to a reader of the question."""

Form = Literal["aux", "present", "imperative"]


@attrs.frozen(kw_only=True)
class Clause:
    """A main clause. ``auxiliary`` is empty in the simple present and the imperative, where ``verb`` has its base form."""

    form: Form
    subject: str = ""
    auxiliary: str = ""
    negation: str = ""
    """"not" or "never" where the verb is negated."""
    verb: str = ""
    rest: str
    """What follows auxiliary and negation, or the verb."""
    front: str = ""
    """An adverbial before the subject: "Within 10 minutes of arrival"."""
    tail: str = ""
    """A subordinate clause after the predicate: "unless it is renewed"."""
    plural: bool = False

    @property
    def passive(self) -> bool:
        """Whether something is done to the subject."""
        words = self.rest.split()
        if self.auxiliary in MODALS:
            return len(words) > 1 and words[0] == "be" and _participle_at(words, 1)
        if self.auxiliary == "are" and len(words) == 2 and words[1].endswith("s") and not words[1].endswith("ss"):
            return False  # "elapsed times"
        return self.auxiliary in BE and _participle_at(words, 0)

    def inverted(self, rest: str | None = None) -> str:
        """The order of a question: "is the cuff checked", "does the therapist review it", "should you stop"."""
        rest = self.rest if rest is None else rest
        negation = f" {self.negation}" if self.negation else ""
        if self.form == "imperative":
            return _join("should you" + negation, self.verb, rest)
        if self.form == "present":
            return _join("do" if self.plural else "does", self.subject + negation, self.verb, rest)
        return _join(self.auxiliary, self.subject + negation, self.verb, rest)

    def statement(self, rest: str | None = None) -> str:
        """The order of a statement, without front and tail, first letter as inside a sentence."""
        rest = self.rest if rest is None else rest
        if self.form == "imperative":
            return _join("you should", self.negation, self.verb, rest)
        return _join(self.subject, self.predicate(rest, plural=self.plural))

    def predicate(self, rest: str | None = None, *, plural: bool = False) -> str:
        """Verb and rest as they follow a subject of the given number."""
        rest = self.rest if rest is None else rest
        if self.form == "present":
            if self.negation:
                return _join("do" if plural else "does", self.negation, self.verb, rest)
            return _join(self.verb if plural else third(self.verb), rest)
        auxiliary = self.auxiliary
        if not plural:
            auxiliary = {"are": "is", "were": "was", "have": "has", "do": "does"}.get(auxiliary, auxiliary)
        return _join(auxiliary, self.negation, self.verb, rest)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def bare(word: str) -> str:
    """A word in lower case without the punctuation around it."""
    return word.strip("\"“”'‘’()[],.;:!?").lower()


def _aux(word: str) -> str:
    """A word as an auxiliary or "have" or "do" in lower case; "" where it is none, as "May" in "15 May"."""
    low = bare(word)
    name = word.lstrip('"“(')[:1].isupper()
    return low if not name and low in AUXILIARIES | {"has", "have", "does", "do"} else ""


def _participle_at(words: list[str], at: int) -> bool:
    while at < len(words) and (bare(words[at]) in ADVERBS or bare(words[at]).endswith("ly")):
        at += 1
    return at < len(words) and is_participle(bare(words[at]))


def proper_words(sentences: Iterable[str]) -> frozenset[str]:
    """Words that *sentences* write with a capital elsewhere than at their beginning."""
    found = set()
    for match in (
        match for text in sentences for match in re.finditer(r"(?<![.!?:;\"“()\n•*\d–-])[ ]([A-Z][\w'’-]*)", text)
    ):
        word = match.group(1)
        found.add(word)
        found.add(word + "s")
        found.add(word.removesuffix("s"))
    return frozenset(found)


def lower_first(text: str, proper: frozenset[str] = frozenset()) -> str:
    """*text* as it stands inside a sentence: "The agent" -> "the agent", "PEEP" stays."""
    if not text:
        return text
    first, _, _ = text.partition(" ")
    word = re.sub(r"['’]s$", "", first.strip("\"“”'‘’(),.;:"))
    low = word.lower()
    if low in DETERMINERS or low in PREPOSITIONS or low in SUBORDINATORS or low in RELATIVES:
        return text[0].lower() + text[1:]
    second = text.partition(" ")[2].partition(" ")[0]
    if second[:1].isupper() and second[1:2].islower() and word[0].isupper():
        return text  # "Internal Audit": the second word's capital shows a name
    if word in proper or any(letter.isupper() or letter.isdigit() for letter in word[1:]) or len(word) == 1:
        return text
    if re.search(r"[-/][A-Z]", word):
        return text
    return text[0].lower() + text[1:]


def upper_first(text: str) -> str:
    """*text* with its first letter as a capital; words such as "pH" keep their own form."""
    first = text.partition(" ")[0]
    if not first or any(letter.isupper() for letter in first[1:]):
        return text
    return text[0].upper() + text[1:]


_EACH_TIME = re.compile(
    r"((?:Each|Every) (?:\w+day|morning|evening|night|week|month|quarter|year|shift|spring|summer|autumn|winter)),? (?=\S)"
)


def parse(text: str, proper: frozenset[str] = frozenset(), *, imperative: bool = True) -> Clause | None:
    """Read *text*, a sentence without its full stop, as one main clause; None where it is not safely one.

    Args:
        text: The sentence or clause.
        proper: Words that keep their capital inside a sentence.
        imperative: Whether a verb at the start gives an order.
    """
    text = text.strip().rstrip(".").strip()
    words = text.split()
    if len(words) < 3 or len(words) > 90 or not _balanced(text):
        return None
    if re.match(DOCUMENT, text):
        words[0] = "The"
        text = " ".join(words)
    first = bare(words[0])
    if first == "only" and len(words) > 3:
        clause = _declarative([upper_first(words[1]), *words[2:]], proper)
        return clause and attrs.evolve(clause, subject=f"only {clause.subject}")
    if first in PREPOSITIONS and words[0][0].isupper():
        return _fronted(text, proper)
    if (daily := _EACH_TIME.match(text)) and bare(text[daily.end() :].split()[0]) in DETERMINERS:
        clause = _declarative(text[daily.end() :].split(), proper)
        return clause and attrs.evolve(clause, front=lower_first(daily.group(1), proper))
    if imperative and (order := _imperative(words)):
        return order
    return _declarative(words, proper)


def _balanced(text: str) -> bool:
    return (
        text.count("(") == text.count(")")
        and text.count("[") == text.count("]")
        and text.count('"') % 2 == 0
        and text.count("“") == text.count("”")
    )


def _fronted(text: str, proper: frozenset[str]) -> Clause | None:
    """A clause after an adverbial and a comma: "Within 10 minutes of arrival, the nurse records ..."."""
    words = text.split()
    for at in range(2, min(len(words) - 2, 12)):
        # "At the other quays the foreman judges by eye": a second determiner begins the subject.
        before = bare(words[at - 1])
        if words[at - 1].endswith(","):
            break
        if bare(words[at]) in {
            "the",
            "a",
            "an",
            "each",
            "every",
            "no",
            "one",
            "any",
        } and before not in PREPOSITIONS | DETERMINERS | VERBS | {"and", "or", "of", "than", "to", "as"}:
            clause = _declarative(words[at:], proper)
            front = " ".join(words[:at])
            if clause is None or any(bare(word) in PRONOUNS | POINTERS for word in words[:at]):
                return None
            return attrs.evolve(clause, front=lower_first(front, proper))
    for match in re.finditer(r",\s", text):
        front, main = text[: match.start()], text[match.end() :]
        if len(front.split()) > 14:
            return None
        words = main.split()
        if len(words) < 3 or bare(words[0]) in {"and", "or", "but"}:
            continue
        clause = _imperative([words[0].capitalize(), *words[1:]]) or _declarative(words, proper)
        if clause is not None:
            if any(bare(word) in PRONOUNS | POINTERS for word in front.split()):
                return None
            return attrs.evolve(clause, front=lower_first(front, proper))
    return None


def _imperative(words: list[str]) -> Clause | None:
    negation, at = "", 0
    if bare(words[0]) == "never":
        negation, at = "never", 1
    elif bare(words[0]) == "always":
        at = 1
    elif [bare(word) for word in words[:2]] == ["do", "not"]:
        negation, at = "not", 2
    if at >= len(words) - 1:
        return None
    verb = words[at]
    if not verb_of(verb.lower()) or (at == 0 and not verb[0].isupper()):
        return None
    if _states(words, at + 1):
        return None
    body, tail = _split_tail(words[at + 1 :])
    return Clause(form="imperative", negation=negation, verb=verb.lower(), rest=body, tail=tail)


def _states(words: list[str], at: int) -> bool:
    """Whether words that begin like an order turn out to be a statement: "Delay after failure is ..."."""
    after = bare(words[at])
    if after in ONLY_VERBS or (after in THIRD and after != "does" and starts_phrase(words, at + 1)):
        return True
    for place, word in enumerate(words[at:], at):
        low = bare(word)
        if low in SUBORDINATORS | RELATIVES | {"so", "as"} or word.endswith((";", ",")):
            return False
        if low in {"before", "after"} and place + 1 < len(words) and bare(words[place + 1]) in DETERMINERS:
            return False
        if low in AUXILIARIES | {"has", "have", "does", "do"}:
            return True
    return False


def starts_phrase(words: list[str], at: int) -> bool:
    """Whether a noun phrase, prepositional phrase or adverb can start at *at*: what follows a finite verb."""
    if at >= len(words):
        return True
    low = bare(words[at])
    return (
        low in DETERMINERS
        or low in PREPOSITIONS
        or low in ADVERBS
        or low in NUMBER_WORDS
        or low in PRONOUNS
        or low in {"to", "that", "as", "back", "away", "out", "up", "down"}
        or low.endswith("ly")
        or words[at][0].isdigit()
        or words[at][0] in '"“('
    )


def _declarative(words: list[str], proper: frozenset[str]) -> Clause | None:
    first = bare(words[0])
    if first in PRONOUNS | POINTERS | RELATIVES | SUBORDINATORS | PREPOSITIONS | ADVERBS | AUXILIARIES or first in {
        "there",
        "here",
        "only",
        "nor",
        "so",
        "and",
        "or",
        "but",
        "not",
        "what",
        "how",
        "why",
        "where",
        "yes",
        "example",
        "e.g",
        "i.e",
        "see",
        "note",
        "etc",
    }:
        return None
    at = finite(words)
    if at is None or sum(word.isupper() and len(word) > 4 for word in words[:at]) > 1:
        return None
    subject = " ".join(words[:at])
    if not is_subject(words[:at]):
        return None
    low = bare(words[at])
    subject = re.sub(r" (?:also|then|therefore|thus)$", "", lower_first(subject, proper))
    if low in THIRD or (low in VERBS and low not in {"have", "do"}):
        body, tail = _split_tail(words[at + 1 :])
        return Clause(
            form="present", subject=subject, verb=THIRD.get(low, low), rest=body, tail=tail, plural=low not in THIRD
        )
    return after_auxiliary(subject, low, words[at + 1 :])


def after_auxiliary(subject: str, low: str, after: list[str]) -> Clause | None:
    """The clause of *subject*, the finite verb *low* (an auxiliary, "have" or "do") and the words *after* it."""
    negation = ""
    if low == "cannot":
        low, negation = "can", "not"
    while after and bare(after[0]) in {"not", "never", "also", "therefore", "then", "thus", "however"}:
        word = bare(after[0])
        if word in {"not", "never"} and after[0].isalpha():
            if negation:
                return None
            negation = word
        after = after[1:]
    if not after:
        return None
    body, tail = _split_tail(after)
    plural = low in {"are", "were", "have", "do"}
    if low in {"do", "does"}:
        verb = bare(after[0])
        if not negation or verb not in VERBS | {"have"}:
            return None
        body, tail = _split_tail(after[1:])
        return Clause(
            form="present", subject=subject, negation=negation, verb=verb, rest=body, tail=tail, plural=plural
        )
    if low in {"has", "have"} and (not _participle_at(after, 0) or "-" in after[0]):
        if negation:
            return None
        return Clause(form="present", subject=subject, verb="have", rest=body, tail=tail, plural=plural)
    return Clause(form="aux", subject=subject, auxiliary=low, negation=negation, rest=body, tail=tail, plural=plural)


def finite(words: list[str]) -> int | None:
    """Where the main clause's finite verb stands; verbs of relative clauses inside the subject are passed over."""
    pending, relative = 0, False
    for at, word in enumerate(words[:40]):
        low = bare(word)
        if at and low in RELATIVES and not (low == "that" and bare(words[at - 1]) in {"so", "such"}):
            pending, relative = pending + 1, True
            continue
        if at and low in SUBORDINATORS | {"where"}:
            return None
        if word.endswith((";", ":")):
            return None
        if at and bare(words[at - 1]) in RELATIVES and pending and _verb_of_relative(low):
            pending -= 1
            continue
        candidate = _aux(word) or (at and _is_present(words, at))
        if not candidate:
            continue
        if low in {"do", "does"} and bare(words[at + 1] if at + 1 < len(words) else "") not in {"not", "never"}:
            continue
        if pending:
            pending -= 1
            continue
        if relative and at and bare(words[at - 1]) in {"and", "or", "not"}:
            continue  # the relative clause goes on: "that has been destroyed and reappears"
        return at or None
    return None


def _verb_of_relative(low: str) -> bool:
    """Whether the word behind "that" or "which" is its verb; unknown verbs show by their ending."""
    return (
        low in THIRD or low in VERBS or is_participle(low) or (low.endswith("s") and low not in DETERMINERS | PRONOUNS)
    )


def _is_present(words: list[str], at: int) -> bool:
    """Whether the word is a verb in the simple present and not a noun."""
    low, before = words[at], bare(words[at - 1])
    if not low.isalpha() or not low.islower():
        return False
    if (
        before in DETERMINERS
        or before in PREPOSITIONS
        or before in {"to", "and", "or", "not", "of"}
        or words[at - 1].endswith(",")
    ):
        return False
    if at + 1 < len(words) and bare(words[at + 1]) in AUXILIARIES | {"of", "has", "have"}:
        return False
    if _later_auxiliary(words, at + 1):
        return False
    if low in THIRD:
        return THIRD[low] in FIRM or low in ONLY_VERBS or _is_singular_verb(words, at)
    return low in VERBS and _is_plural_verb(words, at)


def _is_singular_verb(words: list[str], at: int) -> bool:
    before = bare(words[at - 1])
    relative = any(bare(word) in RELATIVES for word in words[:at])
    if words[at - 1][0].isdigit() or (not relative and words[max(0, at - 2)][0].isdigit()):
        return False
    if before.endswith("s") and not before.endswith(("ss", "us", "is")) and not words[0][0].isupper():
        return False
    if starts_phrase(words, at + 1):
        return True
    # "The ward repeats observations": a bare object needs a determiner before a short subject.
    return words[0].lower() in DETERMINERS and at >= 2 and (at <= 6 or relative)


def _is_plural_verb(words: list[str], at: int) -> bool:
    before, low = bare(words[at - 1]), words[at]
    if before.endswith("ing") or before in VERBS:
        return False
    plural = before.endswith("s") and not before.endswith(("ss", "us", "'s", "’s"))
    if not plural and before not in _MANY:
        return False
    return low in FIRM or starts_phrase(words, at + 1) or words[at : at + 2] == ["take", "place"]


_MANY = word_set("people staff persons children men women craft personnel police")
"""Plurals without an s."""
_LINKS = word_set("before after so and but where how what whether why")


def _later_auxiliary(words: list[str], at: int) -> bool:
    for word in words[at:]:
        low = bare(word)
        if low in SUBORDINATORS | RELATIVES | _LINKS or word.endswith((",", ";")):
            return False
        if _aux(word) in AUXILIARIES:
            return True
    return False


def is_subject(words: list[str]) -> bool:
    """Whether *words* can be a whole subject that needs no sentence before it."""
    if not 0 < len(words) <= 18:
        return False
    text = " ".join(words)
    last = bare(words[-1])
    if last.endswith(("'s", "’s")) or last in PREPOSITIONS | {
        "a",
        "an",
        "the",
        "and",
        "or",
        "to",
        "of",
        "that",
        "which",
        "who",
    }:
        return False
    if not _balanced(text) or any(mark in text for mark in ";:?!"):
        return False
    commas = text.count(", ") + text.endswith(",")
    joined = re.search(r",[^,]* (?:and|or) [^,]*$|, (?:and|or) [^,]*$", text)
    if any(bare(word) in PRONOUNS for word in words) or bare(words[0]) == "nothing":
        return False
    return commas == 0 or bool(joined) or (commas % 2 == 0) or (commas == 1 and words[-1].endswith(","))


def _split_tail(words: list[str]) -> tuple[str, str]:
    """Predicate and the subordinate clause that ends it; "before", "after", "so that" open one where a clause follows."""
    depth = 0
    for at, word in enumerate(words):
        low = bare(word)
        depth += word.count("(") - word.count(")")
        if depth > 0 or word.startswith("(") or not at:
            opens = not at and low in SUBORDINATORS | {"where"} and depth == 0
        else:
            opens = (
                (low in SUBORDINATORS and not (low == "once" and not _once_opens(words, at)))
                or (low == "where" and words[at - 1].endswith(","))
                or (low == "so" and at + 1 < len(words) and bare(words[at + 1]) == "that")
                or (low == "as" and [bare(other) for other in words[at : at + 3]] == ["as", "soon", "as"])
                or (
                    low in {"before", "after"}
                    and bare(words[at - 1]) not in _TIME_NOUNS
                    and _opens_event(words[at + 1 : at + 14])
                )
                or (low == "since" and words[at - 1].endswith(","))
            )
        if opens:
            start = at - 1 if at and words[at - 1].lower() in {"only", "even"} else at
            if start and bare(words[start - 1]) in {"and", "or", "but"}:
                start -= 1
            return " ".join(words[:start]).rstrip(","), " ".join(words[start:])
    return " ".join(words), ""


def _opens_event(words: list[str]) -> bool:
    """Whether a clause follows "before" or "after", or a gerund that stands for one."""
    return bool(words) and (bare(words[0]).endswith("ing") or _has_finite(words))


_TIME_NOUNS = word_set("second seconds minute minutes hour hours day days week weeks month months year years")


def _once_opens(words: list[str], at: int) -> bool:
    """Whether "once" means "as soon as", not "one time" or "at once"."""
    if at + 1 < len(words) and bare(words[at + 1]) in SUBORDINATORS | PREPOSITIONS:
        return False
    if at + 2 < len(words) and bare(words[at + 2]) in _TIME_NOUNS | {"shift", "quarter", "season"}:
        return False  # "once a month"
    return bare(words[at - 1]) != "at" and _has_finite(words[at + 1 : at + 14])


def _has_finite(words: list[str]) -> bool:
    for at, word in enumerate(words):
        if _aux(word) not in {"", "do", "does"}:
            return True
        if bare(word) in SUBORDINATORS:
            return False
        if at and _is_present([*words[:at], word.rstrip(",;"), *words[at + 1 :]], at):
            return True
        if word.endswith((",", ";")):
            return False
    return False


def split_condition(text: str) -> tuple[str, str, str] | None:
    """("if", condition, consequence) of "If A, B"; None where the comma between them is not found safely."""
    match = re.match(r"(If|When|Whenever|Where|Once|Unless|Should)\s+(.+)", text)
    if not match:
        return None
    words = match.group(2).split()
    for at in range(2, len(words) - 1):
        if not words[at - 1].endswith(","):
            continue
        condition = " ".join(words[:at]).rstrip(",")
        if bare(words[at]) in {
            "and",
            "or",
            "but",
            "nor",
            "without",
            "whether",
            "other",
            "including",
            "except",
        } or not _balanced(condition):
            continue
        if match.group(1) != "Should" and not _has_finite(words[:at]):
            continue
        consequence = words[at:]
        as_order = [consequence[0].capitalize(), *consequence[1:]]
        listed = consequence[0].endswith(",") and verb_of(bare(consequence[0]))  # "stop, use the bag, and call"
        if listed or _imperative(as_order) or _looks_main(consequence):
            return match.group(1).lower(), condition, " ".join(consequence).rstrip(".")
    return None


def _looks_main(words: list[str]) -> bool:
    """Whether *words* are a statement; pronouns in it may stand for something in the condition before."""
    if bare(words[0]) not in PRONOUNS:
        words = ["thing" if bare(word) in PRONOUNS else word for word in words]
    if bare(words[0]) in PRONOUNS | {"there", "nobody", "only"}:
        words = ["The", "thing", *words[1:]]
    if bare(words[0]) in SUBORDINATORS | RELATIVES | PREPOSITIONS:
        return False
    at = finite(words)
    return at is not None and is_subject(words[:at])
