"""The promises of the chunker, on the samples, on hand-made texts and on generated ones."""

import itertools
import random
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from chunk_quality import boundary, joints, left_out, measure
from hypothesis import example, given, settings
from hypothesis import strategies as st

from text2expert import documents
from text2expert.chunker import Chunker, tokens
from text2expert.errors import InputError
from text2expert.records import Chunk, Document

SAMPLES = sorted((Path(__file__).parents[1] / "text2expert" / "samples").glob("*.txt"))

WORDS = (
    "the master agrees the order before a line is thrown and the foreman reads the gauge aloud every ten minutes while "
    "nobody stands near the bollard because wet rope parts without warning when the wind rises above its limit"
).split()


def prose(seed: int, sentences: int) -> list[str]:
    """Sentences of varied length that are not alike."""
    draw = random.Random(seed)
    return [
        " ".join([draw.choice(WORDS).title(), *draw.choices(WORDS, k=draw.randint(4, 25)), str(draw.randint(1, 9999))])
        + draw.choice("..?!")
        for _ in range(sentences)
    ]


def assert_sound(text: str, chunks: list[Chunk], size: int) -> None:
    """What holds for the chunks of any text."""
    assert chunks
    for chunk in chunks:
        assert text[chunk.start : chunk.end] == chunk.text
        assert chunk.char_count == len(chunk.text) == chunk.end - chunk.start
        assert 0 < len(chunk.text) <= size
        assert chunk.text == chunk.text.strip()
    assert left_out(text, chunks) == ""
    assert [chunk.id for chunk in chunks] == [f"chunk_{n:06d}" for n in range(1, len(chunks) + 1)]
    for first, second in itertools.pairwise(chunks):
        assert first.start < second.start
        assert first.end < second.end


def assert_no_cut_words(text: str, chunks: list[Chunk], size: int) -> None:
    for chunk in chunks:
        for place in (chunk.start, chunk.end):
            if boundary(text, place) == "inside":
                word = len(text[:place].rsplit(maxsplit=1)[-1]) + len(text[place:].split(maxsplit=1)[0])
                assert word > size, text[place - 20 : place + 20]


# The samples.


def test_the_samples_are_cut_where_a_reader_would_cut_them() -> None:
    """The figures that the project promises, pooled over the three samples."""
    texts = documents.read(list(SAMPLES))
    quality = measure([(documents.text_of(text), Chunker().split(text)) for text in texts])
    assert quality.line_or_better >= 0.95
    assert quality.sentence_or_better >= 0.75
    assert quality.overlapping >= 0.98
    assert 80 <= quality.median_overlap <= 130
    assert quality.joints > 100


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("size", "overlap"), [(800, 100), (300, 40), (2000, 0), (120, 110)])
def test_the_samples_keep_the_invariants(path: Path, size: int, overlap: int) -> None:
    (document,) = documents.read(path)
    text = documents.text_of(document)
    chunks = Chunker(size, overlap).split(document)
    assert_sound(text, chunks, size)
    assert_no_cut_words(text, chunks, size)


def test_sections_of_the_samples() -> None:
    """Chunks begin with their section's heading and never reach into the next one."""
    expected = {"records_retention_policy": 10, "respiratory_protocol": 24, "vessel_mooring_sop": 16}
    for document in documents.read(list(SAMPLES)):
        chunks = Chunker().split(document)
        sections = list(dict.fromkeys(chunk.headings[:1] for chunk in chunks))
        assert sections[0] == ()
        assert expected[document.id] == len(sections) - 1
        for chunk in chunks:
            for section in sections[1:]:
                assert chunk.text.find("\n" + section[0]) == -1


def test_chunks_of_several_documents_are_numbered_through() -> None:
    texts = documents.read(list(SAMPLES))
    chunks = Chunker().split(texts)
    assert [f"chunk_{n:06d}" for n in range(1, len(chunks) + 1)] == [chunk.id for chunk in chunks]
    assert {text.id for text in texts} == {chunk.document for chunk in chunks}
    alone = [chunk for text in texts for chunk in Chunker().split(text)]
    assert [chunk.key for chunk in alone] == [chunk.key for chunk in chunks]


