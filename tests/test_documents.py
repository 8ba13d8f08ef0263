"""Files to Documents: encodings, newlines, folders, and what is refused."""

import hashlib
import os
import socket
from pathlib import Path

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2expert import documents
from text2expert.errors import InputError
from text2expert.records import Document

ENGLISH = "The dose is 5 µg – never more than 10 °C. It’s the “nurse” who decides.\n" * 3
GERMAN = "Die Prüfung der Geräte erfolgt täglich. Für größere Mängel gilt § 5. Überprüfen Sie alles.\n" * 5
FRENCH = "L’élève a été très étonné : la procédure d’amarrage s’applique à tous. Le maître décide où.\n" * 5
RUSSIAN = "Настоящая процедура описывает порядок приёма судов. Капитан решает, когда начать.\n" * 5
POLISH = "Procedura określa sposób cumowania statków. Każdy żeglarz nosi kamizelkę. Źródło wyłączyć.\n" * 5
GREEK = "Η διαδικασία καθορίζει τον τρόπο πρόσδεσης των πλοίων. Ο πλοίαρχος αποφασίζει.\n" * 5
JAPANESE = "この手順は船舶の受け入れと係留について定める。船長が拒否した場合は作業を中止する。\n" * 6
CHINESE = "本程序规定了船舶的接收、系泊和加油。如果船长拒绝,则停止操作。\n" * 6
PLAIN = "One line.\nAnother one.\n"


@pytest.fixture
def write(tmp_path: Path):
    def write(name: str, data: bytes | str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def both(path: Path) -> Document:
    """The document, after making sure that `scan` says the same of it as `read`."""
    (document,) = documents.read(path)
    (scanned,) = documents.scan(path)
    assert attrs.evolve(document, text=None) == scanned
    assert "".join(documents.blocks(scanned)) == document.text
    return document


# Encodings.


@pytest.mark.parametrize(
    ("text", "written", "recorded"),
    [
        (PLAIN, "ascii", "utf-8"),
        (ENGLISH, "utf-8", "utf-8"),
        (ENGLISH, "utf-8-sig", "utf-8-sig"),
        (ENGLISH, "utf-16", "utf-16"),
        (ENGLISH, "utf-16-le", "utf-16-le"),
        (ENGLISH, "utf-16-be", "utf-16-be"),
        (CHINESE, "utf-16-le", "utf-16-le"),
        (ENGLISH, "utf-32", "utf-32"),
        (ENGLISH, "cp1252", "cp1252"),
        (ENGLISH * 300, "cp1252", "cp1252"),
        ("The price is £5.", "cp1252", "cp1252"),
        ("The naïve reader’s résumé – a café. " + PLAIN * 9, "cp1252", "cp1252"),
        (GERMAN, "cp1252", "cp1252"),
        (FRENCH, "cp1252", "cp1252"),
        (RUSSIAN, "cp1251", "cp1251"),
        (POLISH, "cp1250", "cp1250"),
        (GREEK, "cp1253", "cp1253"),
        (JAPANESE, "shift_jis", "cp932"),
        (CHINESE, "gb18030", "gb18030"),
    ],
)
def test_the_encoding_is_found_and_recorded(write, text: str, written: str, recorded: str) -> None:
    path = write("a.txt", text.encode(written))
    document = both(path)
    assert recorded == document.encoding
    assert text == document.text
    assert path.read_text(encoding=document.encoding) == document.text


def test_big_endian_utf_16_with_a_mark(write) -> None:
    assert ENGLISH == both(write("a.txt", b"\xfe\xff" + ENGLISH.encode("utf-16-be"))).text


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_newlines_are_as_python_reads_them(write, newline: str, encoding: str) -> None:
    path = write("a.txt", f"One: 5 µg{newline}{newline}Two: 5 °C{newline}".encode(encoding))
    document = both(path)
    assert document.text == "One: 5 µg\n\nTwo: 5 °C\n"
    assert path.read_text(encoding=document.encoding) == document.text


@settings(max_examples=60, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), block=st.integers(1, 9)
)
def test_blocks_give_the_text_that_python_reads(tmp_path_factory, text: str, block: int) -> None:
    """Also where a block ends inside a character or between CR and LF."""
    text = "Words. " + text.removeprefix("\ufeff") + "\r\n"
    path = tmp_path_factory.mktemp("blocks") / "a.txt"
    path.write_bytes(text.encode())
    expected = path.read_text(encoding="utf-8")
    document = Document(
        id="a",
        path=str(path),
        title="a",
        encoding="utf-8",
        text_sha256=hashlib.sha256(expected.encode()).hexdigest(),
        n_chars=len(expected),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "SAMPLE_BYTES", block)
        assert expected == "".join(documents.blocks(document))


