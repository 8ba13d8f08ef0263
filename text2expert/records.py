r"""The nouns: frozen records that the steps hand to each other, and their one form in JSON and JSONL.

Every step takes records and gives records. Offsets are character offsets into the source text: decoded, without a byte
order mark, newlines ``"\n"`` (what ``open(path, encoding=document.encoding).read()`` gives).
"""

import codecs
import hashlib
import html
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from text2expert import files
from text2expert._strict import strict_converter
from text2expert.errors import InputError, RecordError

Difficulty = Literal["easy", "medium", "hard"]
Status = Literal["model", "evidence", "unverified"]

R = TypeVar("R")


def digest(*parts: str) -> str:
    """The SHA-256 of *parts*, in hexadecimal; a part's end is part of what is hashed, so ("ab", "c") != ("a", "bc")."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        total.update(b"%d:" % len(data))
        total.update(data)
    return total.hexdigest()


def fraction(seed: int, content: str) -> float:
    """A number from 0 up to but not 1 for *content*, as good as random: a function of seed and content alone."""
    return int(digest(str(seed), content)[:13], 16) / 16**13


def drawn(seed: int, content: str, share: float) -> bool:
    """Whether *content* is in a sample of *share* (0 to 1): a function of seed and content alone.

    Order, concurrency and other members of the population change nothing.
    """
    return fraction(seed, content) < share


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the share of which *right* of *n* (1 or more) are a sample, each bound 0 to 1.

    After Wilson (1927), which is honest near 0 and 1 and for small *n*.
    """
    z, share = 1.959964, right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Characters of scripts that set no spaces between words (Thai, Lao, Burmese, Khmer, Chinese, Japanese), as a class."""

_PUNCTUATION = r"\s!-/:-@\[-`{-~\u00a1-\u00bf\u00d7\u00f7\u2000-\u206f\u2200-\u22ff\u3000-\u303f"
_WORD = re.compile(
    r"(?<![\w.,)])-\d+(?:[.,]\d+)*"  # a negative number; in 88-92 there is none
    r"|\d+(?:[.,]\d+)+"  # 3.5 is one word, and so is 1,000
    r"|[<>=±≤≥≠%°]"  # "<5" and ">5" are not the same
    rf"|[{UNSPACED}]"  # each is a word
    rf"|[^{_PUNCTUATION}{UNSPACED}]+"
)


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def wording(text: str) -> str:
    """*text* as it counts when two are compared: its words, numbers and signs, in lower case, one space between.

    Case, typography and punctuation do not make another question; a digit, a sign or a comparator does.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_WORD.findall(folded.replace("−", "-")))


@attrs.frozen(kw_only=True)
class Document:
    """A source text and where it came from. ``text`` is never written to JSON; None: read it from ``path``."""

    id: str
    """Names it in every record that comes of it; by default the stem of its file."""
    path: str | None = None
    title: str
    encoding: str
    text: str | None = attrs.field(default=None, repr=False)
    text_sha256: str
    """Of the source text, encoded as UTF-8."""
    n_chars: int
    converted_by: str = ""
    """Libraries and versions that made the text of a PDF, DOCX or HTML file; empty where the file is the text."""
    file_sha256: str = ""
    """Of the bytes of a file that was converted."""

    @classmethod
    def from_text(cls, text: str, *, id: str = "text", title: str | None = None) -> "Document":  # noqa: A002 - the record's own field name
        r"""A document from a string instead of a file.

        Newlines are made ``"\n"`` and a leading byte order mark is dropped, as they are when a file is read.

        Raises:
            InputError: *text* is empty or only white space, or holds lone surrogates; *id* cannot be a file name.
        """
        if id != files.safe_name(id):
            msg = f"document id {id!r} cannot be a file name: call it {files.safe_name(id)!r}, say"
            raise InputError(msg)
        text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        if not text.strip():
            msg = f"document {id!r} is empty: there is nothing to learn in {len(text)} characters of white space"
            raise InputError(msg)
        try:
            sha256 = hashlib.sha256(text.encode()).hexdigest()
        except UnicodeEncodeError as error:
            msg = f"document {id!r} holds a lone surrogate at character {error.start}: decode its source properly first"
            raise InputError(msg) from error
        return cls(id=id, title=title or id, encoding="utf-8", text=text, text_sha256=sha256, n_chars=len(text))


@attrs.frozen(kw_only=True)
class Span:
    """A quote with its place: ``source[start:end] == text``."""

    document: str
    """`Document.id`."""
    start: int
    """Offset of its first character in the source text, from 0."""
    end: int
    """Offset behind its last character."""
    text: str