# Any text.

text_of_any_kind = st.lists(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "    ..!?:;-#=012abcdeABC()。、です中文ภาษาไทย\u0e31\u0301\u200d\U0001f3fd\U0001f469\u00a0\u3000|"
        ),
        st.sampled_from(
            ["\n", "\n\n", ". ", "\n- ", "\n  - ", "\n\nSection 4. Title\n", "\n\n## ", ":\n", "  ", "WORD", "\r\n"]
        ),
        st.sampled_from(["plain words ", "A sentence. ", "\n\nA PART\n\n", "\n1. One\n", "\n2.1 Two\n", "\n```\n"]),
    ),
    min_size=1,
    max_size=150,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(text=text_of_any_kind, size=st.integers(1, 120), share=st.floats(0, 0.99))
@example(text="abcdef\u0e01\u0e31", size=7, share=0)
@example(text="ab" + " " * 300 + "\n\n" + " " * 300 + "cd", size=10, share=0.5)
@example(text="abc\n\n" + "x" * 50 + "\n\nabc", size=10, share=0.9)
@example(text="a" * 7 + " " + "b" * 9 + " " + "c" * 10, size=10, share=0.9)
def test_any_text_is_covered_in_order_within_size(text: str, size: int, share: float) -> None:
    if not text.removeprefix("\ufeff").strip():
        with pytest.raises(InputError, match="empty"):
            Chunker(size, 0).split(text)
        return
    document = Document.from_text(text)
    chunks = Chunker(size, int(size * share)).split(text)
    assert_sound(documents.text_of(document), chunks, size)


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(st.text(st.sampled_from("aábcÄß12-'’.,;:!?\"()"), min_size=1, max_size=30), min_size=1, max_size=80),
    gaps=st.lists(st.sampled_from([" ", "  ", "\n", "\n\n", "\t", "\n    "]), min_size=80, max_size=80),
    size=st.integers(5, 90),
    share=st.floats(0, 0.99),
)
def test_no_word_is_cut_that_fits(words: list[str], gaps: list[str], size: int, share: float) -> None:
    text = "".join(word + gap for word, gap in zip(words, gaps, strict=False)).strip()
    chunks = Chunker(size, int(size * share)).split(text)
    assert_sound(text, chunks, size)
    assert_no_cut_words(text, chunks, size)


