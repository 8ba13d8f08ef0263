"""The golden dataset: what is trained on, what is asked in the exam, and what was left out and why.

    pairs + verdicts ──gather──▶ Gold(records, exam, rejected, counts)
    golden_dataset.jsonl ──open_dataset──▶ Dataset          several of them ──merge──▶ one, with its exam and texts

An item is one question in its wordings; a fact is items connected by evidence spans that overlap by half. The exam is
split by fact and by wording, never by row: no wording that is asked is trained on, under any item. Every choice is a
function of the seed and of content (`text2expert.records.digest`), so order and concurrency change nothing.
"""

import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs

from text2expert import files
from text2expert.errors import InputError, NothingTaughtError, RecordError, RunFolderError
from text2expert.golden.facts import item_of, repetitions, with_facts
from text2expert.golden.split import Names, reseat, split_records, with_ids
from text2expert.records import (
    Chunk,
    ExamQuestion,
    GoldRecord,
    QAPair,
    Span,
    Status,
    Verdict,
    from_dict,
    read_json_lines,
    read_jsonl,
    wording,
    write_jsonl,
)

GOLD = "golden_dataset.jsonl"
"""The dataset's name in a run folder."""

Cause = Literal["duplicate", "rejected", "unverified", "exam"]
"""Why a pair is not trained on. ``exam``: the exam asks its fact or its template in other words."""


@attrs.frozen(kw_only=True)
class RejectedPair:
    """A pair that is neither trained on nor asked, and why; its other fields are in ``generated_qa_pairs.jsonl``."""

    qa_id: str
    question: str
    answer: str
    cause: Cause
    reason: str
    evidence: tuple[Span, ...] = ()
    item: str = ""
    kind: str = ""


@attrs.frozen(kw_only=True)
class Counts:
    """What became of the pairs that a teacher wrote. Every pair is in exactly one class."""

    parsed: int
    duplicates: int
    rejected: int
    unverified: int
    exam: int
    """Kept out of training for the exam's sake; not all of them need be asked."""
    gold: int
    items: int
    """Questions (each in its wordings) among the parsed pairs."""
    gold_items: int
    exam_items: int
    facts: int
    """Among gold and exam."""
    questions: Mapping[str, int]
    """Of the exam, by row; those of ``taught`` are gold pairs too."""

    def add_up(self) -> bool:
        """Whether every parsed pair is accounted for, once."""
        return self.parsed == self.duplicates + self.rejected + self.unverified + self.exam + self.gold

    def __str__(self) -> str:
        return (
            f"{self.parsed:,} pairs ({self.items:,} items) = {self.gold:,} to train on ({self.gold_items:,} items) + "
            f"{self.exam:,} kept for the exam + {self.duplicates:,} duplicates + {self.rejected:,} rejected + "
            f"{self.unverified:,} unverified"
        )


@attrs.frozen(kw_only=True)
class Gold:
    """What `gather` makes: the training set, the exam, and what was left out."""

    records: tuple[GoldRecord, ...]
    exam: tuple[ExamQuestion, ...]
    rejected: tuple[RejectedPair, ...]
    counts: Counts


@attrs.frozen(kw_only=True)
class _Left:
    """A record left out: its place, and why."""

    cause: Cause
    reason: str


