"""Questions that training had, too, are no exam: they are found by their words and dropped, and counted.

Brown et al. (2020) compare n-grams; the Jaccard index also finds what was only turned round. Likeness alone is no leak: "What
is the dose of A?" and "What is the dose of B?" share nearly all words, and who learned the one cannot answer the other. So,
but for the same text, a training question is a leak only where it has the same figures and its own answer would be right.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from typing import Literal, get_args

from text2expert.examiner.grading import grade
from text2expert.examiner.results import Dropped
from text2expert.golden.facts import question as asked_by
from text2expert.records import ExamQuestion, ExamRowName, GoldRecord, wording

JACCARD = 0.7
"""Questions are alike when of the words that stand in either so many, or more, stand in both."""

JACCARD_REWORDED = 0.9
"""For questions that are another wording of a trained one on purpose: then it is hardly another."""

GRAM = 8
"""Words in a row."""

GRAMS_SHARED = 0.5
"""Questions are alike when so many, or more, of the exam question's runs of 8 words stand in one training question."""

_Reason = Literal["same_text", "jaccard", "eight_grams"]

_EXEMPT: frozenset[ExamRowName] = frozenset(("taught",))
"""Asked in the words of training on purpose."""

_REWORDED: frozenset[ExamRowName] = frozenset(("held_out", "new_template"))
"""Asked in other words than those trained, on purpose; see `decontaminate`."""

LITTLE_WORDS = frozenset(
    """a an the this that these those is are was were be been being am do does did has have had will would
    of in on at to for from by with as it its s their there
    please kindly tell me us thanks thank you quick question hi hello hey dear sorry excuse can could i d like want know
    say just""".split()  # noqa: SIM905 - a list of sixty strings is harder to read
)
"""Function words of English and words of politeness: they come and go, and the question stays. Negations, question words and
words of order (before, above, without) are none of them."""


def decontaminate(
    exam: Iterable[ExamQuestion], records: Iterable[GoldRecord]
) -> tuple[list[ExamQuestion], tuple[Dropped, ...]]:
    """The questions of *exam* that training did not have, in their order, and how many were dropped for which reason.

    A question is dropped for the first of these that is so of a training question:

    - ``same_text``: it has the same words in the same order (`text2expert.records.wording`);
    - ``jaccard``: their sets of words are the same but for `LITTLE_WORDS`, or have a Jaccard index of 0.7 or more;
    - ``eight_grams``: half or more of this one's runs of 8 words stand in it, or all of its own in this one, which then only
      says more around it ("A colleague wants to know this for sure: ...").

    For the latter two both must have the same figures, and its answer must be graded right here.

    The row ``taught`` is left as it is. In ``held_out`` and ``new_template`` the index must be 0.9 or more: they *are* another
    wording of what is trained, so that every answer agrees, and two short wordings of one question share most of their words.
    What only says please or is turned round is dropped there, too, as is what repeats a long run of a trained wording: of the
    160 such questions of the sample handbook that repeat none, 22 are dropped for their words.

    Time grows with the questions and with the training questions that share a rare word with them, not with the product.
    """
    training = _Training(records)
    kept: list[ExamQuestion] = []
    dropped: Counter[_Reason] = Counter()
    for question in exam:
        reason = None if question.row in _EXEMPT else training.leak(question)
        if reason is None:
            kept.append(question)
        else:
            dropped[reason] += 1
    return kept, tuple(Dropped(reason=reason, n=dropped[reason]) for reason in get_args(_Reason) if dropped[reason])


