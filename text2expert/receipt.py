"""The receipt of a run (``run.json``): what went in, with which settings, what came out, and what to do next."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import attrs

from text2expert.plan import duration
from text2expert.records import ROW_TITLES, Document, ExamQuestion, ExamResult, ExamRowName, GoldRecord, to_dict
from text2expert.run import CHUNKS, EXAM, EXAM_RESULT, EXPERT, GOLD, PAIRS, REJECTED, VERDICTS, RunFolder
from text2expert.trainer import Trainer

HEADLINE_ROWS: tuple[ExamRowName, ...] = ("held_out", "hand_written", "taught")
"""The row of the exam that the closing line quotes: the first of these that has questions."""

WEIGHTS = f"{EXPERT}/adapter_model.safetensors"


class Steps(Protocol):
    """What a receipt names of a pipeline."""

    @property
    def chunker(self) -> Any: ...  # noqa: D102
    @property
    def teacher(self) -> Any: ...  # noqa: D102
    @property
    def verifier(self) -> Any: ...  # noqa: D102
    @property
    def trainer(self) -> Trainer: ...  # noqa: D102
    @property
    def questions_per_chunk(self) -> int | None: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


@attrs.frozen(kw_only=True)
class Made:
    """What the first half of a run, up to the golden dataset, hands to the second."""

    documents: tuple[Document, ...]
    records: list[GoldRecord]
    exam: list[ExamQuestion]
    counts: dict[str, Any]
    share_taught: float | None
    sources: tuple[Path, ...]
    dataset: dict[str, Any] | None = None
    """Path and digest of a golden dataset that was given instead of a text."""
    notes: tuple[str, ...] = ()


def settings(step: Any) -> dict[str, Any]:
    """What distinguishes one configuration of a step from another, as JSON values: its class and its public attributes.

    Those of the class count too (a prompt, say). What is no data, such as a client or a lock, counts by its class alone.
    """
    names = [name for name in dir(type(step)) if not name.startswith("_")]
    fields = {name: value for name in names if not _is_code(value := getattr(type(step), name, None))}
    if attrs.has(type(step)):
        fields |= {field.name: getattr(step, field.name) for field in attrs.fields(type(step))}
    else:
        fields |= getattr(step, "__dict__", {})
    plain = {name: _plain(value) for name, value in sorted(fields.items()) if not name.startswith("_")}
    return {"class": f"{type(step).__module__}.{type(step).__qualname__}", **plain}


def _is_code(value: object) -> bool:
    return callable(value) or hasattr(type(value), "__get__")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if attrs.has(type(value)):
        return settings(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def receipt(
    steps: Steps, made: Made, result: ExamResult | None, folder: RunFolder, *, version: str, seconds: float
) -> dict[str, Any]:
    """The receipt as JSON values, of this *version* of the package; *result* is None where nothing was trained."""
    taught = made.dataset is None
    written = [CHUNKS, PAIRS, VERDICTS, GOLD, REJECTED, EXAM, *([EXAM_RESULT, WEIGHTS] if result else [])]
    return {
        "text2expert": version,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "documents": [to_dict(document) for document in made.documents],
        "dataset": made.dataset,
        "settings": {
            **({name: settings(getattr(steps, name)) for name in ("chunker", "teacher", "verifier")} if taught else {}),
            **({"estimator": getattr(steps.chunker, "estimator", None)} if taught else {}),
            "questions_per_chunk": steps.questions_per_chunk if taught else None,
            "trainer": settings(steps.trainer),
            "seed": steps.seed,
        },
        "models": {
            "teacher": _name(steps.teacher) if taught else None,
            "verifier": _name(steps.verifier) if taught else None,
            "base": steps.trainer.model or "a toy made from the text",
        },
        "counts": {**made.counts, "questions": Counter(question.row for question in made.exam)},
        "share_taught": made.share_taught,
        "cost_usd": "0",
        "seconds": round(seconds, 1),
        "trained": result is not None,
        "files": {name: sha256 for name in written if (sha256 := folder.sha256(name))},
        "closing": _closing(steps, made, result, folder, seconds),
    }


def _name(step: Any) -> str | None:
    return None if step is None else getattr(step, "name", type(step).__qualname__)


def _closing(steps: Steps, made: Made, result: ExamResult | None, folder: RunFolder, seconds: float) -> str:
    """What came of the run, and what to do next."""
    items = len({record.item or record.instruction for record in made.records})
    of = "" if made.share_taught is None else f"{100 * made.share_taught:.0f} % of the text is taught, in "
    lines = [f"{of}{len(made.records):,} pairs of {items:,} questions. It cost $0.00 and {duration(seconds)}."]
    if result is None:
        lines.append(f"The golden dataset is {folder / GOLD}.")
        if (folder / EXPERT).exists():
            lines.append(f"{folder / EXPERT} is of an earlier run and was not trained on it.")
        return "\n".join([*lines, "Next: the same again with fine-tuning trains on it, edited by hand or not."])
    row = next((row for row in HEADLINE_ROWS if result.score(row, "expert")), None)
    if row is not None:
        shares = [
            f"{name} {100 * score.share:.0f} %" for name in result.contestants if (score := result.score(row, name))
        ]
        lines.append(f"On {ROW_TITLES[row]}: {', '.join(shares)}.")
    lines.append(f'Next: text2expert ask {folder.path} "..."')
    if steps.trainer.embedded:
        lines.append("For an expert to rely on, train a real base on a GPU: --base mistralai/Mistral-7B-Instruct-v0.3")
    return "\n".join(lines)
