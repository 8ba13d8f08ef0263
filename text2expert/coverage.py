"""In which order passages are taught, so that a budget that ends early has covered the whole document, densest first."""

import re
from collections.abc import Sequence

from text2expert.records import Chunk

NEIGHBOURS = 8
"""Passages of one stretch of the text; each round of teaching takes one of every stretch."""

_WORDS = re.compile(r"\w+")


def density(chunk: Chunk) -> int:
    """How much there is to ask about *chunk*: its different words, those with a digit counted twice."""
    words = set(_WORDS.findall(chunk.text.casefold()))
    return len(words) + sum(1 for word in words if any(map(str.isdigit, word)))


def spread(densities: Sequence[int]) -> list[int]:
    """The order in which to take passages of these *densities* (in the order of the text), as places in the text.

    Every stretch of `NEIGHBOURS` passages gives its densest, then its second densest and so on; the stretches of a round
    are visited in the order of the van der Corput sequence (1935), so that a round cut short is spread over the text as
    well.
    """
    stretches = [
        sorted(range(start, min(start + NEIGHBOURS, len(densities))), key=lambda place: (-densities[place], place))
        for start in range(0, len(densities), NEIGHBOURS)
    ]
    bits = max(1, (len(stretches) - 1).bit_length())
    visits = sorted(range(len(stretches)), key=lambda number: int(f"{number:0{bits}b}"[::-1], 2))
    return [stretches[number][turn] for turn in range(NEIGHBOURS) for number in visits if turn < len(stretches[number])]