@attrs.frozen(kw_only=True)
class Chunk:
    """A passage of a document: ``source[start:end] == text``.

    ``id`` is positional and runs on over all documents of a run; ``key`` is a digest of text and context and is the
    identity. ``context`` is what a reader must see beside the text: the heading path and a list's lead-in.
    """

    id: str
    key: str
    document: str
    text: str
    start: int
    end: int
    char_count: int
    """Characters of ``text``."""
    headings: tuple[str, ...] = ()
    """Those that it stands under, from the top down."""
    context: str = ""


@attrs.frozen(kw_only=True)
class QAPair:
    """A question in one wording, with its answer and where the source says so."""

    qa_id: str
    question: str
    answer: str
    short_answer: str = ""
    """The canonical answer: the shortest span that answers the question."""
    reasoning: str = ""
    """Why the text says so, in the teacher's words."""
    difficulty: Difficulty = "medium"
    sources: tuple[str, ...]
    """Ids of the chunks that the question was written from."""
    evidence: tuple[Span, ...] = ()
    """The quotes that the answer rests on."""
    item: str = ""
    """Equal for the wordings of one question. A teacher gives a digest of content, never an id or a position."""
    fact: str = ""
    """Equal for items whose evidence overlaps by half; set by `text2expert.golden`."""
    kind: str = ""
    """``rule:template`` for template teachers; ``question`` for models."""
    model: str = ""


@attrs.frozen(kw_only=True)
class Verdict:
    """What a verifier says of one pair. ``approved`` is the AND of the three judgements, never taken on trust."""

    qa_id: str
    grounded: bool
    """The text says it."""
    no_hallucination: bool
    """Nothing is added to what the text says."""
    complete: bool
    """Nothing is missing that the question asks for."""
    reason: str = ""
    """Why not, where one of the three is False."""
    by: str = ""
    control: Literal["", "bad", "good"] = ""
    """Set where the pair was planted to measure the verifier itself: known to be bad, or good. No such pair is gold."""
    approved: bool = attrs.field(init=False)

    @approved.default
    def _all_three(self) -> bool:
        return self.grounded and self.no_hallucination and self.complete


@attrs.frozen(kw_only=True)
class GoldRecord:
    """A training example, in the form that LLaMA-Factory and others read as it is.

    Only ``instruction`` and ``output`` are needed: a file written or edited by hand trains too.
    """

    instruction: str
    input: str = ""
    output: str
    short_answer: str = ""
    reasoning: str = ""
    difficulty: Difficulty = "medium"
    qa_id: str = ""
    item: str = ""
    fact: str = ""
    kind: str = ""
    document: str = ""
    evidence: tuple[Span, ...] = ()
    status: Status = "unverified"
    """Who approved it: a model, the check of evidence, or nobody."""


@attrs.frozen(kw_only=True)
class Stage:
    """One recipe to run: ``argv`` is its script's name in `text2expert.recipes` and its arguments.

    Every path is relative to the job's folder, so that a job can be carried to another machine. The recipe reads
    ``stages/<name>/job.json`` and writes ``stages/<name>/done.json`` last.
    """

    name: str
    argv: tuple[str, ...]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Needs:
    """What a job asks of a machine: gigabytes (10**9 bytes) of GPU memory and of disk, and tokens to process."""

    vram_gb: float = 0.0
    disk_gb: float = 0.0
    tokens: int = 0
    seconds: float | None = None
    """That an RTX 4090 takes for them, and for what the base writes before; None: not known."""
    exam_seconds: float = 0.0
    """That it takes to read the exam's prompts, passages included, and to answer them."""
    base_gb: float | None = None
    """Of the base's files; None: not known."""
    sends_base: bool = False
    """They go there from this machine; else that machine fetches them."""


@attrs.frozen(kw_only=True)
class Job:
    """Stages to run one after another in one folder on one machine."""

    id: str
    folder: str
    stages: tuple[Stage, ...]
    needs: Needs = Needs()


@attrs.frozen(kw_only=True)
class Quote:
    """What a runner would ask for a job: US dollars and seconds."""

    usd: float
    seconds: float
    most: float | None = None
    """US dollars that it may come to at most; None: not more than *usd*."""
    least: float | None = None
    """US dollars without which the runner does not begin; None: *usd*."""


@attrs.frozen(kw_only=True)
class Adapter:
    """A trained LoRA adapter: a PEFT folder, the base that it belongs to and the data that it was made from."""

    path: str
    base_model: str
    """A name on the hub, or a folder."""
    base_revision: str | None = None
    gold_sha256: str
    """Of the golden dataset's file."""


