"""PDF, DOCX and HTML to text: what kind of file it is, by its content, and the text that stands for it from then on.

Markdown in, Markdown out: headings, lists and tables of every kind of file become what the chunker knows them by. The
libraries that read the files are the extra ``documents``; nothing here is imported before a file needs it, and nothing
is fetched: what a file refers to (pictures, links, styles) is left where it is.
"""

import hashlib
import importlib.metadata
import io
import re
import zipfile
from collections.abc import Callable
from typing import Literal

import attrs

from text2expert.errors import InputError, MissingExtraError

Kind = Literal["pdf", "docx", "html"]

SUFFIXES = (".pdf", ".docx", ".html", ".htm", ".xhtml")
"""What such files are called. What they are, their content decides."""

LARGEST_BYTES = 500_000_000
"""Of a file, or of what is packed in it: a text of a billion characters is another thing, and a zip can be a bomb."""

LARGEST_XML_BYTES = 50_000_000
"""Of what a Word document says, without its pictures: reading it takes about 40 times as much memory."""

HEAD_BYTES = 4096
"""How much of a file says what it is."""

LIBRARIES: dict[Kind, tuple[str, ...]] = {
    "pdf": ("pdfplumber", "pdfminer.six"),
    "docx": ("mammoth", "markdownify", "beautifulsoup4", "lxml"),
    "html": ("markdownify", "beautifulsoup4", "lxml"),
}
"""Packages that decide what comes out: they are recorded with their versions."""

NAMES: dict[Kind, str] = {"pdf": "a PDF", "docx": "a Word document", "html": "an HTML page"}

_HTML = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)[\s>]", re.IGNORECASE | re.DOTALL
)
_ZIP, _OLE, _RTF = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"{\\rtf"
_OFFICE = (
    ("xl/", "a spreadsheet (.xlsx)", "export the sheet as .csv and save that as text, or print it as a PDF"),
    ("ppt/", "a presentation (.pptx)", "export it as a PDF"),
    ("META-INF/container.xml", "an e-book (.epub)", "convert it to HTML or text first"),
    ("content.xml", "an OpenDocument file (.odt)", "save it as .docx or as a PDF"),
)


@attrs.frozen(kw_only=True)
class Converted:
    """The text of a file, and what made it."""

    text: str
    by: str
    """Libraries and versions: ``pdfplumber 0.11.10, pdfminer.six 20260107``."""
    sha256: str
    """Of the file's bytes."""


KEPT = 32
"""Texts that are kept once they are made."""

_MADE: dict[tuple[str, Kind], Converted] = {}
"""What this process converted, by content: a plan, a preview and a run read the same files, and a page takes a while."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def kind_of(path: str, head: bytes) -> Kind | None:
    """What the file at *path*, which begins with *head*, is to be converted from; None: it is text, or nothing of these.

    Its content decides, whatever it is called; a PDF may begin with other bytes, as readers of PDFs take it.

    Raises:
        InputError: It is called ``.pdf`` or ``.docx`` and is none, or is another office file.
    """
    suffix = "." + path.rpartition(".")[2].lower()
    if b"%PDF-" in head[:1024]:
        return "pdf"
    if head.startswith(_ZIP):
        return _of_zip(path, suffix)
    if head.startswith(_OLE):
        locked = "is an old Microsoft Office file, or a new one with a password"
        raise InputError(f"{path} {locked}: open it, save it as .docx without a password, and give that")
    if head.lstrip().startswith(_RTF):
        raise InputError(f"{path} is RTF: open it in a word processor, save it as .docx, and give that")
    if head.strip() and suffix in (".pdf", ".docx"):
        raise InputError(
            f"{path} is called {suffix}, and its content is none: if it is plain text, call it .txt; if it was downloaded, "
            "look at it, it may be an error page"
        )
    if suffix in SUFFIXES or _HTML.match(head):
        return "html"
    return None


def _of_zip(path: str, suffix: str) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            unpacked = sum(each.file_size for each in archive.infolist())
            written = sum(each.file_size for each in archive.infolist() if each.filename.endswith((".xml", ".rels")))
    except (OSError, zipfile.BadZipFile) as error:
        if suffix != ".docx":
            return None
        raise InputError(
            f"{path} is a damaged .docx ({error}): copy or download it again, or open it in a word processor and save it anew"
        ) from error
    if "word/document.xml" in names:
        if unpacked > LARGEST_BYTES:
            raise InputError(
                f"{path} holds {unpacked:,} bytes unpacked, more than {LARGEST_BYTES:,}: leave out its pictures, or split it"
            )
        if written > LARGEST_XML_BYTES:
            raise InputError(
                f"{path} holds {written:,} bytes of text unpacked, more than {LARGEST_XML_BYTES:,}: split it"
            )
        return "docx"
    for mark, what, advice in _OFFICE:
        if any(name.startswith(mark) for name in names):
            raise InputError(f"{path} is {what}: {advice}")
    if suffix == ".docx":
        raise InputError(f"{path} is called .docx and is another zip archive: give the Word document itself")
    return None


def convert(path: str, data: bytes, kind: Kind, decode: Callable[[bytes], str]) -> Converted:
    """The text of *data*, the file at *path*, which is a *kind*.

    Args:
        path: For messages.
        data: The whole file.
        kind: As `kind_of` says.
        decode: Reads HTML that does not say what its encoding is.

    Raises:
        InputError: It is locked, damaged, too large, or holds no text (a scan); the message says what to do.
        MissingExtraError: The libraries of the extra ``documents`` are not installed.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    if (made := _MADE.get((sha256, kind))) is not None:
        return made
    if len(data) > LARGEST_BYTES:
        raise InputError(f"{path} has {len(data):,} bytes, more than {LARGEST_BYTES:,}: split it into parts")
    try:
        if kind == "pdf":
            from text2expert.converters import pdf  # noqa: PLC0415 - only PDFs need it

            text = pdf.text_of(path, io.BytesIO(data))
        else:
            from text2expert.converters import markup  # noqa: PLC0415 - only these need it

            text = markup.of_docx(path, io.BytesIO(data)) if kind == "docx" else markup.of_html(path, data, decode)
        by = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES[kind])
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'{path} is {NAMES[kind]}, and reading it needs {error.name}: pip install "text2expert[documents]"'
        ) from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be read: save it as text, or as a PDF") from error
    # A broken font may give half a surrogate pair, or control characters.
    text = _CONTROLS.sub("", text.encode("utf-8", "replace").decode("utf-8")).replace("\xad", "")
    if not text.strip():
        raise InputError(f"{path} is {NAMES[kind]} without text: give one with text in it")
    while len(_MADE) >= KEPT:
        del _MADE[next(iter(_MADE))]
    _MADE[sha256, kind] = made = Converted(text=text, by=by, sha256=sha256)
    return made