def gather(
    pairs: Iterable[QAPair],
    verdicts: Iterable[Verdict],
    *,
    status: Status = "evidence",
    seed: int = 0,
    deduplicate: bool = True,
    held_out: float = 1.0,
    never_asked: float = 0.05,
    questions: int = 100,
) -> Gold:
    """Make the golden dataset and its exam from judged pairs.

    A pair is taken when every verdict on it approves. Without a verdict it is unverified and left out, unless *status*
    says that nothing was verified. Two different answers to one question are both left out. The result does not depend
    on the order of the arguments, and may be empty: it is the caller who knows what to advise then.

    Args:
        pairs: With unique ``qa_id`` s.
        verdicts: By ``qa_id``.
        status: What approved pairs become; ``unverified`` takes pairs that have no verdict.
        seed: Decides what is asked; see `split_records`.
        deduplicate: Remove repeated questions, and near-duplicates between items.
        held_out: See `split_records`.
        never_asked: See `split_records`.
        questions: See `split_records`.

    Raises:
        InputError: Two pairs have one ``qa_id``, or an argument is out of its range.
    """
    ordered = sorted(pairs, key=_pair_order)
    ids = Counter(pair.qa_id for pair in ordered)
    if repeated := [qa_id for qa_id, count in ids.items() if count > 1]:
        msg = f"{len(repeated)} qa_ids are used by several pairs, {repeated[0]!r} first: number the pairs anew"
        raise InputError(msg)
    refusals = _refusals(ordered, verdicts, status)
    taken = [pair for pair in ordered if pair.qa_id not in refusals]
    records = with_facts([to_gold(pair, status) for pair in taken])
    left = {
        each.record.qa_id: _Left(cause="duplicate" if each.cause == "duplicate" else "rejected", reason=each.reason)
        for each in repetitions(records, duplicates=deduplicate)
    }
    split = split_records(
        [record for record in records if record.qa_id not in left],
        seed=seed,
        held_out=held_out,
        never_asked=never_asked,
        questions=questions,
    )
    back = _Left(cause="exam", reason="kept out of training: the exam asks its fact or its template in other words")
    left |= refusals | {record.qa_id: back for record in split.kept_back}
    rejected = tuple(_rejected(pair, left[pair.qa_id]) for pair in ordered if pair.qa_id in left)
    causes = Counter(each.cause for each in rejected)
    asked = [each for each in split.exam if each.row != "taught"]
    return Gold(
        records=split.records,
        exam=split.exam,
        rejected=rejected,
        counts=Counts(
            parsed=len(ordered),
            duplicates=causes["duplicate"],
            rejected=causes["rejected"],
            unverified=causes["unverified"],
            exam=causes["exam"] + len(asked),
            gold=len(split.records),
            items=len({item_of(to_gold(pair, status)) for pair in ordered}),
            gold_items=len({record.item for record in split.records}),
            exam_items=len({each.item for each in split.exam}),
            facts=len({record.fact for record in split.records} | {each.fact for each in split.exam}),
            questions=dict(Counter(each.row for each in split.exam)),
        ),
    )


def to_gold(pair: QAPair, status: Status) -> GoldRecord:
    """The training example that *pair* makes."""
    return GoldRecord(
        instruction=pair.question,
        output=pair.answer,
        short_answer=pair.short_answer,
        reasoning=pair.reasoning,
        difficulty=pair.difficulty,
        qa_id=pair.qa_id,
        item=pair.item,
        fact=pair.fact,
        kind=pair.kind,
        document=pair.evidence[0].document if pair.evidence else "",
        evidence=pair.evidence,
        status=status,
    )


def _refusals(pairs: Sequence[QAPair], verdicts: Iterable[Verdict], status: Status) -> dict[str, _Left]:
    """Why pairs are not taken, by ``qa_id``, as far as blanks and verdicts say so."""
    judged: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        judged[verdict.qa_id].append(verdict)
    left = {}
    for pair in pairs:
        against = [verdict for verdict in judged[pair.qa_id] if not verdict.approved]
        if not wording(pair.question) or not pair.answer.strip():
            left[pair.qa_id] = _Left(cause="rejected", reason="question or answer is blank")
        elif against:
            reasons = sorted({verdict.reason or "not approved by its verifier" for verdict in against})
            left[pair.qa_id] = _Left(cause="rejected", reason="; ".join(reasons))
        elif not judged[pair.qa_id] and status != "unverified":
            left[pair.qa_id] = _Left(cause="unverified", reason="no verdict: its verifier did not judge it")
    return left