@attrs.frozen(kw_only=True)
class Answer:
    """What an expert says, or another contestant of the exam."""

    text: str
    confidence: float | None = None
    """Geometric mean of the probabilities of its tokens, 0 to 1; None where none is told. An expert always tells it."""
    seconds: float | None = None
    """That it took; None where that was not measured. An expert always tells it."""
    sources: tuple[str, ...] = ()
    """Ids of the chunks that support it, found after the fact; or, of a reader, of those that it was shown."""
    evidence: tuple[Span, ...] = ()
    """The sentences, list items and table rows of `sources` that do, with what must be read along with them."""
    reasoning: str = ""
    """What it wrote before or after its answer, where it was trained to reason."""
    supported: bool | None = None
    """Whether `sources` hold all of its numbers; None where there is no text to look it up in."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    withheld: str = ""
    """What it would have said, where its confidence was below the least that was asked for and `text` is a refusal."""
    as_sure: tuple[int, int] | None = None
    """Of the unseen questions of the expert's exam, those that it answered about as surely: how many right, of how many.
    None where there was no exam, or a small one."""

    def __str__(self) -> str:
        return self.text

    @property
    def worth(self) -> str:
        """`as_sure` in words; empty where it is not known."""
        return (
            "of the exam's answers about as sure, {:,} of {:,} were right".format(*self.as_sure) if self.as_sure else ""
        )

    def _repr_html_(self) -> str:
        """The answer in a notebook, with how sure it is and what supports it."""
        facts = [f"withheld: {html.escape(self.withheld)}"] if self.withheld else []
        if self.confidence is not None:
            what = "geometric mean of the probabilities of its tokens; no chance to be right"
            facts.append(f'<span title="{what}">confidence {self.confidence:.2f}</span>')
        if self.worth:
            facts.append(self.worth)
        if self.supported is False:
            facts.append("<b>unsupported</b>: a number of it stands in no passage")
        if self.seconds is not None:
            facts.append(f"{self.seconds:.2f} s")
        quotes = "".join(f"<blockquote>{html.escape(each.text)}</blockquote>" for each in self.evidence)
        if self.sources:
            quotes = f"<p><small>{html.escape(', '.join(self.sources))}:</small></p>{quotes}"
        return f'<p style="max-width:50em">{html.escape(self.text)}</p><p><small>{"; ".join(facts)}</small></p>{quotes}'


@attrs.frozen(kw_only=True)
class Disagreement:
    """A question that a merged model answers otherwise than its adapter."""

    question: str
    adapter: str
    merged: str

    def __str__(self) -> str:
        return f"{self.question!r:.80}: {self.adapter!r:.80} became {self.merged!r:.80}"


@attrs.frozen(kw_only=True)
class Merged:
    """A full model that an adapter became, and how many of the questions asked it answers as the adapter does."""

    path: str
    asked: int
    agreed: int
    differing: tuple[Disagreement, ...] = ()
    confidence_shift: float = 0.0
    """How far the confidences of its answers are from the adapter's, on average."""

    def __str__(self) -> str:
        return f"{self.path}: {self.agreed} of {self.asked} answers are those of the adapter"


ExamRowName = Literal[
    "taught",
    "held_out",
    "new_template",
    "written_apart",
    "across",
    "never_asked",
    "unanswerable",
    "hand_written",
    "general",
]
"""Where an exam question comes from, from the easiest to the most honest:

``taught``        in the training set, word for word
``held_out``      a wording kept out of training, of an item whose other wordings are in it
``new_template``  a wording whose template was kept out of training for every item
``written_apart`` written by a model that did not see the training set, over passages that are taught
``across``        needs passages of different sections
``never_asked``   a fact kept out of training whole
``unanswerable``  the document does not say; right is to say so
``hand_written``  the user's own exam
``general``       general knowledge that has nothing to do with the document: whether it is forgotten
"""


ROW_TITLES: dict[ExamRowName, str] = {
    "taught": "taught wordings",
    "held_out": "held-out wordings",
    "new_template": "wordings unlike any template",
    "written_apart": "questions written apart",
    "across": "across sections",
    "never_asked": "facts never asked",
    "unanswerable": "not in the document",
    "hand_written": "hand-written exam",
    "general": "general knowledge",
}
"""How the exam's rows are called on screen, in their order."""

UNSEEN_ROWS: tuple[ExamRowName, ...] = ("held_out", "new_template", "written_apart", "across", "hand_written")
"""Rows that ask for what is taught in other words than it was taught in."""


