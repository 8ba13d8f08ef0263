"""Who is asked the exam's questions."""

from collections import defaultdict
from collections.abc import Iterable

from text2expert.records import ExamQuestion, GoldRecord, wording


class NearestQuestion:
    """The contestant to beat: the answer of the training question whose words are most like those asked (Jaccard)."""

    def __init__(self, records: Iterable[GoldRecord]) -> None:
        first: dict[str, str] = {}
        for record in records:
            first.setdefault(wording(record.instruction), record.output)
        # By wording, so that ties fall the same way whatever the order of the records.
        known = sorted(first)
        self._answers = [first[words] for words in known]
        self._words = [frozenset(words.split()) for words in known]
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, words in enumerate(self._words):
            for word in words:
                self._places[word].append(place)

    def answer(self, question: str) -> str:
        """The answer of the nearest training question; empty when no word is shared."""
        asked = frozenset(wording(question).split())
        best, best_place = 0.0, -1
        seen: set[int] = set()
        # Rare words first: whoever shares only the words that are left cannot come closer than their share of the question.
        left = len(asked)
        for word in sorted(asked, key=lambda word: (len(self._places.get(word, ())), word)):
            if left / len(asked) < best:
                break
            for place in self._places.get(word, ()):
                if place not in seen:
                    seen.add(place)
                    common = len(asked & self._words[place])
                    likeness = common / (len(asked) + len(self._words[place]) - common)
                    if (likeness, -place) > (best, -best_place):
                        best, best_place = likeness, place
            left -= 1
        return self._answers[best_place] if best_place >= 0 else ""

    def answers(self, exam: Iterable[ExamQuestion]) -> dict[str, str]:
        """Its answers to *exam*: question id -> answer."""
        return {question.id: self.answer(question.question) for question in exam}
