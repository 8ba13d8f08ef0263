"""PDF pages to lines and tables, in the order in which they are read. What becomes of them is `layout`'s business."""

import contextlib
import logging
import re
import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, BinaryIO

import pdfplumber
from pdfminer.pdfdocument import PDFPasswordIncorrect
from pdfplumber.utils.exceptions import PdfminerException

from text2expert._progress import bar, say
from text2expert.converters.layout import SUPERSCRIPTS, Line, Page, Table, text_of_pages
from text2expert.errors import InputError

GUTTER = 8.0
"""Points that are free between two columns of text, at least."""

SPACE = 0.15
"""Of the size of letters: a wider gap parts words, in files that have no spaces between them, and narrow ones when justified."""

OVERPRINTED = 0.25
"""Of the width of a space: where the next letter begins nearer to where it does, the space has no place of its own."""

PRINTED_ONCE = 0.97
"""Share of a page's letters that stand in a place of their own; where it is less, some are bold by being printed twice."""

TABLE_LINE = 12.0
"""Points that a row of a table is taken to be high, where columns are looked for."""

_Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

UNREADABLE = 0.05
"""Share of the characters that may have no meaning (a font without a map to Unicode) before a text is refused."""

_OCR = "recognise its text first, for example with `ocrmypdf in.pdf out.pdf`, and give the result"


def text_of(path: str, file: BinaryIO) -> str:
    """The text of the PDF in *file*, called *path* in messages.

    Raises:
        InputError: It has a password, is damaged, or is a scan.
    """
    try:
        with _quiet(), pdfplumber.open(file) as document, bar(len(document.pages), "Reading", unit="page") as progress:
            pages, empty = [], []
            for number, page in enumerate(document.pages, 1):
                found = _page(page)
                if not found.blocks and (page.images or page.curves):
                    empty.append(number)
                pages.append(found)
                page.close()  # what it has parsed, else every page stays in memory
                progress.update()
    except Exception as error:
        raise _refusal(path, error) from error
    lines = sum(len(page.blocks) for page in pages)
    if not lines and not empty:
        raise InputError(f"{path} has no text on its {len(pages)} page(s): give a PDF with text in it")
    if 2 * len(empty) > len(pages) or not lines:
        raise InputError(
            f"{path} is a scan: {len(empty) or len(pages)} of its {len(pages)} pages are pictures without text; {_OCR}"
        )
    if empty:
        shown = ", ".join(map(str, empty[:10])) + (", ..." if len(empty) > 10 else "")
        say(f"{path}: {len(empty)} of {len(pages)} pages are pictures without text and are left out ({shown})")
    text = text_of_pages(pages)
    if text.count("(cid:") > UNREADABLE * len(text):
        raise InputError(f"{path} does not say which letters its signs are: {_OCR} (`--force-ocr`)")
    return re.sub(r"\(cid:[0-9]+\)", "", text)


