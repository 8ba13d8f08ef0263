"""Where a passage may end and the next one begin: at headings, paragraphs, sentences, lines, words, in this order.

Everything here looks at a few hundred characters around the place in question, and among equally good places takes the
one whose following text sorts last: it is then the same place whatever the passages before it were.
"""

import functools
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Span = tuple[int, int]

# Scripts that are written without spaces: every character is a word.
_NO_SPACES = (
    "\u0e00-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u30ff\u3100-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua000-\ua4cf\uaa60-\uaa7f\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff"
)
# What belongs to the character before it: combining marks of those scripts and of ours, joiners, variation selectors,
# skin tones; and punctuation that does not begin a line.
_BELONGS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u0e31\u0e33-\u0e3a\u0e45-\u0e4e\u0eb1\u0eb3-\u0ebc\u0ec8-\u0ece"
    "\u0f71-\u0f84\u0f8d-\u0fbc\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u1dc0-\u1dff\u200d\u20d0-\u20f0\u302a-\u302f\u3099"
    "\u309a\ufe00-\ufe0f\ufe20-\ufe2f\U0001f3fb-\U0001f3ff\U000e0100-\U000e01ef"
    "、。，．・：；？！ー）」』】〉》〕］｝｡｣､ゝ々"
)
# Full stops that end no sentence, grouped by length as a look-behind wants them. They are not looked for after four small
# letters, where none of them can be, since they take longer than all the rest.
_NOT_ABBREVIATED = (
    r"(?:(?<=[a-z]{4}[.!?])"
    r"|(?<!\b[A-Z]\.)(?<!\b(?:Dr|Mr|Ms|St|No|Nr|vs|cf|pp|ca|zB)\.)"
    r"(?<!\b(?:Mrs|Fig|Sec|Art|Vol|Inc|Ltd|Abs|Abb|bzw|e\.g|i\.e|z\.B)\.)(?<!\bProf\.))"
)
_STOP = rf"{_NOT_ABBREVIATED}[\"')\]}}”’*_`]{{0,4}}(?P<gap>\s++)(?![a-z])"
_WIDE_STOP = r"[”’』」）】》]{0,4}(?P<wide>\s*)"

# The end of a sentence, with the white space after it; and that, or the end of a paragraph. Those for texts with the
# full stops of Chinese and Japanese, which need no space, take longer.
_SENTENCE = re.compile(rf"[.!?]{_STOP}")
_BOUNDARY = re.compile(rf"[.!?\n](?:(?<!\n){_STOP}|(?<=\n)[ \t]*\n\s*)")
_WIDE_SENTENCE = re.compile(rf"[.!?。！？｡](?:(?<=[.!?]){_STOP}|(?<=[。！？｡]){_WIDE_STOP})")
_WIDE_BOUNDARY = re.compile(rf"[.!?\n。！？｡](?:(?<=[.!?]){_STOP}|(?<=[。！？｡]){_WIDE_STOP}|(?<=\n)[ \t]*\n\s*)")

_WORD = re.compile(
    rf"\s+|(?<=[{_NO_SPACES}])(?![\s{_BELONGS}])(?<!\u200d)|(?=[{_NO_SPACES}])(?![{_BELONGS}])(?<!\u200d)"
)
_PLAIN_WORD = re.compile(r"\s+")  # the same where all is ASCII
_WIDE_STOPS = "。！？｡"
_ITEM = re.compile(r"\s*(?:[-*+•–—‣▪◦·]|\(?\w{1,4}[.)]|\d+(?:\.\d+)+)[ \t]")
_BELONGING = re.compile(rf"[{_BELONGS}]")
_SPACE = re.compile(r"\s*")

_SLACK = 150
"""How far, in characters, a start may be from where the overlap would have it, for the sake of a better boundary."""


def skip_space(text: str, begin: int, stop: int) -> int:
    """The next place from *begin* up to *stop* that is not white space."""
    match = _SPACE.match(text, begin, stop)
    return match.end() if match else stop


