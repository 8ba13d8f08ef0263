"""HTML and DOCX to Markdown: headings, lists and tables stay, marks of emphasis, links and pictures go."""

import io
import re
import zipfile
from collections.abc import Callable
from typing import BinaryIO

from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector
from markdownify import MarkdownConverter

from text2expert._progress import say
from text2expert.converters.layout import SUPERSCRIPTS
from text2expert.errors import InputError

_NO_TEXT = (
    "script",
    "style",
    "noscript",
    "template",
    "head",
    "title",
    "svg",
    "math",
    "iframe",
    "object",
    "button",
    "select",
    "datalist",
    "textarea",
    "dialog",
    "nav",
    "del",
    "s",
    "strike",
)
"""Elements whose content nobody reads as the document's text, or is there as what no longer holds.

Not forms: some sites put the whole page into one.
"""

_EMPHASIS = ["a", "b", "strong", "em", "i", "u", "code", "sub", "sup", "img", "kbd", "samp", "mark"]
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
_TEXTS = ("word/document.xml", "word/footnotes.xml", "word/endnotes.xml")
_FIELD = re.compile(rb"""</?w:fldSimple\b(?:"[^"]*"|'[^']*'|[^>"'])*>""")
_RUN = re.compile(rb"<w:r(?:\s[^>]*)?>.*?(?=<w:r[\s>]|</w:r>)", re.DOTALL)
"""A run, up to one within it."""
_VANISH = re.compile(rb"""<w:vanish(?:\s+w:val=["'](?:1|true|on)["'])?\s*/>""")
_SAID = re.compile(rb"<w:t(?:\s[^>]*)?>[^<]*</w:t>")
_LATIN = ("iso-8859-1", "iso8859-1", "latin1", "latin-1", "us-ascii", "ascii")
_HIGH_CONTROLS = re.compile(rb"[\x80-\x9f]")
"""What these encodings have nothing for: browsers take such pages as Windows-1252 (https://encoding.spec.whatwg.org)."""
_RAISED = re.compile(r"[-+\u2212]?[0-9]+")
MOST_SPANNED = 1000
"""Rows or columns that one cell can stand for."""
_NO_LINES = re.compile(r"\n{3,}")
_TRAILING = re.compile(r"[ \t\xa0]+$", re.MULTILINE)


def of_html(path: str, data: bytes, decode: Callable[[bytes], str]) -> str:
    """The text of an HTML page. Its own word on its encoding counts: a byte order mark, then ``charset``.

    Raises:
        InputError: It is not what it says that it is encoded in, or in no encoding that can be recognised.
    """
    unmarked, marked = EncodingDetector.strip_byte_order_mark(data)
    said = marked or EncodingDetector.find_declared_encoding(unmarked, is_html=True)
    if said is not None and said.lower() in _LATIN and _HIGH_CONTROLS.search(unmarked):
        said = "cp1252"
    if said is None:
        return of_markup(decode(data))
    try:
        return of_markup(unmarked.decode(said))
    except LookupError as error:
        raise InputError(f"{path} says that its encoding is {said!r}, which is none: save it as UTF-8") from error
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise InputError(
            f"{path} says that it is {said}, and byte 0x{byte:02x} at offset {error.start} is none of it: save it as UTF-8, "
            "or mend that place"
        ) from error


def of_docx(path: str, file: BinaryIO) -> str:
    """The text of a Word document: its body and footnotes, without headers, footers, comments and deleted text.

    Raises:
        InputError: It is damaged.
    """
    import mammoth  # noqa: PLC0415 - only DOCX needs it

    no_pictures = mammoth.images.img_element(lambda _: {})
    try:
        made = mammoth.convert_to_html(_as_printed(file), convert_image=no_pictures)
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a reader stumbles over in a damaged file
        raise InputError(
            f"{path} is a damaged Word document ({error!s:.200}): open it in a word processor and save it anew"
        ) from error
    if any("oMath" in message.message for message in made.messages):
        say(f"{path}: its formulas are left out, and what stands around them may say something else without them")
    return of_markup(made.value)