def _rejected(pair: QAPair, left: _Left) -> RejectedPair:
    return RejectedPair(
        qa_id=pair.qa_id,
        question=pair.question,
        answer=pair.answer,
        cause=left.cause,
        reason=left.reason,
        evidence=pair.evidence,
        item=pair.item,
        kind=pair.kind,
    )


def _natural(text: str) -> tuple[tuple[str, int, str], ...]:
    """A sort key that puts ``_qa_2`` before ``_qa_10``."""
    parts = ((word, number.lstrip("0")) for word, number in re.findall(r"([^0-9]*)([0-9]*)", text))
    return tuple((word, len(number), number) for word, number in parts)


def _pair_order(pair: QAPair) -> tuple[object, ...]:
    return _natural(pair.qa_id), pair.qa_id


# -- on disk ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Dataset:
    """A golden dataset from a disk, with what lies beside it."""

    records: tuple[GoldRecord, ...]
    exam: tuple[ExamQuestion, ...]
    chunks: Path | None
    sources: tuple[Path, ...]
    """The source texts, ``<document>.txt``."""
    notes: tuple[str, ...]
    """What is left out, for a reader."""


@attrs.frozen
class _Beside:
    """Where the companions of a dataset lie: in its run folder, or under its own stem."""

    exam: Path
    chunks: Path
    sources: Path

    @classmethod
    def of(cls, path: Path) -> "_Beside":
        if path.name == GOLD and (path.parent / "exam.jsonl").is_file():
            return cls(path.parent / "exam.jsonl", path.parent / "chunks.jsonl", path.parent / "source")
        return cls.named(path)

    @classmethod
    def named(cls, path: Path) -> "_Beside":
        return cls(*(path.with_name(f"{path.stem}.{kind}") for kind in ("exam.jsonl", "chunks.jsonl", "sources")))


def load(path: Path | str) -> list[GoldRecord]:
    """Read a golden dataset, also one written by hand: ``{"instruction": ..., "output": ...}`` is a record.

    Raises:
        RecordError: A line is damaged, or its instruction or output is blank; the message names file and line.
        InputError: The file is missing or holds no record.
    """
    records = []
    for number, value in read_json_lines(path):
        try:
            record = from_dict(value, GoldRecord)
        except InputError as error:
            msg = f"{path}, line {number}: not a training example: {error}; mend or delete that line"
            raise RecordError(msg) from error
        for name, text in (("instruction", record.instruction), ("output", record.output)):
            if not text.strip():
                msg = f"{path}, line {number}: {name!r} is blank: fill it in or delete that line"
                raise RecordError(msg)
        records.append(record)
    if not records:
        msg = (
            f'{path} holds no training example: give lines like {{"instruction": "a question", "output": "its answer"}}'
        )
        raise InputError(msg)
    return records


def open_dataset(path: Path | str, *, seed: int = 0) -> Dataset:
    """Open a golden dataset: a file, or the run folder that holds one.

    The exam, chunks and source texts beside it are used: those of its run folder, or those that `merge` wrote. A file
    without an exam has one split from it (`split_records`). Questions of the exam that were since added to the
    training set by hand count as taught.

    Raises:
        RunFolderError: *path* is a folder without a golden dataset.
        RecordError: As `load`.
        InputError: As `load`.
    """
    path = Path(path)
    if path.is_dir():
        if not (path / GOLD).is_file():
            msg = f"{path} holds no {GOLD}: give a run folder (expert_model_...) or a JSONL file"
            raise RunFolderError(msg)
        path /= GOLD
    records = with_facts(with_ids(load(path)))
    beside = _Beside.of(path)
    notes = []
    if beside.exam.is_file():
        written = list(read_jsonl(beside.exam, ExamQuestion))
        exam = tuple(reseat(written, records))
        if lost := len(written) - len(exam):
            notes.append(f"{path.name}: {lost:,} of its exam questions are no longer fair and are not asked")
    else:
        # The file may be what is left after facts were drawn with this very seed: it would draw nothing more.
        split = split_records(records, seed=~seed)
        records, exam = list(split.records), split.exam
        held = len(split.kept_back) + sum(each.row != "taught" for each in exam)
        notes.append(
            f"{path.name}: it has no exam beside it; one was split from it, which keeps {held:,} pairs from training"
        )
    chunks = beside.chunks if beside.chunks.is_file() else None
    sources = tuple(sorted(beside.sources.glob("*.txt"))) if beside.sources.is_dir() else ()
    if not sources:
        notes.append(
            f"{path.name}: no source text beside it: its questions and answers are trained on, the text itself is not"
        )
    return Dataset(records=tuple(records), exam=exam, chunks=chunks, sources=sources, notes=tuple(notes))


