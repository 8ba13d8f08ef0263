"""HTML and DOCX to Markdown: headings, lists and tables stay, marks of emphasis, links and pictures go."""

import re
from collections.abc import Callable
from typing import BinaryIO

from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector
from markdownify import MarkdownConverter

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
    "form",
    "button",
    "nav",
)
"""Elements whose content nobody reads as the document's text."""

_EMPHASIS = ["a", "b", "strong", "em", "i", "u", "code", "del", "s", "sub", "sup", "img", "kbd", "samp", "mark"]
_NO_LINES = re.compile(r"\n{3,}")
_TRAILING = re.compile(r"[ \t\xa0]+$", re.MULTILINE)


def of_html(path: str, data: bytes, decode: Callable[[bytes], str]) -> str:
    """The text of an HTML page. Its own word on its encoding counts: a byte order mark, then ``charset``.

    Raises:
        InputError: It is not what it says that it is encoded in, or in no encoding that can be recognised.
    """
    unmarked, marked = EncodingDetector.strip_byte_order_mark(data)
    said = marked or EncodingDetector.find_declared_encoding(unmarked, is_html=True)
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
        html = mammoth.convert_to_html(file, convert_image=no_pictures).value
    except ModuleNotFoundError:
        raise
    except Exception as error:  # whatever a reader stumbles over in a damaged file
        raise InputError(
            f"{path} is a damaged Word document ({error!s:.200}): open it in a word processor and save it anew"
        ) from error
    return of_markup(html)


def of_markup(html: str) -> str:
    """The Markdown of *html*."""
    page: Tag = BeautifulSoup(html, "lxml")  # as browsers do, it ends a list item where the next one begins
    for element in page.find_all(_NO_TEXT):
        element.decompose()
    for element in page.select("[hidden], [aria-hidden=true], [role=navigation], [role=contentinfo], body > footer"):
        element.decompose()
    main = page.find_all("main") or page.select("[role=main]")
    if len(main) == 1 and len(main[0].get_text()) > 0.5 * len(page.get_text()):
        page = main[0]
    for link in page.select('a[href^="#"]'):
        # Ways back from a footnote, and signs beside a heading that are there to be copied.
        if link.get_text(strip=True) in {"↑", "¶", "#", "↩", "↩︎"}:
            link.decompose()
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