def test_what_a_document_records(write) -> None:
    path = write("My Protocol (2).txt", "\ufeffOne.\r\nTwo.\r\n")
    document = both(path)
    assert document.id == "My_Protocol_2"
    assert document.title == "My Protocol (2)"
    assert document.path == str(path)
    assert document.n_chars == len("One.\nTwo.\n")
    assert hashlib.sha256(b"One.\nTwo.\n").hexdigest() == document.text_sha256


def test_the_encoding_of_a_huge_file_is_that_of_its_beginning(write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "SAMPLE_BYTES", 64)
    path = write("a.txt", b"plain words here\n" * 10 + "5 °C\n".encode("cp1252"))
    with pytest.raises(InputError, match=r"a\.txt is not valid utf-8: byte 0xb0 at offset 172"):
        documents.scan(path)
    assert documents.read(path)[0].encoding == "cp1252"


@pytest.mark.parametrize(
    ("data", "encoding", "offset"),
    [
        (b"\xef\xbb\xbf" + b"abc\n" * 30 + b"\xff\xfeabc\n", "utf-8-sig", 123),
        (b"\xff\xfe" + "abc\n".encode("utf-16-le") * 30 + b"\x00\xdc" + b"a\0", "utf-16", 242),
    ],
)
@pytest.mark.parametrize("block", [16, 1 << 20])
def test_the_first_undecodable_byte_is_named(
    write, monkeypatch: pytest.MonkeyPatch, data: bytes, encoding: str, offset: int, block: int
) -> None:
    monkeypatch.setattr(documents, "SAMPLE_BYTES", block)
    path = write("a.txt", data)
    for step in (documents.read, documents.scan):
        with pytest.raises(InputError, match=rf"a\.txt is not valid {encoding}: byte .* at offset {offset} "):
            step(path)


# Folders and lists.


def test_a_folder_is_read_at_any_depth_in_order(write, tmp_path: Path) -> None:
    for name in ("b.txt", "a.md", "deep/er/a.TXT", "deep/z.text", "c.html", ".hidden.txt", ".git/x.txt", "d.json"):
        write(name, PLAIN)
    found = documents.read(tmp_path)
    names = ["a.md", "b.txt", "c.html", "deep/er/a.TXT", "deep/z.text"]
    assert [str(tmp_path / name) for name in names] == [document.path for document in found]
    assert [document.id for document in found] == ["a", "b", "c", "a-2", "z"]


def test_second_documents_of_a_name_are_numbered(write) -> None:
    paths = [write(name, PLAIN) for name in ("x/a.txt", "y/a.txt", "z/A.md", "a-2.txt")]
    assert [document.id for document in documents.read(paths)] == ["a", "a-2", "A-3", "a-2-2"]


def test_a_file_that_is_reached_twice_is_read_once(write, tmp_path: Path) -> None:
    path = write("a.txt", PLAIN)
    assert len(documents.read([path, str(path), tmp_path])) == 1


def test_a_list_may_hold_documents(write) -> None:
    made = Document.from_text("Some words.", id="a")
    found = documents.read([made, write("a.txt", PLAIN)])
    assert [document.id for document in found] == ["a", "a-2"]
    assert found[0] is made
    assert documents.read(made) == [made]


def test_a_folder_named_like_a_text_is_a_folder(write, tmp_path: Path) -> None:
    write("x.txt/a.txt", PLAIN)
    assert [document.id for document in documents.read(tmp_path)] == ["a"]
    assert [document.id for document in documents.read(tmp_path / "x.txt")] == ["a"]


def test_links_inside_a_folder_are_followed_and_read_once(write, tmp_path: Path) -> None:
    path = write("in/b.txt", PLAIN)
    (tmp_path / "in" / "a.txt").symlink_to(path)
    assert len(documents.read(tmp_path / "in")) == 1


