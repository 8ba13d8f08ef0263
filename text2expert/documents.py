"""Files to Documents: which files, in which encoding, and their source text, whole or in blocks.

The source text of a document is what ``open(path, encoding=document.encoding).read()`` gives: decoded, without a byte
order mark, newlines as line feeds. Of a PDF, DOCX or HTML file it is what `text2expert.converters` makes of it. All offsets
of this package are character offsets into it.
"""

import codecs
import hashlib
import io
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import attrs

from text2expert import converters, files
from text2expert.errors import InputError
from text2expert.records import Document

SUFFIXES = (".txt", ".md", ".text", ".markdown", *converters.SUFFIXES)
"""Which files of a folder are read. A file that is named itself may have any suffix."""

SAMPLE_BYTES = 1 << 20
"""How much of a file decides its encoding when it is streamed, and how much is read at a time."""

Source = str | Path | Document
"""A file, a folder, or a document that is there already. A ``str`` is always a path."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is its beginning
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_NOT_TEXT = (
    (b"%!PS", "PostScript"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"7z\xbc\xaf", "a 7-zip archive"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "an SQLite database"),
)

# Bytes that no text in an 8-bit encoding holds (tab, newlines, form feed, substitute and escape are left out).
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1a\x1b"))
_HIGH = bytes(range(128, 256))

_FOREIGN_LETTER = re.compile(r"[^\W\d_\x00-\x7fµªº]")
_SIGN_IN_A_WORD = re.compile(r"[^\W\d_][^\w\s\x00-\x7f‘’–—…·\xad][^\W\d_]|[^\W\d_][¹²³¼½¾][^\W\d_]|[¿¡][a-z]")
_TWO_BYTE = {"cp949", "euc_kr", "johab", "big5", "big5hkscs", "cp950", "gb2312", "gbk", "gb18030", "hz", "cp932", "shift_jis", "shift_jis_2004", "shift_jisx0213", "euc_jp", "euc_jis_2004", "euc_jisx0213"}  # fmt: skip


def read(source: Source | Sequence[Source], /) -> list[Document]:
    """Read texts: a file, a folder (what `SUFFIXES` names, at any depth), or a list of those.

    What is a PDF, a DOCX or an HTML file, by its content, is converted. A file that is reached twice is read once; hidden files in a folder are passed over. The documents come in the
    order given, those of a folder sorted by path. Ids are the file names' stems made safe; a second ``a`` is ``a-2``.

    Raises:
        InputError: There is nothing there, it cannot be read, it is not text, it is empty, or a symbolic link leads
            out of the given folder; the message names the file.
        MissingExtraError: A file has to be converted, and the extra ``documents`` is not installed.
    """
    return _documents(source, keep_text=True)


def scan(source: Source | Sequence[Source], /) -> list[Document]:
    """As `read`, in one pass over each file and without keeping its text (``text`` is None): for huge files.

    What is converted keeps its text: to convert it takes longer than all else. The first megabyte decides the encoding, and what follows must be valid in it.

    Raises:
        InputError: As for `read`; for undecodable bytes the message names the first one's offset.
    """
    return _documents(source, keep_text=False)


def blocks(document: Document) -> Iterator[str]:
    """The source text of *document*, in blocks of about a million characters (one block if its text is there).

    Raises:
        InputError: The file is gone, cannot be decoded, or is no longer the text that the document was made from.
    """
    if document.text is not None:
        yield document.text
        return
    if document.path is None:
        raise InputError(f"document {document.id!r} has neither a text nor a path: make it with Document.from_text")
    n_chars = 0
    sha256 = hashlib.sha256()
    with _open(document.path) as file:
        for block in _decoded(file, document.path, document.encoding):
            n_chars += len(block)
            sha256.update(block.encode())
            yield block
    if n_chars != document.n_chars or sha256.hexdigest() != document.text_sha256:
        raise InputError(f"{document.path} changed while it was read: run again when nothing writes to it any more")


def text_of(document: Document) -> str:
    """The whole source text of *document*.

    Raises:
        InputError: As for `blocks`.
    """
    return document.text if document.text is not None else "".join(blocks(document))


def _documents(source: Source | Sequence[Source], *, keep_text: bool) -> list[Document]:
    documents = []
    ids: set[str] = set()
    for item in _items(source):
        document = item if isinstance(item, Document) else (_read_file if keep_text else _scan_file)(item)
        wanted, number = document.id, 1
        # Documents become file names, and some file systems do not tell "A" from "a".
        while document.id.casefold() in ids:
            number += 1
            document = attrs.evolve(document, id=f"{wanted}-{number}")
        ids.add(document.id.casefold())
        documents.append(document)
    return documents


def _items(source: Source | Sequence[Source]) -> Iterator[str | Document]:
    """The files (paths as given) and documents that *source* names, each file once."""
    if isinstance(source, (str, Path, Document)):
        source = [source]
    if not isinstance(source, Iterable) or isinstance(source, (bytes, bytearray, memoryview)):
        raise InputError(f"source is {source!r:.80}: give a path, a folder, a Document, or a list of them")
    empty = True
    seen: set[tuple[int, int]] = set()
    for item in source:
        empty = False
        if isinstance(item, Document):
            yield item
            continue
        if not isinstance(item, (str, Path)):
            raise InputError(f"source holds {item!r:.80}: give a path, a folder, a Document, or a list of them")
        path = str(item)
        status = _stat(path)
        for file in _text_files(path) if stat.S_ISDIR(status.st_mode) else [path]:
            status = _stat(file)
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                yield file
    if empty:
        raise InputError("source is an empty list: give at least one file or folder")


def _stat(path: str) -> os.stat_result:
    if not path:
        raise InputError('source is "": give the path of a file or folder ("." for this folder)')
    try:
        return os.stat(path)
    except (OSError, ValueError) as error:
        if len(path) > 255 or "\n" in path or "\0" in path:
            raise InputError(
                f"source is no path but looks like text ({path[:40]!r}...): a str is always a path; "
                "give raw text as Document.from_text(text)"
            ) from error
        raise InputError(f"cannot read {path}: {_reason(error)}; check the path") from error


def _text_files(folder: str) -> list[str]:
    """The text files in *folder*, sorted by path; a link may point anywhere inside *folder*, never out of it."""
    root = os.path.realpath(folder)

    def refuse(error: OSError) -> None:
        raise InputError(f"cannot read folder {error.filename}: {_reason(error)}; change its mode or leave it out")

    found = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        texts = [name for name in names if not name.startswith(".") and name.lower().endswith(SUFFIXES)]
        for name in [*folders, *texts]:
            path = os.path.join(parent, name)
            if os.path.islink(path) and os.path.commonpath([root, target := os.path.realpath(path)]) != root:
                raise InputError(
                    f"{path} is a symbolic link to {target}, outside {folder}: remove the link, "
                    "or name its target in the list of inputs"
                )
        found += [os.path.join(parent, name) for name in texts]
    if not found:
        kinds = ", ".join(f"*{suffix}" for suffix in SUFFIXES)
        raise InputError(f"folder {folder} holds no text ({kinds}): put one there, or name the files themselves")
    return sorted(found, key=lambda path: path.split(os.sep))


def _open(path: str) -> BinaryIO:
    try:
        # A named pipe would block for ever when opened, and what is read from it cannot be read again.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{path} is not a regular file (a pipe, socket or device): copy its content to a file")
        return open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read {path}: {_reason(error)}; check the path and its mode") from error


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _read_file(path: str) -> Document:
    data = _bytes(path)
    if (kind := converters.kind_of(path, data[: converters.HEAD_BYTES])) is not None:
        return _converted(path, data, kind)
    encoding = _encoding(path, data, whole=True)
    text = _text(path, data, encoding)
    if not text.strip():
        raise _empty(path, len(data))
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return _document(path, encoding, text=text, text_sha256=sha256, n_chars=len(text))


def _bytes(path: str) -> bytes:
    with _open(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise InputError(f"cannot read {path}: {_reason(error)}") from error


def _text(path: str, data: bytes, encoding: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise _undecodable(path, encoding, len(data), error) from error
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _converted(path: str, data: bytes, kind: converters.Kind) -> Document:
    def decode(data: bytes) -> str:
        return _text(path, data, _encoding(path, data, whole=True))

    made = converters.convert(path, data, kind, decode)
    document = Document.from_text(made.text, id=files.safe_name(Path(path).stem), title=Path(path).stem)
    return attrs.evolve(document, path=path, converted_by=made.by, file_sha256=made.sha256)


def _scan_file(path: str) -> Document:
    sha256 = hashlib.sha256()
    n_chars = 0
    blank = True
    with _open(path) as file:
        sample = file.read(SAMPLE_BYTES)
        if (kind := converters.kind_of(path, sample[: converters.HEAD_BYTES])) is not None:
            return _converted(path, _bytes(path), kind)
        encoding = _encoding(path, sample, whole=len(sample) < SAMPLE_BYTES)
        file.seek(0)
        for block in _decoded(file, path, encoding):
            sha256.update(block.encode())
            n_chars += len(block)
            blank = blank and not block.strip()
    if blank:
        raise _empty(path, n_chars)
    return _document(path, encoding, text=None, text_sha256=sha256.hexdigest(), n_chars=n_chars)


def _document(path: str, encoding: str, *, text: str | None, text_sha256: str, n_chars: int) -> Document:
    stem = Path(path).stem
    return Document(
        id=files.safe_name(stem),
        path=path,
        title=stem,
        encoding=encoding,
        text=text,
        text_sha256=text_sha256,
        n_chars=n_chars,
    )


def _empty(path: str, size: int) -> InputError:
    if not size:
        return InputError(f"{path} is empty (0 bytes): give a file with text in it")
    return InputError(f"{path} holds nothing but white space: give a file with text in it")


def _undecodable(path: str, encoding: str, read_so_far: int, error: UnicodeDecodeError) -> InputError:
    # A decoder may have held bytes back or dropped a byte order mark, but what it was given last ends here.
    offset = read_so_far - len(error.object) + error.start
    byte = error.object[error.start]
    return InputError(
        f"{path} is not valid {encoding}: byte 0x{byte:02x} at offset {offset} ({error.reason}); "
        "save the file as UTF-8, or mend that place"
    )


def _decoded(file: BinaryIO, path: str, encoding: str) -> Iterator[str]:
    """The rest of *file* as text in non-empty blocks, strictly decoded, newlines as line feeds."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)("strict"), translate=True)
    done = 0
    while True:
        try:
            data = file.read(SAMPLE_BYTES)
        except OSError as error:
            raise InputError(f"cannot read {path}: {_reason(error)}") from error
        done += len(data)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            raise _undecodable(path, encoding, done, error) from error
        if text:
            yield text
        if not data:
            return


