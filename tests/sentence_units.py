"""The splitter that counts the yield: the sentences and bullets of a document, told apart without the package's own code.

A paragraph is a run of lines between blank lines; a line that opens with a bullet mark, a letter in brackets or a clause
number begins a new piece. Pieces are cut into sentences behind ". ", "! " and "? " before a capital, a digit or a quote.
Left out: headings (short pieces without a full stop and without a bullet), table rows (three spaces inside a line) and
pieces of fewer than three words.
"""

import re

MARK = re.compile(r"^\s*(?:[-*•]\s+|\([a-z]\)\s+|[A-Z]?\.?\d+(?:\.\d+)*\.?\s+(?=[A-Z\"“(]))")
BULLET = re.compile(r"^\s*(?:[-*•]\s+|\([a-z]\)\s+)")
STOP = re.compile(r"(?<![\s(.][A-Z])(?<!\bNo)(?<!\be\.g)(?<!\bi\.e)[.!?][\"”')]*\s+(?=[\"“(]?[A-Z0-9])")


def units(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence and bullet of *text*."""
    found: list[tuple[int, int]] = []
    for start, end, bullet in _pieces(text):
        body, at = text[start:end], 0
        cuts = [match.end() for match in STOP.finditer(body)]
        for cut in [*cuts, len(body)]:
            part = body[at:cut]
            left, right = at + len(part) - len(part.lstrip()), at + len(part.rstrip())
            at = cut
            sentence = body[left:right]
            if len(sentence.split()) < 3 or not (bullet or sentence.endswith((".", "!", "?", ";", ":", ")", '"'))):
                continue
            if sentence.isupper():
                continue
            found.append((start + left, start + right))
    return found


def _pieces(text: str) -> list[tuple[int, int, bool]]:
    pieces: list[tuple[int, int, bool]] = []
    at, opened = 0, False
    lines = text.splitlines(keepends=True)
    for number, line in enumerate(lines):
        bare = line.strip()
        below = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if not bare or re.search(r"\S {3,}\S", line) or bare.startswith("|") or _is_heading(bare, below):
            opened = False
        elif opened and not MARK.match(line):
            start, _, bullet = pieces[-1]
            pieces[-1] = (start, at + len(line.rstrip()), bullet)
        else:
            mark = MARK.match(line)
            begin = at + (mark.end() if mark else len(line) - len(line.lstrip()))
            pieces.append((begin, max(begin, at + len(line.rstrip())), bool(BULLET.match(line))))
            opened = True
        at += len(line)
    return pieces


def _is_heading(line: str, below: str) -> bool:
    """A short numbered line without a full stop, above a line that begins anew."""
    short = re.match(r"[\d.]+ ", line) and len(line) <= 60 and line[-1] not in ".,;:!?"
    return bool(short) and (not below or below[0].isupper() or bool(MARK.match(below)) or below[0] in '"“')


def taught(text: str, spans: list[list[tuple[int, int]]]) -> tuple[int, int]:
    """(taught, all) units: one is taught when half of its characters lie in the evidence of a pair.

    Args:
        text: The document.
        spans: For every approved pair, the (start, end) of its evidence.
    """
    found = units(text)
    flat = sorted({tuple(sorted(pair)) for pair in spans})
    count = 0
    for start, end in found:
        best = max((sum(max(0, min(end, b) - max(start, a)) for a, b in pair) for pair in flat), default=0)
        count += best * 2 >= end - start
    return count, len(found)