@settings(max_examples=150, deadline=None)
@given(text=text_of_any_kind, size=st.integers(3, 80), block=st.integers(1, 90))
def test_a_text_in_blocks_gives_the_same_chunks(text: str, size: int, block: int) -> None:
    """However a file is read, what comes out is the same."""
    if not text.removeprefix("\ufeff").strip():
        return
    document = Document.from_text(text * 4)
    whole = documents.text_of(document)
    blocks = [whole[place : place + block] for place in range(0, len(whole), block)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "blocks", lambda _: iter(blocks))
        streamed = list(Chunker(size, size // 3).stream(without_text(document)))
    assert Chunker(size, size // 3).split(document) == streamed


def without_text(document: Document) -> Document:
    return attrs.evolve(document, text=None, path="unused")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("block", [1000, 4096, 30_000])
def test_the_samples_stream_as_they_split(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "SAMPLE_BYTES", block)
    (document,) = documents.read(path)
    assert Chunker().split(document) == list(Chunker().stream(path))


def test_a_stream_reads_no_further_than_it_must() -> None:
    """Also after a last heading, in front of which all that follows might otherwise be held."""
    text = "# The only one\n\n" + " ".join(prose(1, 3000)) + "\n" * 50_000 + " ".join(prose(2, 3000))
    drawn = 0

    def blocks(_: Document) -> Iterator[str]:
        nonlocal drawn
        for drawn in range(0, len(text), 10_000):
            yield text[drawn : drawn + 10_000]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(documents, "blocks", blocks)
        for chunk in Chunker().stream(without_text(Document.from_text(text))):
            assert drawn - chunk.end < 80_000
    assert chunk.end == len(text)


def test_a_stream_numbers_on_from_where_it_is_told() -> None:
    chunks = list(Chunker().stream(SAMPLES[0], first=41))
    assert chunks[0].id == "chunk_000041"
    assert chunks[-1].id == f"chunk_{40 + len(chunks):06d}"


@pytest.mark.parametrize("first", [-1, 1.5, "1", True])
def test_a_stream_refuses_other_first_numbers(first: object) -> None:
    with pytest.raises(InputError, match="first="):
        list(Chunker().stream(SAMPLES[0], first=first))  # type: ignore[arg-type]


def test_windows_newlines_give_offsets_into_the_text_as_python_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "crlf.txt"
    path.write_bytes("\r\n\r\n".join(prose(3, 60)).encode())
    (document,) = documents.read(path)
    chunks = Chunker(200, 40).split(document)
    source = path.read_text(encoding=document.encoding)
    assert_sound(source, chunks, 200)


# Scripts and long words.


@pytest.mark.parametrize(
    "text",
    [
        "本程序规定了船舶的接收、系泊和加油。如果船长拒绝，则停止操作。" * 60,
        "この手順は船舶の受け入れと係留について定める。船長が拒否した場合は作業を中止する。" * 60,
        "ขั้นตอนนี้กำหนดวิธีการรับเรือและการผูกเรือถ้ากัปตันปฏิเสธให้หยุดการทำงาน" * 40,
        "本程序规定了船舶的接收系泊和加油如果船长拒绝则停止操作" * 80,
    ],
    ids=["Chinese", "Japanese", "Thai", "Chinese without punctuation"],
)
def test_scripts_without_spaces_are_cut_between_characters(text: str) -> None:
    chunks = Chunker(300, 50).split(text)
    assert_sound(text, chunks, 300)
    assert len(chunks) < 2.5 * len(text) / 250
    for chunk in chunks:
        assert not unicodedata.category(chunk.text[0]).startswith("M")
    assert all(20 <= overlap <= 130 for overlap in joints(chunks))


def test_chinese_is_cut_after_full_stops() -> None:
    text = "本程序规定了船舶的接收、系泊和加油。如果船长拒绝，则停止操作。" * 60
    chunks = Chunker(300, 50).split(text)
    assert all(chunk.text.endswith("。") for chunk in chunks)


@pytest.mark.parametrize("cluster", ["e\u0301", "\U0001f469\u200d\U0001f52c", "\U0001f44d\U0001f3fd", "नि"])
def test_a_hard_cut_leaves_characters_whole(cluster: str) -> None:
    """A word longer than the size is cut, but not between a letter and its marks."""
    text = cluster * 500
    chunks = Chunker(101, 20).split(text)
    assert_sound(text, chunks, 101)
    for chunk in chunks:
        assert chunk.start % len(cluster) == 0
        assert chunk.end % len(cluster) == 0


def test_a_word_longer_than_the_size_is_cut_hard_and_its_neighbours_are_not() -> None:
    text = f"before {'x' * 500} after it all"
    chunks = Chunker(100, 20).split(text)
    assert_sound(text, chunks, 100)
    assert_no_cut_words(text, chunks, 100)
    assert max(len(chunk.text) for chunk in chunks) == 100


@pytest.mark.parametrize("length", range(6, 30))
def test_a_hard_cut_brings_something_new_also_before_a_short_rest(length: int) -> None:
    for size in range(5, 20):
        for overlap in range(size):
            assert_sound("1" * length, Chunker(size, overlap).split("1" * length), size)


def test_the_smallest_size() -> None:
    assert ["a", "b", "c"] == [chunk.text for chunk in Chunker(1, 0).split("ab c")]


# Long lines.


def test_one_line_of_ten_megabytes() -> None:
    text = " ".join(prose(11, 20) * 5000)[:10_000_000]
    chunks = Chunker().split(text)
    assert chunks[0].start == 0
    assert chunks[-1].end == len(text.rstrip())
    assert all(len(chunk.text) <= 800 for chunk in chunks)
    assert all(first.end > second.start for first, second in itertools.pairwise(chunks))


# Edits.


def test_an_edit_in_one_section_leaves_the_keys_of_the_others(tmp_path: Path) -> None:
    for path in SAMPLES:
        text = path.read_text(encoding="utf-8")
        before = Chunker().split(text)
        place = text.index(".", len(text) // 2) + 1
        edited = f"{text[:place]} A sentence that was not there before.{text[place:]}"
        after = Chunker().split(edited)
        changed = next(chunk for chunk in before if chunk.start <= place < chunk.end).headings[:1]
        assert {c.key for c in before if c.headings[:1] != changed} == {
            c.key for c in after if c.headings[:1] != changed
        }
        assert {c.key for c in before} != {c.key for c in after}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("joint", [" ", "\n\n", "lines"])
def test_cuts_fall_back_into_step_after_an_edit(seed: int, joint: str) -> None:
    """In a text without headings a sentence put in changes a few chunks, and not all that follow."""
    sentences = prose(seed, 2000)

    def together(sentences: list[str]) -> str:
        if joint != "lines":
            return joint.join(sentences)
        return "".join(sentence + ("\n" if len(sentence) % 3 else "\n\n") for sentence in sentences)

    before = Chunker().split(together(sentences))
    after = Chunker().split(together([*sentences[:200], "Something quite new is said here.", *sentences[200:]]))
    new = {chunk.key for chunk in after} - {chunk.key for chunk in before}
    assert 1 <= len(new) <= 25
    assert len(after) > 200


def test_a_key_is_made_of_text_and_context_alone() -> None:
    text = "\n\n".join(prose(5, 40))
    moved = Chunker().split(f"{'A first paragraph. ' * 3}\n\n# Heading\n\n{text}\n\n# End\n\nBye.")
    alone = Chunker().split(f"# Heading\n\n{text}\n\n# End\n\nBye.")
    assert [chunk.key for chunk in alone] == [chunk.key for chunk in moved][1:]
    other = Chunker().split(f"# Other\n\n{text}\n\n# End\n\nBye.")
    assert not {chunk.key for chunk in alone[:-1]} & {chunk.key for chunk in other[:-1]}


def test_the_same_text_gives_the_same_chunks() -> None:
    (document,) = documents.read(SAMPLES[0])
    assert Chunker().split(document) == Chunker().split(document)


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"size": 0}, "size=0"),
        ({"size": -5}, "size=-5"),
        ({"size": float("nan")}, "size=nan"),
        ({"size": 800.0}, "size=800.0"),
        ({"size": "800"}, "size='800'"),
        ({"size": True}, "size=True"),
        ({"size": None}, "size=None"),
        ({"overlap": -1}, "overlap=-1"),
        ({"overlap": float("nan")}, "overlap=nan"),
        ({"overlap": False}, "overlap=False"),
        ({"size": 100, "overlap": 100}, "overlap=100"),
        ({"size": 100, "overlap": 300}, "overlap=300"),
        ({"unit": "words"}, "unit='words'"),
        ({"unit": "tokens", "encoding": "klingon"}, "encoding='klingon'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_value(arguments: dict[str, object], named: str) -> None:
    with pytest.raises(InputError) as raised:
        Chunker(**arguments)  # type: ignore[arg-type]
    assert named in str(raised.value)


@pytest.mark.parametrize("source", ["", "  \n\t ", Document(
    id="gone", path="/nowhere/at/all.txt", title="gone", encoding="utf-8", text_sha256="", n_chars=1
)])  # fmt: skip
def test_a_text_that_is_not_there_is_refused(source: str | Document) -> None:
    with pytest.raises(InputError):
        Chunker().split(source)


@pytest.mark.parametrize("source", [7, None, ["a path"], b"bytes"])
def test_split_takes_texts_and_documents_only(source: object) -> None:
    with pytest.raises(InputError, match="give a text"):
        Chunker().split(source)  # type: ignore[arg-type]


# Tokens.


def byte_pairs(name: str) -> object:
    """A real tokenizer, small enough to be made here: bytes and a few merges."""
    import tiktoken

    merges = [b"th", b"the", b" t", b"er", b"in", b" a", b" s", b" the", b"  ", b"    ", b"on", b"nd", b"and", b" and"]
    ranks = {bytes([byte]): byte for byte in range(256)}
    ranks |= {merge: 256 + number for number, merge in enumerate(merges)}
    pattern = r"""[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"""
    return tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


@pytest.fixture
def tokenizer(monkeypatch: pytest.MonkeyPatch) -> object:
    encoding = byte_pairs("small")
    monkeypatch.setattr(tokens, "_cached", lambda _: True)
    monkeypatch.setattr(tokens, "_encoding", lambda _: encoding)
    return encoding


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No ranks on this machine, and whoever goes to fetch them fails."""
    import tiktoken.load

    def refuse(*_: object) -> bytes:
        pytest.fail("tried to download ranks")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(tiktoken.load, "read_file", refuse)


@settings(max_examples=40, deadline=None)
@given(text=text_of_any_kind, size=st.integers(8, 60), share=st.floats(0, 0.9))
def test_no_chunk_has_more_tokens_than_its_size(text: str, size: int, share: float) -> None:
    if not text.removeprefix("\ufeff").strip():
        return
    encoding = byte_pairs("small")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "_cached", lambda _: True)
        patch.setattr(tokens, "_encoding", lambda _: encoding)
        chunks = Chunker(size, int(size * share), unit="tokens").split(text)
    assert_sound(documents.text_of(Document.from_text(text)), chunks, 10**9)
    assert all(len(encoding.encode_ordinary(chunk.text)) <= size for chunk in chunks)  # type: ignore[attr-defined]


@pytest.mark.usefixtures("tokenizer")
def test_sizes_in_tokens_are_used_up_and_overlap() -> None:
    text = " ".join(prose(2, 400))
    chunker = Chunker(200, 30, unit="tokens")
    assert chunker.estimator == "tiktoken:cl100k_base"
    chunks = chunker.split(text)
    encoding = byte_pairs("small")
    sizes = [len(encoding.encode_ordinary(chunk.text)) for chunk in chunks]  # type: ignore[attr-defined]
    assert max(sizes) <= 200
    assert sum(sizes) / len(sizes) > 130
    shared = [
        len(encoding.encode_ordinary(text[second.start : first.end]))  # type: ignore[attr-defined]
        for first, second in itertools.pairwise(chunks)
    ]
    assert 15 <= sorted(shared)[len(shared) // 2] <= 50


@pytest.mark.usefixtures("tokenizer")
def test_tokens_stream_as_they_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "SAMPLE_BYTES", 5000)
    (document,) = documents.read(SAMPLES[0])
    chunker = Chunker(150, 20, unit="tokens")
    assert chunker.split(document) == list(chunker.stream(SAMPLES[0]))


@pytest.mark.usefixtures("no_cache")
def test_without_cached_ranks_bytes_stand_in_and_this_is_said() -> None:
    chunker = Chunker(100, 20, unit="tokens")
    assert chunker.estimator == "utf8-bytes/4"
    text = " ".join(prose(4, 100)) + "é文" * 300
    chunks = chunker.split(text)
    assert_sound(text, chunks, 400)
    assert all(len(chunk.text.encode()) <= 400 for chunk in chunks)


@pytest.mark.usefixtures("no_cache")
def test_a_damaged_rank_file_is_not_used(tmp_path: Path) -> None:
    """tiktoken would throw it away and fetch a new one."""
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_text("damaged")
    assert Chunker(unit="tokens").estimator == "utf8-bytes/4"


def test_the_estimator_of_characters() -> None:
    assert Chunker().estimator == "characters"


def test_the_rank_files_are_those_that_tiktoken_would_fetch() -> None:
    """A look into its source, since asking it would fetch them."""
    import inspect

    from tiktoken_ext import openai_public

    source = inspect.getsource(openai_public)
    for name, sha256 in tokens._RANKS.values():
        assert tokens._ORIGIN + name in source
        assert sha256 in source