def _refusal(path: str, error: Exception) -> InputError:
    cause = error.args[0] if isinstance(error, PdfminerException) and error.args else error
    if isinstance(cause, PDFPasswordIncorrect):
        return InputError(
            f"{path} is locked with a password: open it, save or print it as a PDF without one, and give that"
        )
    return InputError(
        f"{path} is a damaged PDF ({f'{cause!s:.200}' or type(cause).__name__}): open it in a viewer, print it as a PDF, and "
        "give that"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what pdfminer says of colours and fonts, which nobody can mend."""
    logger = logging.getLogger("pdfminer")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _on_the_line(chars: list[dict[str, Any]]) -> None:
    """Put what is raised or lowered beside a letter onto that letter's line, figures that are raised as such."""
    line: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    for char in chars:
        if line is not None and last is not None and _is_small_beside(char, last, line):
            if char["bottom"] < line["bottom"]:
                char["text"] = char["text"].translate(SUPERSCRIPTS)
            char.update({name: line[name] for name in ("top", "bottom", "doctop", "size")})
        else:
            line = char if char["text"].strip() else None
        last = char


def _is_small_beside(char: dict[str, Any], last: dict[str, Any], line: dict[str, Any]) -> bool:
    """Whether *char*, right behind *last*, is smaller than *line* and stands higher or lower, though not outside."""
    size = line["size"]
    near: bool = -0.1 * size < char["x0"] - last["x1"] < 0.2 * size
    moved: bool = 0.1 * size < abs(char["bottom"] - line["bottom"]) < 0.7 * size
    overlaps: bool = char["top"] < line["bottom"] and char["bottom"] > line["top"]
    smaller: bool = char["size"] < 0.9 * size
    return smaller and near and moved and overlaps and char["text"].strip() != ""


def _without_overprinted(chars: list[dict[str, Any]]) -> None:
    """Empty spaces on which the next letter stands: so soft hyphens are drawn where a word is not parted at them."""
    end: float | None = None
    for char, after in pairwise(chars):
        if char["text"].strip():
            end = char["x1"]
            continue
        moved, width = after["x0"] - char["x0"], char["x1"] - char["x0"]
        on_line = abs(after["bottom"] - char["bottom"]) < 0.1 * char["size"]
        joined = end is not None and abs(after["x0"] - end) < SPACE * char["size"]
        if on_line and joined and abs(moved) < OVERPRINTED * width and after["text"].strip():
            char["text"] = ""


def _page(page: Any) -> Page:
    _without_overprinted(page.chars)
    _on_the_line(page.chars)
    tables = [(table.bbox, rows) for table in page.find_tables() if (rows := _rows(table))]
    boxes = [box for box, _ in tables]

    def outside(thing: dict[str, Any]) -> bool:
        if thing["object_type"] != "char" or not thing["text"]:
            return False
        x, y = (thing["x0"] + thing["x1"]) / 2, (thing["top"] + thing["bottom"]) / 2
        return thing.get("upright", True) and not any(x0 <= x <= x1 and top <= y <= end for x0, top, x1, end in boxes)

    text = page.filter(outside)
    places = {(char["text"], round(char["x0"]), round(char["top"])) for char in text.chars}
    if len(places) < PRINTED_ONCE * len(text.chars):
        text = text.dedupe_chars()
    words = text.extract_words(x_tolerance_ratio=SPACE) + [row for box in boxes for row in _as_words(box)]
    blocks: list[Line | Table] = []
    for box in _regions(page.bbox, words):
        inside = [
            Table(rows=rows, x0=x0, x1=x1, top=top, bottom=bottom)
            for (x0, top, x1, bottom), rows in tables
            if _is_in((x0 + x1) / 2, (top + bottom) / 2, box)
        ]
        blocks += sorted([*_lines(text, box), *inside], key=lambda block: block.top)
    return Page(height=float(page.height), blocks=tuple(blocks))


def _is_in(x: float, y: float, box: _Box) -> bool:
    return box[0] <= x < box[2] and box[1] <= y < box[3]


def _as_words(box: _Box) -> Iterator[dict[str, Any]]:
    """A table as it counts where columns are looked for: lines from side to side."""
    x0, top, x1, bottom = box
    while top < bottom:
        yield {"x0": x0, "x1": x1, "top": top, "bottom": min(top + TABLE_LINE, bottom), "text": "table" * 10}
        top += TABLE_LINE


def _rows(table: Any) -> tuple[tuple[str, ...], ...]:
    """The cells of a ruled table; nothing where it is a frame around text."""
    rows = [tuple(" ".join((cell or "").split()) for cell in row) for row in table.extract()]
    rows = [row for row in rows if any(row)]
    several = max((len(row) for row in rows), default=0) > 1 and len(rows) > 1
    return tuple(rows) if several else ()


def _lines(page: Any, box: _Box) -> Iterator[Line]:
    def inside(char: dict[str, Any]) -> bool:
        return _is_in((char["x0"] + char["x1"]) / 2, (char["top"] + char["bottom"]) / 2, box)

    for line in page.filter(inside).extract_text_lines(return_chars=True, x_tolerance_ratio=SPACE):
        chars = [char for char in line["chars"] if char["text"].strip()]
        if chars:
            yield Line(
                text=" ".join(line["text"].split()),
                x0=line["x0"],
                x1=line["x1"],
                top=line["top"],
                bottom=line["bottom"],
                size=round(statistics.median(char["size"] for char in chars), 1),
                bold=all(_is_bold(char["fontname"]) for char in chars),
                left=box[0],
                width=box[2] - box[0],
            )


def _is_bold(font: str) -> bool:
    return any(word in font.casefold() for word in ("bold", "black", "heavy", "semibold", "demi"))


def _regions(box: _Box, words: list[dict[str, Any]]) -> Iterator[_Box]:
    """The parts of *box* in which lines run from side to side, in the order in which they are read.

    Where two columns stand side by side, what is above them comes first, then the left one, the right one, and what is
    below.
    """
    gutter = _gutter(box, words)
    if gutter is None:
        yield box
        return
    left, right, top, bottom = gutter
    middle = (left + right) / 2
    x0, y0, x1, y1 = box
    parts = ((x0, y0, x1, top), (x0, top, middle, bottom), (middle, top, x1, bottom), (x0, bottom, x1, y1))
    for part in parts:
        mine = [
            word for word in words if _is_in((word["x0"] + word["x1"]) / 2, (word["top"] + word["bottom"]) / 2, part)
        ]
        if mine:
            yield from _regions(part, mine)


def _gutter(box: _Box, words: list[dict[str, Any]]) -> tuple[float, float, float, float] | None:
    """A free strip between columns of text: its left, right, top and bottom; None where there is none.

    Running text has words right beside the strip in most lines, on both sides; cells of a table have not.
    """
    x0, _, x1, _ = box
    if len(words) < 40:
        return None
    rows: dict[int, list[dict[str, Any]]] = {}
    for word in words:
        rows.setdefault(round(word["top"] / 3), []).append(word)
    lines = [sorted(row, key=lambda word: word["x0"]) for _, row in sorted(rows.items())]
    best: tuple[float, float, float, float] | None = None
    for share in range(30, 71, 2):
        x = x0 + (x1 - x0) * share / 100
        run: list[list[dict[str, Any]]] = []
        for line in [*lines, []]:
            free = line and not any(word["x0"] < x + GUTTER / 2 and word["x1"] > x - GUTTER / 2 for word in line)
            if free:
                run.append(line)
                continue
            found = _as_gutter(run, x)
            if found and (best is None or found[3] - found[2] > best[3] - best[2]):
                best = found
            run = []
    return best


def _as_gutter(run: list[list[dict[str, Any]]], x: float) -> tuple[float, float, float, float] | None:
    lefts = [word for line in run for word in line if word["x1"] <= x]
    rights = [word for line in run for word in line if word["x0"] >= x]
    if min(len(lefts), len(rights)) < 20:
        return None
    left, right = max(word["x1"] for word in lefts), min(word["x0"] for word in rights)
    for side, edge, end in (
        (lefts, min(word["x0"] for word in lefts), left),
        (rights, right, max(word["x1"] for word in rights)),
    ):
        reach: dict[int, float] = {}
        for word in side:
            key = round(word["top"] / 3)
            reach[key] = max(reach.get(key, edge), word["x1"])
        # Lines of running text fill most of their column.
        if statistics.median(reach.values()) - edge < 0.6 * (end - edge) or len(reach) < 5:
            return None
        if sum(len(word["text"]) for word in side) / len(reach) < 18:
            return None
    top = min(word["top"] for line in run for word in line)
    bottom = max(word["bottom"] for line in run for word in line)
    return left, right, top - 0.5, bottom + 0.5