# -- merging ---------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Merged:
    """What `merge` wrote, and what it left out."""

    path: Path
    records: int
    questions: int
    documents: int
    duplicates: int
    contradictory: int
    notes: tuple[str, ...]

    def __str__(self) -> str:
        lines = [
            f"{self.path}: {self.records:,} training pairs from {self.documents:,} documents, exam: {self.questions:,} questions",
            f"left out: {self.duplicates:,} duplicates, {self.contradictory:,} contradictory",
            *self.notes,
            f"next: text2expert run --gold {self.path}",
        ]
        return "\n".join(lines)


def merge(sources: Sequence[Path | str], out: Path | str, *, seed: int = 0) -> Merged:
    """Join golden datasets: run folders, their ``golden_dataset.jsonl``, or any file that `load` reads.

    Writes *out* and beside it, as far as the sources have them, ``<stem>.exam.jsonl``, ``<stem>.chunks.jsonl`` and the
    source texts ``<stem>.sources/<document>.txt``. Ids are prefixed with the document's id; documents of one id are told
    apart (``handbook``, ``handbook-2``) unless their text is the same. Duplicates and contradictions across the sources
    are removed, and no question of the joint exam that is asked as unseen is trained on.

    Args:
        sources: Run folders and files, at least one.
        out: The file to write; never one of the sources, nor inside one.
        seed: Splits the exam of sources that have none.

    Raises:
        InputError: There is no source, or *out* would overwrite one.
        NothingTaughtError: Nothing is left to train on.
        RunFolderError: A folder holds no golden dataset, or *out* cannot be written.
        RecordError: As `load`.
    """
    out = Path(out)
    if not sources:
        raise InputError("nothing to merge: give at least one run folder or golden dataset")
    beside = _Beside.named(out)
    for source in map(Path, sources):
        _keep_apart(source, beside, out)
    joint = _Joint()
    for source in map(Path, sources):
        joint.add(open_dataset(source, seed=seed))
    records = with_facts(joint.records)
    repeated = list(repetitions(records))
    dropped = {each.record.qa_id for each in repeated}
    records = [record for record in records if record.qa_id not in dropped]
    if not records:
        msg = f"nothing is left to train on: all {len(dropped):,} records of the sources contradict one another"
        raise NothingTaughtError(msg)
    first: dict[str, ExamQuestion] = {}
    for each in joint.exam:
        first.setdefault(wording(each.question), each)
    exam = reseat(first.values(), records)
    _write_sources(beside.sources, joint.texts)
    _write_or_remove(beside.chunks, joint.chunks())
    write_jsonl(beside.exam, exam)
    write_jsonl(out, records)  # last: where it is, its companions are
    causes = Counter(each.cause for each in repeated)
    notes = list(joint.notes)
    if lost := len(joint.exam) - len(exam):
        notes.append(f"{lost:,} exam questions were asked twice or are not fair beside the other datasets: left out")
    return Merged(
        path=out,
        records=len(records),
        questions=len(exam),
        documents=len(joint.documents),
        duplicates=causes["duplicate"],
        contradictory=causes["contradictory"],
        notes=tuple(notes),
    )


def _keep_apart(source: Path, outputs: _Beside, out: Path) -> None:
    """Refuse to write over what is read."""
    own = _Beside.of(source)
    read = {path.resolve() for path in (source, own.exam, own.chunks, own.sources)}
    for output in (out, outputs.exam, outputs.chunks, outputs.sources):
        place = output.resolve()
        if read & {place, *place.parents}:
            msg = f"writing {output} would overwrite what is merged from {source}: choose another name for the result"
            raise InputError(msg)


