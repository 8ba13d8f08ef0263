"""A text as tokens: words, numbers and boundaries, with what a number counts or is the number of."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from text2expert.evidence.quantities import NUMBER_STARTS, Quantity, number_at, with_shared_units
from text2expert.evidence.units import counted_word
from text2expert.evidence.wording import FUNCTION, concept, stem


class Token(NamedTuple):
    """A word, a number or a boundary (punctuation), in the order of the text."""

    text: str
    stem: str
    content: bool
    quantity: Quantity | None = None
    boundary: bool = False


class Figure(NamedTuple):
    """A number with the words that say what it numbers or counts."""

    quantity: Quantity
    label: str
    """The word before it: "section" of "Section 4.3", a column's header; empty where there is none."""
    noun: str
    """The word after it, where it has no unit: "nurse" of "two nurses"; empty where there is none."""


_TOKEN = re.compile(
    r"[^\W\d_][^\W_]*(?:['’](?:s|t|re|ll|ve|d)\b)?|[;:.,()\u2014?!](?!\d)|(?<![\w.,])[-\u2212\u2013]?\.?\d|[\u00bd\u00bc\u00be\u2153\u2154]"
    r"|[;:.,()\u2013\u2014?!]"
)
_NAME = re.compile(r"[^\W_]+")  # "3D", where no number is


@lru_cache(maxsize=65536)
def _word(text: str) -> tuple[str, bool]:
    lower = text.lower().replace("’", "'")
    if lower.endswith("n't"):
        return "not", False
    base = lower.removesuffix("'s")
    if base in FUNCTION:
        return base, False
    return stem(base), not base.isdigit() or len(base) > 1


@lru_cache(maxsize=65536)
def _plain(text: str) -> Token | None:
    """The token of a word or a boundary; None where a number may start."""
    if text in _BOUNDARIES:
        return Token(text, text, content=False, boundary=True)
    if text[0].isalpha() and text.lower() not in NUMBER_STARTS:
        return Token(text, *_word(text))
    return None


def tokens(text: str) -> list[Token]:
    """The words, numbers and boundaries of *text*."""
    found: list[Token] = []
    numbers: list[Quantity] = []
    places: list[int] = []
    stop = 0
    for match in _TOKEN.finditer(text):
        start = match.start()
        if start < stop:
            continue
        word = match.group()
        token = _plain(word)
        if token is None:
            quantity = number_at(text, start, word)
            if quantity is not None:
                stop = quantity.stop
                numbers.append(quantity)
                places.append(len(found))
                token = Token(quantity.text, "#", content=False, quantity=quantity)
            else:
                if not word[0].isalpha() and (name := _NAME.match(text, start)):
                    word, stop = name.group(), name.end()
                token = Token(word, *_word(word))
        found.append(token)
    for place, quantity in zip(places, with_shared_units(text, numbers), strict=True):
        if quantity is not found[place].quantity:
            found[place] = found[place]._replace(quantity=quantity)
    return found


_BOUNDARIES = frozenset(";:.,()\u2013\u2014?!")


def content(made: Sequence[Token]) -> frozenset[str]:
    """The content words of *made*, as concepts; what is counted per unit ("250 requests per second") is one."""
    found = {concept(token.stem) for token in made if token.content}
    for token in made:
        if (
            token.quantity is not None
            and token.quantity.unit is not None
            and (word := counted_word(token.quantity.unit))
        ):
            found.add(concept(stem(word)))
    return frozenset(found)


def figures(made: Sequence[Token]) -> tuple[Figure, ...]:
    """The numbers of *made* with their labels and nouns; a label holds for "5 or 6" as a whole."""
    found = []
    label = ""
    for i, token in enumerate(made):
        if token.quantity is None:
            if token.content or token.boundary:
                label = ""
            continue
        before = made[i - 1] if i else None
        if before is not None and before.text == "(" and _is_enumerator(made, i):
            continue
        if before is not None and before.content:
            label = concept(before.stem)
        after = made[i + 1] if i + 1 < len(made) and token.quantity.unit is None else None
        noun = concept(after.stem) if after is not None and after.content and after.stem not in _OPERATORS else ""
        found.append(Figure(token.quantity, label, noun))
    return tuple(found)


_OPERATORS = frozenset(map(stem, ("plus", "minus", "divided", "multiplied", "less")))


def _is_enumerator(made: Sequence[Token], i: int) -> bool:
    """The "(2)" that counts the parts of a paragraph."""
    first = i < 2 or made[i - 2].boundary
    return first and i + 1 < len(made) and made[i + 1].text == ")" and made[i].text.isdigit() and len(made[i].text) < 3