@attrs.frozen(kw_only=True)
class ExamQuestion:
    """A question of the exam with what counts as right. An unanswerable one has no ``answer``."""

    id: str
    row: ExamRowName
    question: str
    answer: str | None
    aliases: tuple[str, ...] = ()
    """Other answers that are as right; the short canonical answer comes first."""
    value: float | None = None
    unit: str | None = None
    document: str = ""
    evidence: tuple[Span, ...] = ()
    item: str = ""
    fact: str = ""
    kind: str = ""
    difficulty: str = ""


@attrs.frozen(kw_only=True)
class ExamPrompt:
    """What the base, or the expert, is asked where a training runs: a question as it stands there, and who answers it."""

    id: str
    question: str
    to: Literal["base", "expert"]
    contestant: str = ""
    """Whose answer it becomes; some of each one's are timed alone."""


def _make_converter() -> cattrs.Converter:
    converter = strict_converter()
    converter.register_unstructure_hook(
        Document, make_dict_unstructure_fn(Document, converter, text=override(omit=True))
    )
    converter.register_unstructure_hook(
        Verdict, make_dict_unstructure_fn(Verdict, converter, _cattrs_include_init_false=True)
    )
    plain = make_dict_unstructure_fn(QAPair, converter)
    converter.register_unstructure_hook(
        QAPair, lambda pair: {**plain(pair), "source_chunk": pair.sources[0] if pair.sources else ""}
    )
    return converter


_converter = _make_converter()


def to_dict(record: Any) -> dict[str, Any]:
    """A record as plain JSON values."""
    plain: dict[str, Any] = _converter.unstructure(record)
    return plain


def from_dict(value: Any, cls: type[R]) -> R:
    """Plain JSON values as a record. Unknown keys are ignored, missing ones take their default.

    Raises:
        InputError: A value is missing or of another type; the message gives the path to it.
    """
    try:
        return _converter.structure(value, cls)
    except Exception as error:
        reasons = "; ".join(cattrs.transform_error(error, path=cls.__name__, format_exception=_reason))
        raise InputError(reasons) from error


def _reason(error: BaseException, kind: type | None) -> str:
    return str(error) if isinstance(error, TypeError | InputError) else cattrs.v.format_exception(error, kind)


def to_line(record: Any) -> str:
    """A record as one line of JSON, without the newline.

    Raises:
        InputError: A number is infinite or not a number: JSON has none such.
    """
    value = to_dict(record)
    try:
        line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        msg = f"{type(record).__name__} cannot be written: {error}: {record!r:.200}"
        raise InputError(msg) from error
    # Half a surrogate pair, which a broken reply may hold, has no UTF-8 form; escaped, it comes back as it was.
    return line if line.isascii() or not _SURROGATE.search(line) else json.dumps(value)


def write_jsonl(path: Path | str, records: Iterable[Any]) -> int:
    """Write *records* to *path*, one JSON object a line, whole or not at all; how many there were."""
    count = 0
    with files.atomic(path) as file:
        for record in records:
            file.write(to_line(record) + "\n")
            count += 1
    return count


def read_jsonl(path: Path | str, cls: type[R]) -> Iterator[R]:
    """Read records of type *cls* from *path*, one by one; blank lines are passed over.

    Raises:
        RecordError: A line is damaged; the message names file and line.
        InputError: The file is missing or cannot be read.
    """
    for number, value in read_json_lines(path):
        try:
            yield from_dict(value, cls)
        except InputError as error:
            msg = f"{path}, line {number}: not a {cls.__name__}: {error}; mend or delete that line"
            raise RecordError(msg) from error


def read_json_lines(path: Path | str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line numbers (from 1) and JSON objects of a JSONL file; errors as in `read_jsonl`.

    The file is UTF-8; a byte order mark, with which some editors save, is passed over at its beginning and only there.
    """
    try:
        file = open(path, "rb")
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}; check the path"
        raise InputError(msg) from error
    with file:
        for number, line in enumerate(file, 1):
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)  # noqa: PLW2901 - the line without its mark
            if not line.strip():
                continue
            try:
                value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
            except (ValueError, RecursionError) as error:
                msg = f"{path}, line {number}: not valid JSON ({error}); mend or delete that line"
                raise RecordError(msg) from error
            if not isinstance(value, dict):
                msg = f"{path}, line {number}: expected a JSON object, got {line.strip()[:80]!r}"
                raise RecordError(msg)
            yield number, value


def _no_constant(name: str) -> None:
    msg = f"{name} is not JSON"
    raise ValueError(msg)