class _Training:
    """The training questions by their words."""

    def __init__(self, records: Iterable[GoldRecord]) -> None:
        answers: dict[str, dict[str, None]] = defaultdict(dict)
        for record in records:
            said = (text for text in (record.short_answer, record.output) if text.strip())
            answers[wording(asked_by(record))] |= dict.fromkeys(said)
        self.answers = answers
        self.contents: dict[tuple[frozenset[str], frozenset[str]], list[str]] = defaultdict(list)
        for text in answers:
            self.contents[_content(text)].append(text)
        self.words = _Words(answers)
        self.grams = _Grams(answers)

    def leak(self, question: ExamQuestion) -> _Reason | None:
        """Why *question* is known from training; None: it is not."""
        text = wording(question.question)
        if text in self.answers:
            return "same_text"
        least = JACCARD_REWORDED if question.row in _REWORDED else JACCARD
        if self._tells(question, chain(self.contents.get(_content(text), ()), self.words.alike(text, least))):
            return "jaccard"
        if self._tells(question, self.grams.alike(text)):
            return "eight_grams"
        return None

    def _tells(self, question: ExamQuestion, texts: Iterable[str]) -> bool:
        """Whether the answer to one of the training questions *texts* would be right."""
        tried: set[str] = set()
        for text in texts:
            for answer in self.answers[text]:
                if answer not in tried:
                    tried.add(answer)
                    if grade(question, answer):
                        return True
        return False


def _figures(text: str) -> frozenset[str]:
    return frozenset(word for word in text.split() if any(map(str.isdecimal, word)))


def _content(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Figures and words of *text* without `LITTLE_WORDS`; with them, where it has no others."""
    words = frozenset(text.split())
    return _figures(text), words - LITTLE_WORDS or words


def _grams(text: str) -> frozenset[str]:
    words = text.split()
    return frozenset(" ".join(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1))


class _Words:
    """Texts by their rarest words.

    Two sets of n and m words with a Jaccard index of J or more share k >= J / (1 + J) * (n + m) words, so that, both sorted
    alike, they share one of the first n - k + 1 and m - k + 1 (prefix filtering, Chaudhuri et al., 2006; both sides, Xiao et
    al., 2008). Sorted by rarity, these are seldom the words of a frame that hundreds of questions have.
    """

    def __init__(self, texts: Collection[str]) -> None:
        self._words = {text: frozenset(text.split()) for text in texts}
        self._frequency = Counter(word for words in self._words.values() for word in words)
        self._texts: dict[tuple[frozenset[str], str, int, int], list[str]] = defaultdict(list)
        """By figures, word, number of words, and place of the word among them."""
        for text in texts:
            words = self._rarest_first(self._words[text])
            for place in range(len(words) - _ceil(JACCARD * len(words)) + 1):
                self._texts[_figures(text), words[place], len(words), place].append(text)

    def _rarest_first(self, words: Iterable[str]) -> list[str]:
        return sorted(words, key=lambda word: (self._frequency[word], word))

    def alike(self, text: str, least: float = JACCARD) -> Iterator[str]:
        """The texts with the figures of *text* whose words have a Jaccard index of *least*, at least `JACCARD`, with its own."""
        mine, figures = frozenset(text.split()), _figures(text)
        words, n = self._rarest_first(mine), len(mine)
        found: dict[str, None] = {}
        for m in range(_ceil(JACCARD * n), int(n / JACCARD + _ROUNDING) + 1):
            k = _ceil(JACCARD / (1 + JACCARD) * (n + m))
            for word in words[: max(0, n - k + 1)]:
                for place in range(m - k + 1):
                    found |= dict.fromkeys(self._texts.get((figures, word, m, place), ()))
        for other in found:
            theirs = self._words[other]
            if len(mine & theirs) / len(mine | theirs) >= least:
                yield other


class _Grams:
    """Texts by their runs of 8 words."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: dict[tuple[frozenset[str], str], list[str]] = defaultdict(list)
        """By figures and run."""
        for text in texts:
            for gram in _grams(text):
                self._texts[_figures(text), gram].append(text)

    def alike(self, text: str) -> Iterator[str]:
        """The texts with the figures of *text* that have `GRAMS_SHARED` or more of its runs, or whose runs it has all."""
        mine, figures = _grams(text), _figures(text)
        shared = Counter(other for gram in mine for other in self._texts.get((figures, gram), ()))
        return (other for other, n in shared.items() if n / len(mine) >= GRAMS_SHARED or n == len(_grams(other)))


_ROUNDING = 1e-9


def _ceil(number: float) -> int:
    """Rounded up; a product that is whole but for a rounding error counts as whole."""
    return math.ceil(number - _ROUNDING)
