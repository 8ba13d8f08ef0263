"""Finding a quote in its passage, however typography, white space and line breaks have changed on the way."""

import unicodedata

_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u00b4`", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"),
        **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", None),
    }
)


def _folded(text: str, *, case: bool) -> tuple[str, list[int]]:
    """*text* without what typography changes, and for each remaining character its place in *text*."""
    made: list[str] = []
    places: list[int] = []
    space = True
    for place, character in enumerate(text):
        if character.isspace():
            if not space:
                made.append(" ")
                places.append(place)
            space = True
            continue
        plain = (
            character
            if character.isascii()
            else unicodedata.normalize("NFKD", character.translate(_SAME)).translate(_SAME)
        )
        plain = plain if case else plain.lower()
        for piece in plain:
            if not piece.isspace():
                made.append(piece)
                places.append(place)
                space = False
            elif not space:
                made.append(" ")
                places.append(place)
                space = True
    return "".join(made), places


def locate(quote: str, passage: str) -> tuple[int, int] | None:
    """Where *passage* says *quote*: the first exact place, else the first after white space, typography and case are evened out.

    Returns:
        Character offsets into *passage*; None when the quote is not there or is blank.
    """
    if not quote.strip():
        return None
    start = passage.find(quote)
    if start >= 0:
        return start, start + len(quote)
    for case in (True, False):
        wanted = _folded(quote, case=case)[0].strip()
        if not wanted:
            return None
        folded, places = _folded(passage, case=case)
        at = folded.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            # Not from or to the middle of a character: "e" is not a part of "é", nor "f" of a ligature.
            if places[at] not in places[at - 1 : at] and places[end - 1] not in places[end : end + 1]:
                return places[at], places[end - 1] + 1
            at = folded.find(wanted, at + 1)
    return None