def _as_printed(file: BinaryIO) -> BinaryIO:
    """*file* as it is printed, where mammoth reads something else.

    It has the text of simple fields (numbers of sections and captions, dates), and none that is marked as hidden.
    """
    copy = io.BytesIO()
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(copy, "w") as written:
        for name in dict.fromkeys(archive.namelist()):
            data = archive.read(name)
            written.writestr(name, _RUN.sub(_shown, _FIELD.sub(b"", data)) if name in _TEXTS else data)
    copy.seek(0)
    return copy


def _shown(run: re.Match[bytes]) -> bytes:
    """*run* without its words, where it is hidden; how it looked before a change that is tracked does not count."""
    properties = run[0].partition(b"</w:rPr>")[0].partition(b"<w:rPrChange")[0]
    return _SAID.sub(b"", run[0]) if _VANISH.search(properties) else run[0]


def of_markup(html: str) -> str:
    """The Markdown of *html*."""
    page: Tag = BeautifulSoup(html, "lxml")  # as browsers do, it ends a list item where the next one begins
    for element in page.find_all(_NO_TEXT):
        element.decompose()
    for element in page.select("[hidden], [aria-hidden=true], [role=navigation], [role=contentinfo], body > footer"):
        element.decompose()
    for element in page.find_all(style=_HIDDEN):
        if element.name not in ("html", "body"):  # these are shown by a script
            element.decompose()
    main = page.find_all("main") or page.select("[role=main]")
    if len(main) == 1 and len(main[0].get_text()) > 0.5 * len(page.get_text()):
        page = main[0]
    for link in page.select('a[href^="#"]'):
        # Ways back from a footnote, and signs beside a heading that are there to be copied.
        if link.get_text(strip=True) in {"↑", "¶", "#", "↩", "↩︎"}:
            link.decompose()
    for raised in page.find_all("sup"):
        # "10<sup>9</sup>" is not 109.
        if _RAISED.fullmatch(figures := raised.get_text(strip=True)):
            raised.string = figures.translate(SUPERSCRIPTS)
    _fill_tables(page)
    text = MarkdownConverter(
        strip=_EMPHASIS,
        heading_style="ATX",
        bullets="-",
        table_infer_header=True,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    ).convert_soup(page)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NO_LINES.sub("\n\n", _TRAILING.sub("", text)).strip() + "\n"


def _fill_tables(page: Tag) -> None:
    """Give each row what a cell above says for it too, so that every value stays below its own head."""
    for text in page.find_all(string=lambda text: "|" in text):
        if text.find_parent(["td", "th"]) is None:
            continue
        text.replace_with(text.replace("|", "\\|"))
    for table in page.find_all("table"):
        for aside in table.find_all(["caption", "colgroup"], recursive=False):
            table.insert_before(aside.extract())  # else the first row is not taken for the head
        above: dict[int, tuple[Tag, int]] = {}  # column -> a cell, and for how many more rows it stands
        for row in table.find_all("tr"):
            if row.find_parent("table") is not table:
                continue
            column, cells = 0, row.find_all(["td", "th"], recursive=False)
            below: dict[int, tuple[Tag, int]] = {}
            while cells or column in above:
                if column in above:
                    cell, left = above[column]
                    copy = Tag(name=cell.name)
                    copy.string = cell.get_text(" ", strip=True)
                    if cells:
                        cells[0].insert_before(copy)
                    else:
                        row.append(copy)
                    below |= {column: (cell, left - 1)} if left > 1 else {}
                    column += 1
                    continue
                cell = cells.pop(0)
                rows, columns = _span(cell, "rowspan"), _span(cell, "colspan")
                below |= {place: (cell, rows - 1) for place in range(column, column + columns) if rows > 1}
                column += columns
            above = below


def _span(cell: Tag, attribute: str) -> int:
    said = str(cell.get(attribute, ""))
    return max(1, min(MOST_SPANNED, int(said))) if said.isascii() and said.isdigit() else 1