@pytest.mark.parametrize("to_folder", [True, False])
def test_a_link_out_of_a_folder_is_refused(write, tmp_path: Path, to_folder: bool) -> None:
    outside = write("out/secret.txt", PLAIN)
    write("in/a.txt", PLAIN)
    link = tmp_path / "in" / ("deep" if to_folder else "b.txt")
    link.symlink_to(outside.parent if to_folder else outside)
    with pytest.raises(InputError, match=f"{link} is a symbolic link to .*out"):
        documents.read(tmp_path / "in")


def test_a_link_that_is_named_itself_is_read(write, tmp_path: Path) -> None:
    link = tmp_path / "link.txt"
    link.symlink_to(write("out/secret.txt", PLAIN))
    assert documents.read(link)[0].text == PLAIN


# What is refused.


def refusals(path: object) -> list[str]:
    """What `read` and `scan` say when they refuse *path*."""
    said = []
    for step in (documents.read, documents.scan):
        with pytest.raises(InputError) as raised:
            step(path)
        said.append(str(raised.value))
    return said


@pytest.mark.parametrize(
    ("data", "because"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b" \n\t\r\n ", "nothing but white space"),
        ("\u3000\u00a0\n".encode(), "nothing but white space"),
        (b"\xef\xbb\xbf \n", "nothing but white space"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "is a damaged PDF"),
        (b"\n\n%PDF-1.4 abc", "is a damaged PDF"),
        (b"PK\x03\x04\x14\0\x06\0 word/document.xml", "zip archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Microsoft Office"),
        (b"{\\rtf1\\ansi Hello}", "RTF"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"\x1f\x8b\x08\0\0\0", "gzip"),
        (b"\x7fELF\x02\x01\x01\0", "a program"),
        (b"words and \0 a NUL byte, and more words after it", r"NUL bytes \(the first at offset 10\)"),
        (bytes(range(256)) * 40, "NUL bytes"),
        (b"\x01\x02\x03 words \x04\x05\x06" * 20, "control characters"),
    ],
)
def test_a_file_that_is_no_text_is_refused(write, data: bytes, because: str) -> None:
    import re

    for said in refusals(write("a.txt", data)):
        assert "a.txt" in said
        assert re.search(because, said)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for said in refusals(tmp_path / "none.txt"):
        assert f"{tmp_path}/none.txt: No such file" in said


def test_a_text_in_place_of_a_path_is_recognised() -> None:
    for text in ("One line.\nAnother.", "word " * 100):
        assert all("Document.from_text" in said for said in refusals(text))


@pytest.mark.parametrize("source", [7, None, b"a.txt", [b"a.txt"], [None], [], ""])
def test_other_sources_are_refused(source: object) -> None:
    assert all("source" in said for said in refusals(source))


def test_a_folder_without_texts_is_refused(write, tmp_path: Path) -> None:
    write("in/a.json", PLAIN)
    assert all("holds no text" in said for said in refusals(tmp_path / "in"))


def test_a_file_without_permission_is_refused(write) -> None:
    path = write("a.txt", PLAIN)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser may read everything: nothing to refuse
        assert documents.read(path)[0].text == PLAIN
    else:
        assert all("a.txt: Permission denied" in said for said in refusals(path))


def test_a_pipe_and_a_socket_are_refused_and_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert all("not a regular file" in said for said in refusals(tmp_path / "pipe.txt"))
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.txt")
        assert all("not a regular file" in said for said in refusals("s.txt"))


def test_a_file_that_changes_between_scan_and_reading_is_refused(write) -> None:
    path = write("a.txt", PLAIN)
    (document,) = documents.scan(path)
    path.write_text(PLAIN.replace("One", "Two"))
    with pytest.raises(InputError, match="changed while it was read"):
        documents.text_of(document)


def test_a_document_without_text_and_path_is_refused() -> None:
    document = attrs.evolve(Document.from_text("Words."), text=None)
    with pytest.raises(InputError, match="neither a text nor a path"):
        documents.text_of(document)


def test_a_file_of_the_kernel_is_read_though_its_size_is_said_to_be_zero() -> None:
    assert documents.read("/proc/version")[0].n_chars > 10
