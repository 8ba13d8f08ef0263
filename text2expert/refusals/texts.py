"""What the texts hold, word by word, so that it can be said what they do not hold."""

import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from text2expert.refusals.words import Class, Entry, stem, stems, word_set

GENERIC: Mapping[Class, frozenset[str]] = {
    "person": word_set("staff employee person people personnel worker member user anyone anybody everyone everybody nobody someone somebody whoever contractor team adult visitor "
        "party colleague crew workforce public human individual holder"),
    "device": word_set("equipment device item machine machinery appliance apparatus asset tool instrument article object goods thing everything anything nothing material vehicle furniture "
        "fixture fitting installation plant gear hardware"),
    "document": word_set("document record file paper form data information material item thing everything anything nothing correspondence letter publication work text message"),
    "place": word_set("room area place building premises site location space facility ground everywhere anywhere nowhere"),
    "material": word_set("material substance product chemical good goods liquid supply supplies waste everything anything nothing item fluid solid powder ingredient"),
}  # fmt: skip
"""Words for all things of a class, in the singular: what is said of staff at large is said of a gardener too."""

_WORD = re.compile(r"[^\W_]+")
_SENTENCE = re.compile(r"(?<=[.!?;:])\s+|\n\s*\n")
_BROKEN = re.compile(r"(\w)-\n\s*(?=\w)")
_ENGLISH = word_set("the of and to in is for that be with by are not or from this at it as must if when which")
_OTHER = word_set("der die das und ist nicht mit von den ein eine le la les et des une est pour dans du el los las y una para por con il lo che di per een het van niet op zijn och att som är "
    "og på ikke det o os da em não um uma на и в не w na nie się jest az egy hogy ve bir için")  # fmt: skip


class Texts:
    """The words of texts and of the questions on them, each once; memory grows with the vocabulary, not with the texts."""

    def __init__(self, texts: Iterable[str], questions: Iterable[str] = ()) -> None:
        """Read *texts* and *questions*, each once and one by one."""
        self.generic: dict[Class, set[str]] = {name: set() for name in GENERIC}
        languages: Counter[str] = Counter()
        words: set[str] = set()
        self.foreign = False
        for text in texts:
            folded = fold(text)
            joined = _BROKEN.sub(r"\1", folded)
            counted = Counter(_WORD.findall(folded))
            languages.update(counted)
            self.foreign |= not english(counted)
            words.update(counted, _WORD.findall(joined))
            for sentence in _SENTENCE.split(joined):
                inside = set(_WORD.findall(sentence))
                for name, generic in GENERIC.items():
                    if any(singular(word) in generic for word in inside):
                        self.generic[name] |= inside
        self.foreign |= not languages or not any(languages[word] for word in _ENGLISH)
        for question in questions:
            words.update(_WORD.findall(fold(question)))
        self._words = sorted(words)

    def lacks(self, entry: Entry) -> bool:
        """Whether no word of *entry* and none of its cues occurs, in any form."""
        return not any(self._begins(part) for text in (entry.phrase, *entry.cues) for part in stems(text))

    def lacks_word(self, word: str) -> bool:
        """Whether *word* occurs nowhere as it is, case aside."""
        folded = fold(word)
        at = bisect_left(self._words, folded)
        return self._words[at : at + 1] != [folded]

    def said_of_all(self, verb: str, things: Class) -> bool:
        """Whether *verb* stands in a sentence about things of that class at large, so that it may be said of any."""
        root = stem(verb.casefold())
        return any(word.startswith(root) for word in self.generic[things])

    def _begins(self, root: str) -> bool:
        if len(root) < 4:  # "pet" is not the beginning of "petrol"
            return not all(self.lacks_word(form) for form in (root, root + "s", root + "es"))
        at = bisect_left(self._words, root)
        return at < len(self._words) and self._words[at].startswith(root)


def fold(text: str) -> str:
    """*text* as it counts when words are compared."""
    return unicodedata.normalize("NFKC", text).casefold()


def english(words: Mapping[str, int]) -> bool:
    """Whether words, with how often each occurs, may be of an English text: another language's small words are rarer.

    Few words prove nothing, so a table or a list of names passes.
    """
    ours, theirs = sum(words.get(w, 0) for w in _ENGLISH), sum(words.get(w, 0) for w in _OTHER)
    total = sum(words.values())
    if total and sum(n for word, n in words.items() if not word.isascii()) > total / 3:
        return False
    return theirs < 5 or ours > 2 * theirs


def singular(word: str) -> str:
    """The singular of a regular noun in lower case."""
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def numbers(text: str) -> Iterator[int]:
    """Every run of digits in *text* as a number."""
    return (int(run) for run in re.findall(r"[0-9]{1,9}", text))