def _encoding(path: str, data: bytes, *, whole: bool) -> str:
    """The encoding of *data*, the beginning of a file or (*whole*) all of it."""
    if not data.strip():
        raise (
            _empty(path, len(data))
            if whole
            else InputError(f"{path} begins with {len(data)} bytes of white space: remove them")
        )
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return encoding
    head = data[:1024].lstrip()
    for magic, what in _NOT_TEXT:
        if head.startswith(magic):
            raise InputError(f"{path} is {what}, not plain text: save or convert it as UTF-8 text first")
    sample = data[:SAMPLE_BYTES]
    if b"\0" in sample:
        return _utf16_without_mark(path, sample)
    if len(sample.translate(None, _CONTROLS)) < 0.999 * len(sample):
        raise InputError(f"{path} holds control characters: it is binary data, not text; give a plain text file")
    try:
        # A sample may end inside a character; more than its last three bytes is an error.
        codecs.getincrementaldecoder("utf-8")("strict").decode(data, final=whole)
    except UnicodeDecodeError as error:
        # What is after the first megabyte is not seen when a file is streamed, so it must not be a matter of luck here.
        place = max(0, error.start - SAMPLE_BYTES // 2)
        return _legacy_encoding(path, sample if error.start < SAMPLE_BYTES else data[place : place + SAMPLE_BYTES])
    return "utf-8"


def _utf16_without_mark(path: str, sample: bytes) -> str:
    # Spaces and newlines are there in every script, and their NULs lie on one side only.
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    encoding = "utf-16-le" if odd > even else "utf-16-be"
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(sample)
    except UnicodeDecodeError:
        text = ""
    printable = sum(character.isprintable() or character.isspace() for character in text)
    if min(even, odd) > 0.01 * max(even, odd) or printable < 0.99 * max(1, len(text)):
        raise InputError(
            f"{path} holds NUL bytes (the first at offset {sample.index(0)}): it is binary data, not text; "
            "give a plain text file"
        )
    return encoding


def _legacy_encoding(path: str, sample: bytes) -> str:
    """The encoding of text that is not Unicode, by charset-normalizer, which needs help with English.

    In English the few bytes above 127 are quotes, dashes and signs; that says too little for a statistical guess
    (which calls it Korean), but it says Windows-1252 when all of them are such signs in places where signs stand.
    """
    try:
        western = sample.decode("cp1252")
    except UnicodeDecodeError:
        western = ""
    strange = _SIGN_IN_A_WORD.search(western) is not None
    if western and not strange and not _FOREIGN_LETTER.search(western):
        return "cp1252"
    # Most texts are UTF-8, and the import takes longer than reading them.
    from charset_normalizer import from_bytes  # noqa: PLC0415

    matches = from_bytes(sample)
    best = matches.best()
    if best is None:
        if western and not strange:
            return "cp1252"
        raise InputError(f"{path} is in no encoding that can be recognised: save it as UTF-8")
    as_good = any(
        match.encoding == "cp1252" and match.chaos <= best.chaos and match.coherence >= best.coherence
        for match in matches
    )
    mostly_ascii = len(sample.translate(None, _HIGH)) > 0.9 * len(sample)
    unlikely = best.encoding in _TWO_BYTE and mostly_ascii and not strange
    if western and (as_good or unlikely or str(best) == western):
        return "cp1252"
    return best.encoding
