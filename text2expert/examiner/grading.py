"""What counts as right, without a judge: an answer that says a canonical answer, and no other value beside it.

What a model put in other words may count as wrong; nothing wrong counts as right for being fluent.

    spelling   dates, times of day, rates and large numbers in one spelling
    refusing   what says that it does not know
    values     when two values are the same
    relations  how a value is told: every so often, at least, before
    figures    the numbers of an answer
    subjects   a second value that is that of another thing
    choices    what names a thing as one of several
    denials    what names a thing to deny of it what was asked
    grading    whether it says the canonical answer

Where it stays biased: an extract that holds a second value of the right one's kind is wrong unless a clause of its own gives
that to another thing ("books for 14 days and films for 7"). "The hotel is 500 m from the station, the quay 300 m" leaves its
end to the reader and is wrong, and so are two values that depend on a condition which the question leaves open. So whoever
quotes sentences, as retrieval without a model does, loses more by it than whoever says one value.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Literal

from text2expert.evidence.quantities import Bound, Quantity, quantities
from text2expert.evidence.tokens import tokens
from text2expert.evidence.units import CLOCK, MONTHS, SPANS, unit_of
from text2expert.evidence.wording import PERMITS, stem, word_set
from text2expert.examiner.choices import is_one_of_several, says_yes_and_no
from text2expert.examiner.denials import is_denied_behind
from text2expert.examiner.figures import LABELS, NEGATIONS, Figure, figures_of
from text2expert.examiner.refusing import LONGEST, declines, guessed, refuses
from text2expert.examiner.relations import (
    asks_how_long,
    asks_how_often,
    is_in_time,
    leaves_open,
    order_asked,
    side_of,
)
from text2expert.examiner.spelling import plain
from text2expert.examiner.subjects import is_of_another
from text2expert.examiner.values import TOLERANCE, gainsays, is_beyond, kind_of, near, parts_at, same
from text2expert.records import ExamQuestion, wording

__all__ = ["LONGEST_ANSWER", "TOLERANCE", "Grade", "grade", "graded", "refuses"]

Grade = Literal["right", "wrong", "refused"]
"""Of one answer. ``refused``: it says that it does not know, where there is an answer to know."""

LONGEST_ANSWER = 40
"""Words. A longer answer that contains the right one may contain the others too: only a literal match counts."""

_ARTICLES = frozenset(("a", "an", "the"))
_CONTRACTION = re.compile(r"n['’]t\b", re.IGNORECASE)
_REJECTIONS = re.compile(
    r"\b(?:(?:any|every|all|anything|everything|anyone|everyone|anybody|everybody)\b[\w ]{0,30} but|rather than|instead of|as opposed to|other than|apart from|except(?: for)?|excluding|unlike|but not"
    r"|(?:it|they|he|she|this|that|there|we|you) used? to(?: \w+)?|used? to be|former(?:ly)?|no longer(?: \w+)?"
    r"|(?:wrong|incorrect|false|mistaken|mistake|error) to \w+(?: that)?(?: (?:it|they|this|that) (?:is|are))?)$"
)
"""What stands right before a thing that is not meant."""
_LIMITS = re.compile(
    r"\b(?:no|not|never) (?:(?:more|less|fewer|later|longer|earlier|sooner|higher|lower|greater|larger|smaller|closer|nearer|further) than|"
    r"above|below|over|under|beyond|before|after|until|exceed\w*)\b|\bno matter\b|\bnever (?:\w+ )?(?:exceeds?|above|below|over|under|more|less)\b"
)
"""A "no" or "not" that sets a limit and denies nothing."""
_POLAR = word_set("is are was were may can could must should shall will would do does did has have need am")
_FORBIDDEN = word_set("forbidden prohibited banned excluded disallowed impermissible impossible refused barred")
_NO_MATTER = re.compile(r"\s*no (?:problems?|doubt|worr(?:y|ies)|objections?|issues?|question)\b", re.IGNORECASE)
"""A "no" that says yes."""
_OF_COURSE = re.compile(
    r"\s*(?:(?:certainly|of course|definitely|absolutely|surely|sure|indeed|naturally|clearly)\b(?P<not>,? not\b)?"
    r"|(?P<never>not at all|by no means|under no circumstances|on no account|never|in no case)\b)\s*(?=[,.;:!]|$)",
    re.IGNORECASE,
)
"""What stands for a yes or, with a "not", for a no."""
_POINTED = re.compile(r"(?<![\w.,])([01]?\d|2[0-3])\.([0-5]\d)(?![\w.,]?\d)")
"""A time of day as it is written where a time is asked for: 7.30."""
_CHOICE = re.compile(
    r"\s*,?\s*(?:\bor\b|/)\s*(?:(?:even|maybe|perhaps|about|else|up to|the)\s+)*[\u00a3$\u20ac]?", re.IGNORECASE
)
"""What makes a choice of the figures before and behind it."""
_ENUMERATION = re.compile(r"\s*(?:[,;/&]|,?\s*\band\b)\s*[\u00a3$\u20ac]?", re.IGNORECASE)
_NO_NOUNS = frozenset(map(stem, "later earlier afterwards thereafter otherwise instead respectively alone".split()))  # noqa: SIM905
"""What may stand behind a number that counts nothing."""
_ACRONYM = re.compile(r"\b[A-Z]{2,}\b")
_CODE = re.compile(r"\b(?:[A-Za-z]{1,6}[-/]?|[A-Z]{1,6} )\d+(?:[-/.]\d+)*(?:[-/ ]?[A-Z])?\b(?![-/]?\w)")
"""A name of letters, then digits: a form, a part, a room."""

_ASKED_LOW = re.compile(
    r"\b(?:may|must|can|should|shall)\b[^?]{0,40}\bnot (?:exceed|be exceeded|be passed)\b|"
    r"\b(?:at or (?:under|below)|under|below|no more than|not more than|not exceed(?:ing)?|within|less than|fewer than|up to)\s+(?:(?:what|which|how)\b|\w+ (?:figure|value|number)\b)"
    r"|\b(?:at most|maximum|greatest|largest|longest|highest|the most|no later than|until when|by when|deadline)\b|\bhow (?:many|much|long|far|fast|high|deep|heavy)\b[^?]*\bmay\b|\bhow (?:soon|fast|quickly) must\b",
    re.IGNORECASE,
)
_ASKED_HIGH = re.compile(
    r"\b(?:at or (?:over|above)|over|above|more than|exceeds?|beyond)\s+(?:what|which|how)\b|\bfrom (?:what|which)\b|\b(?:at least|minimum|smallest|shortest|fewest|the least)\b",
    re.IGNORECASE,
)


_ASKED_BESIDE = re.compile(
    r"(?:^|[.,:;]\s+)(?:(?P<low>below|under|less than|fewer than)|above|over|more than|beyond)\s+(?:what|which|how)\b",
    re.IGNORECASE,
)
"""What names the side itself, whatever is denied behind it: "Below which count is it not done?"."""


_HOW_RECENT = re.compile(r"\bhow recent(?:ly)? (?:must|should|need)\b(?!.*\bnot\b)", re.IGNORECASE | re.DOTALL)
"""What is to be recent may be nearer, too."""


def graded(question: ExamQuestion, answer: str) -> Grade:
    """The grade of *answer* without a judge; by `grade` and `refuses`."""
    if grade(question, answer):
        return "right"
    return "refused" if question.answer is not None and refuses(answer, question.question) else "wrong"


def grade(question: ExamQuestion, answer: str) -> bool:
    """Whether *answer* is right, by these rules in turn:

    1. A question without an answer is answered right by a refusal with no answer beside it, and by nothing else.
    2. The canonical answer or an alias, word for word (case, punctuation and articles aside), is right.
    3. The question itself, a refusal without an answer beside it, more than 40 words, the other one of yes and no or both, a
       second value of the same kind that no clause gives to another thing, or another name or figure offered right beside the
       right one: wrong.
    4. To a question for yes or no, a sentence that affirms or denies what is asked is that yes or no, unless it goes on with
       another value than the one asked about.
    5. An answer with figures is right when it has them all, with equal values (to 1 % where another unit rounds them), what
       they count, in their order where that tells them apart, and the canonical answer's other content words (they may stand
       in the question). "Every", "at least", "up to", "before" may be left out, but not turned round, and not added where
       neither another accepted answer, the evidence nor the question tells or leaves open as much.
    6. One without figures is right when the canonical words stand in it one after another, those of a list in any order,
       not denied, and with no alternative beside them.

    An answer of more than 4,000 characters, and twice as many as any accepted one has, is none of them: it is read for a
    refusal alone, so that grading takes no longer for it.
    """
    short = len(answer) <= max(LONGEST, *(2 * len(each) for each in (question.answer or "", *question.aliases)))
    if question.answer is None:
        return refuses(answer, question.question) or (short and _plain(answer) in map(_plain, question.aliases))
    return short and _says(question, answer)


def _says(question: ExamQuestion, answer: str) -> bool:
    """Whether *answer*, of no great length, says what is right for *question*, which has an answer; see `grade`."""
    said = _plain(answer)
    key = _key(question)
    accepted = list(key.spelled)
    if said in key.plain and ("+" not in answer or "+" in " ".join(accepted)):
        return True
    if not accepted or not said or said == _plain(question.question):
        return False
    if declines(answer):
        answer = guessed(answer, question.question)
        said = _plain(answer)
    if not said or len(answer.split()) > LONGEST_ANSWER:
        return False
    if key.right_verdict and says_yes_and_no(answer):
        return False
    verdict = key.verdict(answer)
    if verdict and verdict != key.right_verdict:
        return False
    answer = plain(_POINTED.sub(r"\1:\2", answer) if key.is_time else answer)
    answer = key.singles.sub("1 ", answer) if key.singles else answer
    found = figures_of(answer)
    if verdict and [verdict] in key.plain:
        return not key.gainsaid(verdict, found)
    if key.rivals(answer, found) or key.rejects(answer):
        return False
    return any(key.matches(each, answer, found) for each in accepted)


def _plain(text: str) -> list[str]:
    """The words of *text* without articles, unless there is nothing else ("A" is an answer)."""
    words = wording(_CONTRACTION.sub(" not", plain(text))).split()
    return [word for word in words if word not in _ARTICLES] or words


class _Key:
    """What is right for one question that has an answer."""

    def __init__(self, question: ExamQuestion) -> None:
        accepted = [each for each in (question.answer or "", *question.aliases) if wording(each)]
        self.asked = question.question
        spelled = {each: plain(each) for each in accepted}
        self.spelled = spelled
        """What is accepted, the canonical answer first, and its one spelling."""
        self.plain = [_plain(each) for each in accepted]
        self.figures = {each: figures_of(spelled[each]) for each in accepted}
        self.canonical = next(iter(self.figures.values()), [])
        self.told = [plain(span.text) for span in question.evidence if span.text]
        self.shown = [figure for text in self.told for figure in figures_of(text)]
        """What the evidence says, and its figures."""
        ones = {each.quantity.stop: each for each in self.canonical if each.quantity.value == 1 and each.counted}
        nouns = [spelled[accepted[0]][stop:].split()[0] for stop in ones]
        self.singles = (
            re.compile(rf"\ban?\s+(?=(?:{'|'.join(map(re.escape, nouns))}))", re.IGNORECASE) if nouns else None
        )
        """What stands for a "one" of the canonical answer: the "a" of "a form"."""
        self.is_time = any(figure.quantity.unit == CLOCK for figure in self.canonical)
        self.words = _content(self.asked).union(
            *(_content(each) for each in spelled.values()), _content(question.unit or "")
        )
        canonical = {figure.quantity.unit for figure in self.canonical}
        canonical |= {unit_of(question.unit)} if question.unit else set()
        asked = {unit_of(word.strip("?.,;:()")) for word in self.asked.split()}
        others = {figure.quantity.unit for figures in self.figures.values() for figure in figures}
        self.units = (canonical - {None}) or ((asked | others) - {None})
        """Units that go without saying: 72 stands for "72 hours", but 3 does not stand for its alias "3 days"."""
        self.known = [f.quantity for figures in self.figures.values() for f in figures]
        self.polar = _is_polar(self.asked)
        opened = [words[0] for words in self.plain]
        self.right_verdict = next((word for word in opened if word in {"yes", "no"}), "")
        self.names = " ".join([self.asked, *accepted])
        self.codes = {_squeezed(code) for code in _CODE.findall(" ; ".join(accepted))}

    def verdict(self, answer: str) -> str:
        """The yes or no that *answer* says, in a word or, where that is asked for, in a sentence; "" where it says none."""
        if not self.right_verdict:
            return ""
        said = _plain(answer)
        if matter := _NO_MATTER.match(answer):
            return "no" if _denies(answer[matter.end() :]) else "yes"
        if said[0] in {"yes", "no"}:
            return said[0]
        if self.polar and (opened := _OF_COURSE.match(answer)):
            return "no" if opened["not"] or opened["never"] else "yes"
        forbidden = bool(_FORBIDDEN & {*said})
        denied = forbidden or (_denies(answer) and bool(PERMITS & {stem(word) for word in said}))
        if self.polar and not _denies(self.asked) and len(said) <= 6 and denied and not (forbidden and _denies(answer)):
            return "no"  # "drinking is not permitted there"
        if not self.polar or _denies(self.asked):
            return ""
        first = _plain(re.split(r"[:;.!?](?!\d)", answer.strip(), maxsplit=1)[0])
        short = 0 < len(first) <= (6 if _denies(answer) else 4) and first[0] in {
            "it",
            "they",
            "he",
            "she",
            "that",
            "this",
            "one",
            "there",
        }
        asked = _content(self.asked)
        if short or 2 * len(asked & _content(answer)) >= len(asked) > 0:
            return "no" if _denies(answer) or _FORBIDDEN & {*said} else "yes"
        return ""

    def gainsaid(self, verdict: str, found: Sequence[Figure]) -> bool:
        """Whether a right yes or no goes on with a figure that none of the accepted answers or, behind a yes, the question has."""
        known = [*self.known, *(quantities(plain(self.asked)) if verdict == "yes" else [])]
        said = [each.quantity for each in found if not (each.denied or each.aside or each.label)]
        if any(same(one, other) for one in said for other in known):
            return False
        return any(gainsays(one, other) for one in said for other in known)

    def rivals(self, answer: str, found: Sequence[Figure]) -> bool:
        """Whether an answer names a second value of a kind that the right answer has, or another name of its form."""
        known = [*self.known, *quantities(plain(self.asked))]
        right = [each for each in found if any(same(each.quantity, other) for other in self.known)]
        others = [
            each
            for each in found
            if not (each.denied or each.aside) and not any(same(each.quantity, other) for other in known)
        ]
        others = [each for each in others if not is_of_another(each, right, answer, _content(self.asked))]
        if any(self._is_rival(each) for each in others) or self._has_choice(answer, found, others):
            return True
        name = {*_ACRONYM.findall(next(iter(self.spelled.values()), ""))}
        other = {*_ACRONYM.findall(answer)} - {*_ACRONYM.findall(self.names)}
        if name and not name & {*_ACRONYM.findall(answer)} and {*map(len, name)} & {*map(len, other)}:
            return True
        forms = {_form(code) for code in self.codes}
        asked = {_squeezed(code) for code in _CODE.findall(self.asked)}
        said = {_squeezed(code[0]) for code in _CODE.finditer(answer) if not _rejected(answer[: code.start()])}
        return any(_form(code) in forms and code not in self.codes | asked for code in said)

    def _is_rival(self, other: Figure) -> bool:
        """Whether a figure that is not right is of a kind with one that is; a number that counts or numbers nothing is of any."""
        if other.label:
            return any(each.label == other.label for each in self.canonical)
        kind = kind_of(other.quantity)
        if kind:
            converted = any(near(other.quantity, each) for each in self.known)
            return not converted and kind in {kind_of(each) for each in self.known}
        counts = other.counted - _NO_NOUNS
        if counts and (not counts & self.words or any(each.quantity.unit for each in self.canonical)):
            return False
        return len(self.canonical) == 1 or any(not kind_of(each) for each in self.known)

    def _has_choice(self, answer: str, found: Sequence[Figure], others: Sequence[Figure]) -> bool:
        """Whether one of the *others* is offered in place of the figure beside it: "14 days or 2 months"."""
        if not self.canonical:
            return False
        for one, other in pairwise(found):
            if (one in others) == (other in others):
                continue
            between = answer[one.quantity.stop : other.quantity.start]
            spans = all(each.quantity.unit and each.quantity.unit.dimension in SPANS for each in (one, other))
            if _CHOICE.fullmatch(between) or (spans and _ENUMERATION.fullmatch(between)):
                return True
        return False

    def rejects(self, answer: str) -> bool:
        """Whether an accepted answer without figures stands in *answer* only to be denied, or as one of two choices."""
        said = _stemmed(answer)
        bare = [
            words for each, figures in self.figures.items() if not figures and (words := _stemmed(self.spelled[each]))
        ]
        meant = [words for words in bare if _contains(said, words)]
        names = [
            self.spelled[each] for each, figures in self.figures.items() if not figures and not self._is_code(each)
        ]
        names = [name for name in names if _plain(name) not in (["yes"], ["no"])]
        if any(is_one_of_several(answer, name, self.words) or self._is_denied(answer, name) for name in names):
            return True
        return any(
            _contains(said, words, meant=False) and not any(_contains(other, words, meant=False) for other in meant)
            for words in bare
        )

    def _is_denied(self, answer: str, name: str) -> bool:
        """Whether *answer* denies of *name*, an accepted answer, what was asked."""
        return is_denied_behind(answer, name, self.asked)

    def matches(self, right: str, answer: str, found: Sequence[Figure]) -> bool:
        """Whether *answer*, in one spelling and with the figures *found*, says what *right* says."""
        words = _plain(right)
        if words in (["yes"], ["no"]):
            return False  # `verdict` has seen to it
        if self._is_code(right):
            code = _squeezed(_CODE.findall(right)[0])
            spots = [spot.start() for spot in _CODE.finditer(answer) if _squeezed(spot[0]) == code]
            if spots:
                return not all(_rejected(answer[:start]) for start in spots)
        if not self.figures[right]:
            return _states(answer, right)
        if not self._has_all(self.figures[right], right, found):
            return False
        needed = _content(self.spelled[right]) - {word for word in words if word in {"yes", "no"}}
        # A sentence may turn on its "not"; for a bare value the comparator has been compared.
        if _denies(right) != _denies(answer) and (_denies(right) or len(needed) > 2):
            return False
        return needed <= _content(answer) | _content(self.asked)

    def _is_code(self, right: str) -> bool:
        """Whether *right* is a name of letters and digits, by itself or behind what it is the name of: "Form B-12"."""
        codes = _CODE.findall(right)
        return len(codes) == 1 and {*_plain(right.replace(codes[0], " "))} <= LABELS

    def _has_all(self, figures: Sequence[Figure], right: str, found: Sequence[Figure]) -> bool:
        """Whether each of *figures* is among those *found*; in their order, unless what they count tells them apart."""
        if any(self._misplaced(each) for each in found):
            return False
        taken = [[other.place for other in found if self._agree(each, other)] for each in figures]
        if not all(taken):
            return False
        apart = len(figures) > 1 and all(each.counted or each.quantity.unit for each in figures) and all(
            any(other.place in places and (other.counted & each.counted or other.quantity.unit) for other in found)
            for each, places in zip(figures, taken, strict=True)
        )  # fmt: skip
        kinds = {kind_of(each.quantity) for each in figures}
        if apart and (len(kinds) == len(figures) or all(each.counted for each in figures)):
            return True
        if _is_set(self.spelled[right], figures):
            return len({place for places in taken for place in places}) >= len(figures)
        upcoming = iter(found)
        return all(any(self._agree(each, other) for other in upcoming) for each in figures)

    def _misplaced(self, said: Figure) -> bool:
        """Whether a figure of the answer counts what another figure of the canonical answer counts."""
        if len(self.canonical) < 2 or not said.counted:
            return False
        own = [each for each in self.canonical if same(each.quantity, said.quantity) and each.counted]
        others = [
            each for each in self.canonical if not same(each.quantity, said.quantity) and each.counted & said.counted
        ]
        return bool(own and others) and not any(each.counted & said.counted for each in own)

    def _agree(self, right: Figure, said: Figure) -> bool:
        """Whether a figure of the answer is the right one: value, unit and side, and not denied.

        A number without a unit must not number something else.
        """
        one, other = right.quantity, said.quantity
        if said.denied or not same(one, other) or not self._stands_alike(right, said):
            return False
        if one.unit is None and any(parts_at(each, other) for each in self.known if same(one, each)):
            return False
        if one.unit and other.unit:
            return True
        if other.unit:
            return any(same(one._replace(unit=unit), other) for unit in self.units)
        if said.label and said.label not in self.words and said.label != right.label:
            return False
        if right.label and said.label and right.label != said.label:
            return False
        if said.counted and not said.counted & self.words and not 0 < other.value < 1:  # "a two-thirds majority"
            return False
        return one.unit is None or one.unit in self.units

    def _stands_alike(self, right: Figure, said: Figure) -> bool:
        """Whether a figure of the answer is told as often, on the side and in the order in which the right one is."""
        one, other = right.quantity, said.quantity
        order = one.relation or order_asked(self.asked)
        if order and other.relation and order != other.relation:
            return False
        often, bound = self._recurs(right), one.bound or self._bound(one)
        if often and said.manner != "every" and (other.bound or other.relation or said.manner == "for"):
            return False
        if said.manner == "every" and not often and (bound or asks_how_long(self.asked)):
            return False
        if said.manner == "every" and other.comparator == "after":
            return True  # "after every 72 hours"
        return not other.bound or (bound == other.bound if bound else self._may_be_added(other))

    def _recurs(self, right: Figure) -> bool:
        """Whether the right answer, another accepted one, the evidence or the question makes a value one of every so often."""
        told = [
            figure for figures in (*self.figures.values(), self.shown) for figure in figures if figure.manner == "every"
        ]
        return asks_how_often(self.asked) or any(same(right.quantity, figure.quantity) for figure in told)

    def _may_be_added(self, said: Quantity) -> bool:
        """Whether a side that nothing tells may stand in the answer: as the question leaves it, or as times are told."""
        if said.bound == "low" and _HOW_RECENT.search(self.asked):
            return True
        if is_beyond(said):
            return False
        if _ASKED_LOW.search(self.asked) or _ASKED_HIGH.search(self.asked) or _denies(self.asked):
            return True
        return is_in_time(said, self.asked) or leaves_open(self.asked, said)

    def _bound(self, quantity: Quantity) -> Bound:
        """On which side of *quantity* one may be, by another accepted answer or by the question; "" where nobody says."""
        told: set[Bound] = {other.bound for other in self.known if other.bound and same(quantity, other)}
        if not told and len(self.canonical) < 2 and (beside := _ASKED_BESIDE.search(self.asked)):
            return "low" if beside["low"] else "high"
        if not told and (len(self.canonical) < 2 or kind_of(quantity) in MONTHS) and not _denies(self.asked):
            sides: tuple[tuple[Bound, re.Pattern[str]], ...] = (("low", _ASKED_LOW), ("high", _ASKED_HIGH))
            told = {side for side, pattern in sides if pattern.search(self.asked)}
        return told.pop() if len(told) == 1 else side_of(quantity, self.told)


@lru_cache(maxsize=1024)
def _key(question: ExamQuestion) -> _Key:
    """The key of *question*: every contestant is graded by it."""
    return _Key(question)


def _is_set(right: str, figures: Sequence[Figure]) -> bool:
    """Whether nothing but "and" stands between the figures of *right*: "3 and 4" is "4 and 3"."""
    if len(figures) < 2 or any(each.counted for each in figures[:-1]):
        return False
    spots = sorted((each.quantity.start, each.quantity.stop) for each in figures)
    between = [right[stop:start] for (_, stop), (start, _) in pairwise(spots)]
    return all(re.fullmatch(r"\s*(?:,|and|&|,\s*and)\s*(?:[^\W\d_]+\s+)?", each) for each in between) and not any(
        each.quantity.unit for each in figures
    )


def _is_polar(asked: str) -> bool:
    """Whether yes or no is asked for, in the question or its last clause."""
    clauses = re.split(r"[.,:;?!]\s+", asked.strip())
    openings = [clause.split()[0].casefold() for clause in clauses if clause.split()]
    return any(word in _POLAR for word in openings)


def _content(text: str) -> frozenset[str]:
    return frozenset(token.stem for token in tokens(text) if token.content)


def _negated(words: Iterable[str]) -> bool:
    return any(word in NEGATIONS for word in words)


def _denies(text: str) -> bool:
    """Whether *text* denies something; a limit ("no more than") denies nothing."""
    folded = wording(_CONTRACTION.sub(" not", text))
    opened = re.sub(r"^no(?= )", "", folded) if re.match(r"\s*no\b\s*[,.;:]", text, re.IGNORECASE) else folded
    return _negated(_LIMITS.sub(" ", opened).split())


def _squeezed(code: str) -> str:
    """A name without what parts its letters from its digits."""
    return re.sub(r"[\W_]+", "", code).casefold()


def _form(code: str) -> str:
    """How a name is made: letters before digits, and so on."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", code))