class _Joint:
    """Datasets put together under ids that are unique."""

    def __init__(self) -> None:
        self.records: list[GoldRecord] = []
        self.exam: list[ExamQuestion] = []
        self.documents: set[str] = set()
        self.texts: dict[str, Path] = {}
        """Document -> its source text."""
        self.notes: list[str] = []
        self._by_text: dict[str, str] = {}
        """SHA-256 of a source text -> its document: the same text in two runs is one document."""
        self._chunks: list[tuple[Path, dict[str, str]]] = []
        self._document_names = Names()
        self._ids = Names()
        self._exam_ids = Names()

    def add(self, dataset: Dataset) -> None:
        texts = {path.stem: path for path in dataset.sources}
        mentioned = {record.document for record in dataset.records} | {each.document for each in dataset.exam}
        renamed, fresh = {"": ""}, {}
        for document in sorted((mentioned | set(texts)) - {""}):
            sha256 = files.sha256_file(texts[document]) if document in texts else ""
            if sha256 not in self._by_text:
                renamed[document] = fresh[document] = self._document_names.unique(document)
                if sha256:
                    self._by_text[sha256] = renamed[document]
                    self.texts[renamed[document]] = texts[document]
            else:
                renamed[document] = self._by_text[sha256]
        self.documents |= set(renamed.values()) - {""}
        self.notes += dataset.notes
        if dataset.chunks is not None:
            # A document that an earlier dataset brought has its chunks already.
            self._chunks.append((dataset.chunks, fresh))
        ids = {}
        for record in dataset.records:
            ids[record.qa_id] = self._ids.unique(_prefixed(record.qa_id, record.document, renamed))
            self.records.append(
                attrs.evolve(
                    record,
                    qa_id=ids[record.qa_id],
                    document=renamed[record.document],
                    evidence=_moved(record.evidence, renamed),
                )
            )
        for each in dataset.exam:
            new_id = ids.get(each.id) or _prefixed(each.id, each.document, renamed)
            self.exam.append(
                attrs.evolve(
                    each,
                    id=self._exam_ids.unique(new_id),
                    document=renamed[each.document],
                    evidence=_moved(each.evidence, renamed),
                )
            )

    def chunks(self) -> Iterator[Chunk]:
        ids = Names()
        for path, fresh in self._chunks:
            for chunk in read_jsonl(path, Chunk):
                if chunk.document in fresh:
                    new_id = ids.unique(_prefixed(chunk.id, chunk.document, fresh))
                    yield attrs.evolve(chunk, id=new_id, document=fresh[chunk.document])


def _prefixed(own_id: str, document: str, renamed: Mapping[str, str]) -> str:
    """``handbook:chunk_000001_qa_0``; what a merged dataset brings has its prefix already."""
    return f"{renamed[document]}:{own_id.removeprefix(f'{document}:')}" if document else own_id


def _moved(evidence: tuple[Span, ...], renamed: Mapping[str, str]) -> tuple[Span, ...]:
    return tuple(attrs.evolve(span, document=renamed.get(span.document, span.document)) for span in evidence)


def _write_sources(folder: Path, texts: Mapping[str, Path]) -> None:
    """Copy source texts to *folder*; those of an earlier merge go."""
    stale = {path.name: path for path in folder.glob("*.txt")}
    if texts:
        files.make_folder(folder)
    for document, text in texts.items():
        name = f"{document}.txt"
        stale.pop(name, None)
        with open(text, encoding="utf-8", newline="") as source, files.atomic(folder / name) as copy:
            shutil.copyfileobj(source, copy)
    for path in stale.values():
        path.unlink()


def _write_or_remove(path: Path, chunks: Iterator[Chunk]) -> None:
    if not write_jsonl(path, chunks):
        path.unlink()