class Boundaries:
    """Where the passages of a section, ``text[begin:stop]`` with the headings *heads*, may begin and end."""

    def __init__(self, text: str, begin: int, stop: int, heads: Sequence[Span]) -> None:
        self._text = text
        self._heads = heads
        # In order, both of them.
        self._head_starts, self._head_ends = [head[0] for head in heads], [head[1] for head in heads]
        wide = not text.isascii() and any(text.find(sign, begin, stop) >= 0 for sign in _WIDE_STOPS)
        self._sentences = (_WIDE_SENTENCE if wide else _SENTENCE).finditer
        self._paragraphs = _WIDE_BOUNDARY if wide else _BOUNDARY

    def end_of(self, begin: int, limit: int, covered: int) -> int:
        """Where a passage from *begin* ends: at most at *limit*, with something after *covered* in it.

        0 if a word would have to be cut that need not be.
        """
        text = self._text
        span = limit - begin
        low = begin + span * 13 // 20
        if low <= covered or text[low - 1].isspace():
            low = max(low, skip_space(text, covered, limit) + 1)  # something new, not white space alone
        after_heads: list[int] = []
        if self._heads:
            starts, ends = self._head_starts, self._head_ends
            number = coming = bisect_right(starts, limit)
            least = max(begin + span // 2, covered + 1)
            while number and (start := starts[number - 1]) > least:
                if (end := _trimmed(text, start)) > covered:
                    return end
                number -= 1
            after_heads = ends[bisect_right(ends, begin) : coming]
        end = (
            self._paragraph_end(low, limit, after_heads)
            or self._sentence_end(low, limit)
            or self._line_end(low, limit, after_heads)
        )
        return _trimmed(text, end) if end else _word_end(text, begin, limit, covered)

    def _paragraph_end(self, low: int, limit: int, after_heads: list[int]) -> int:
        text = self._text
        best, end = "", 0
        place = text.find("\n\n", low, limit + 2)
        while place >= 0:
            key = text[place + 2 : place + 26]
            if key > best and text[place - 1] != ":" and place not in after_heads:
                best, end = key, place
            place = text.find("\n\n", place + 2, limit + 2)
        return end

    def _sentence_end(self, low: int, limit: int) -> int:
        text = self._text
        best, end, best_is_item = "", 0, False
        # White space across the limit must be seen to its end, and nothing else behind it.
        stop = skip_space(text, limit, limit + 199) + 1
        for match in self._sentences(text, low - 1, stop):
            place, follow = match.span(match.lastindex or 0)  # the white space behind the sentence
            if place > limit:
                break
            key = text[follow : follow + 24]
            is_item = text[place] == "\n" and _ITEM.match(text, follow) is not None
            if (key > best if is_item is best_is_item else is_item) and not self._in_heading(place):
                best, end, best_is_item = key, place, is_item
        return end

    def _line_end(self, low: int, limit: int, after_heads: list[int]) -> int:
        text = self._text
        best, end = (False, ""), 0
        place = text.find("\n", low, limit + 1)
        while place >= 0:
            key = (_ITEM.match(text, place + 1) is not None, text[place + 1 : place + 25])
            if key > best and text[place - 1] != ":" and place not in after_heads:
                best, end = key, place
            place = text.find("\n", place + 1, limit + 1)
        return end

    def start_after(self, begin: int, end: int, span: int, overlap: int) -> int:
        """Where the passage after ``text[begin:end]`` begins: *overlap* or so before *end*, at the best boundary there.

        *span* is how long a passage may be here.
        """
        text = self._text
        if not overlap:
            return skip_space(text, end, len(text))
        aim = end - overlap
        back, forth = _leeway(span, overlap)
        low = max(begin + 1, aim - back)
        high = aim + forth
        middle = max(low, aim - overlap // 2)
        heads: Sequence[Span] = ()
        if self._heads:
            first = bisect_left(self._head_ends, max(low - 2, begin + 1))
            heads = self._heads[first : bisect_right(self._head_starts, high)]
        if place := self._good_start(low, middle, high, heads):
            return place
        lines = (text.rfind("\n", low - 1, aim), text.find("\n", aim, high))
        if place := _nearest(aim, low, high, [skip_space(text, line, high + 1) for line in lines if line >= 0]):
            return place
        # Most often there is a word at hand; only else is all of the stretch looked at.
        for first, last in ((max(low, aim - 16), min(high, aim + 16)), (low, high)):
            if place := _nearest(aim, first, last, _word_starts(text, first - 1, last + 1)):
                return place
        first = max(begin, end - 2 * overlap)
        if place := _nearest(aim, first + 1, end - 1, _word_starts(text, first, end)):
            return place
        if _is_boundary(text, end):
            return skip_space(text, end, len(text))
        aim = max(begin + 1, aim)
        while _joined(text, aim) and aim < end:
            aim += 1
        return aim

    def _good_start(self, low: int, middle: int, high: int, heads: Sequence[Span]) -> int:
        """The first heading, or else sentence or paragraph, that begins from *middle* to *high*; or the last from *low*."""
        if not heads:
            match = self._paragraphs.search(self._text, middle - 2, high + 1)
            if match and middle <= (place := match.end()) <= high:
                return place
        places = [start for start, _ in heads if low <= start <= high]
        if places:
            return next((place for place in places if place >= middle), places[-1])
        last = 0
        for match in self._paragraphs.finditer(self._text, low - 3, high + 1):
            place = match.end()
            if low <= place <= high and not (heads and any(a < place <= b + 2 for a, b in heads)):
                last = place
                if place >= middle:
                    break
        return last

    def _in_heading(self, place: int) -> bool:
        number = bisect_right(self._head_starts, place)
        return number > 0 and place <= self._head_ends[number - 1]


@functools.lru_cache(64)
def _leeway(span: int, overlap: int) -> tuple[int, int]:
    """How far before and after where the overlap would have it a start may lie."""
    back = min(overlap * 6 // 5, _SLACK, span * 3 // 4 - overlap)
    return back, min(overlap * 3 // 5, _SLACK, overlap - 1)


def _trimmed(text: str, end: int) -> int:
    while text[end - 1].isspace():
        end -= 1
    return end


def _word_end(text: str, begin: int, limit: int, covered: int) -> int:
    best, end = "", 0
    low = max(begin + (limit - begin) * 4 // 5, covered + 1)
    for match in _WORD.finditer(text, low, limit + 1):
        key = text[match.end() : match.end() + 16]
        if key > best and match.start() <= limit:
            best, end = key, match.start()
    if not end:
        places = [match.start() for match in _WORD.finditer(text, max(covered, begin) + 1, limit + 1)]
        end = max((place for place in places if place <= limit), default=0)
    if end:
        end = len(text[begin:end].rstrip()) + begin
        if end > max(covered, begin):
            return end
    if covered > begin and _is_boundary(text, covered):
        return 0
    end = max(limit, covered + 1)  # the limit may have been drawn back, for the sake of the last chunk
    while _joined(text, end) and limit - end < 32 and end > max(begin, covered) + 1:
        end -= 1
    return end


def _word_starts(text: str, begin: int, stop: int) -> list[int]:
    """Where words begin in ``text[begin:stop]``."""
    pattern = _PLAIN_WORD if text.isascii() or text[begin - 1 : stop].isascii() else _WORD
    return [match.end() for match in pattern.finditer(text, begin, stop)]


def _joined(text: str, place: int) -> bool:
    """Whether a cut at *place* would part a letter from its marks, or an emoji from its other half."""
    return (
        unicodedata.category(text[place])[0] == "M"
        or _BELONGING.match(text, place) is not None
        or text[place - 1] == "\u200d"
    )


def _is_boundary(text: str, place: int) -> bool:
    return text[place - 1].isspace() or _WORD.match(text, place) is not None


def _nearest(aim: int, low: int, high: int, places: Iterable[int]) -> int:
    """The one of *places*, from *low* to *high*, that is nearest to *aim*; 0 if there is none."""
    best, distance = 0, high - low + 1
    for place in places:
        if low <= place <= high and abs(place - aim) < distance:
            best, distance = place, abs(place - aim)
    return best