def _rejected(text: str) -> bool:
    """Whether *text* ends so that what follows is denied."""
    before = " ".join(wording(_CONTRACTION.sub(" not", text)).split())
    return _negated(before.split()[-3:]) or bool(_REJECTIONS.search(before))


_MEMBERS = re.compile(r"\s*(?:,\s*and\b|,|;|\band\b|&)\s*")


def _states(answer: str, right: str) -> bool:
    """Whether *answer* says *right*, which has no figures: as it stands, or each member of a list somewhere."""
    said = _stemmed(answer)
    if _contains(said, _stemmed(right)):
        return True
    members = [_stemmed(each) for each in _MEMBERS.split(right) if wording(each)]
    if len(members) > 1 and all(members) and max(map(len, members)) <= 5:
        return all(_contains(said, each, joined=True) for each in members)
    return _follows(answer, right)


def _stemmed(text: str) -> list[str]:
    """The words of *text* as their stems, articles aside; words that carry no content stay as they are."""
    words = _plain(text)
    stems = [token.stem for word in words for token in tokens(word)[:1]]
    return stems if len(stems) == len(words) else words


def _follows(answer: str, right: str) -> bool:
    """Whether the content words of *right*, three or more, stand in *answer* in their order, and neither denies the other."""
    wanted = [token.stem for token in tokens(right) if token.content]
    if len(wanted) < 3 or _denies(right) != _denies(answer):
        return False
    upcoming = iter([token.stem for token in tokens(answer) if token.content])
    return all(any(word == other for other in upcoming) for word in wanted)


def _is_another(before: Sequence[str], *, joined: bool) -> bool:
    """Whether what stands *before* names something else beside what follows: "red or", "the porter and"."""
    if before[-1:] == ["or"]:
        return True
    return (
        not joined and before[-1:] == ["and"] and len(before) > 1 and any(token.content for token in tokens(before[-2]))
    )


_COMPARED = word_set("more less fewer above below over under higher lower later earlier greater longer shorter older")


def _contains(said: Sequence[str], words: Sequence[str], *, meant: bool = True, joined: bool = False) -> bool:
    """Whether *words* stand in *said* one after another.

    Where they must be *meant*: not denied or rejected shortly before, nor one of two choices. *joined*: as a member of a list.
    """
    size = len(words)
    for start in range(len(said) - size + 1):
        if said[start : start + size] != words:
            continue
        before, behind = said[:start], said[start + size :]
        choice = _is_another(before, joined=joined) or (behind[:1] == ["or"] and not _COMPARED & {*behind[1:2]})
        if not meant or not (_negated(before[-3:]) or _REJECTIONS.search(" ".join(before)) or choice):
            return True
    return False
