"""The receipt of a run (``run.json``): what went in, with which settings, what came out, and what to do next."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from text2expert.examination import DATASET, NEXT, SHOWN, TOY, spent, verdict_lines
from text2expert.plan import Steps, dollars, duration
from text2expert.planning import step_plans
from text2expert.records import (
    ROW_TITLES,
    Chunk,
    Document,
    ExamQuestion,
    ExamRowName,
    GoldRecord,
    read_jsonl,
    to_dict,
)
from text2expert.runfolder import (
    CHUNKS,
    EXAM,
    EXAM_ANSWERS,
    EXAM_RESULT,
    EXPERT,
    GOLD,
    PAIRS,
    REJECTED,
    REPORT,
    REWRITES,
    VERDICTS,
    RunFolder,
)
from text2expert.teaching import Taught
from text2expert.trainer import CLOUD_BASE

if TYPE_CHECKING:
    from text2expert.examiner import ExamResult

HEADLINE_ROWS: tuple[ExamRowName, ...] = ("held_out", "hand_written", "taught")
"""The row of the exam that the closing line quotes: the first of these that has questions."""

HEADLINE_CONTESTANTS = ("base", "expert", "base + RAG", "RAG, no model")
"""Whom it quotes."""

TRAINED = (
    "precision", "steps", "stopped_early", "tokens", "shares", "loss", "best", "training_seconds", "memory_gb", "device",
    "processes",
)  # fmt: skip
"""What a receipt repeats of training_args.json."""

WEIGHTS = f"{EXPERT}/adapter_model.safetensors"


@attrs.frozen(kw_only=True)
class Made:
    """What the first half of a run, up to the golden dataset, hands to the second."""

    documents: tuple[Document, ...]
    records: list[GoldRecord]
    exam: list[ExamQuestion]
    """Split from the dataset; once the exam is made, all of it."""
    counts: dict[str, Any]
    share_taught: float | None
    sources: tuple[Path, ...]
    dataset: dict[str, Any] | None = None
    """Path and digest of a golden dataset that was given instead of a text."""
    own: tuple[ExamQuestion, ...] = ()
    """The user's exam."""
    notes: tuple[str, ...] = ()
    teaching: dict[str, Any] = attrs.field(factory=dict)
    """How far paid teaching and judging got, what it was planned to cost, and how good the verifier is."""


def teaching(steps: Steps, taught: Taught, folder: RunFolder) -> dict[str, Any]:
    """What a receipt says of teaching and judging; nothing where both are free."""
    if not any(hasattr(step, "llm") for step in (steps.teacher, steps.verifier)):
        return {}
    said: dict[str, Any] = {"lessons": folder.notes(PAIRS)}
    # A teacher that costs nothing gives what it finds, not what it is asked for.
    items = None if hasattr(steps.teacher, "estimate") else len({pair.item or pair.qa_id for pair in taught.pairs})
    planned = step_plans(steps, folder.path, *_size(folder), items=items, measured=False)
    if planned:
        said["planned_usd"] = [
            round(sum(float(step.estimate.usd_low) for step in planned), 4),
            round(sum(float(step.estimate.usd_high) for step in planned), 4),
        ]
    if hasattr(steps.verifier, "llm"):
        from text2expert import verifier

        controls = verifier.control_report(taught.verdicts)
        approval = verifier.approval(taught.verdicts, taught.pairs)
        said["controls"] = {
            **to_dict(controls),
            "catch_interval": controls.catch_interval,
            "false_alarm_interval": controls.false_alarm_interval,
        }
        said["approval"] = {**to_dict(approval), "interval": approval.interval}
        said["verifier"] = [str(each) for each in (approval, controls) if taught.verdicts]
    return said


def _size(folder: RunFolder) -> tuple[int, int]:
    chunks = [chunk.char_count for chunk in read_jsonl(folder / CHUNKS, Chunk)]
    return len(chunks), sum(chunks)


def settings(step: Any) -> dict[str, Any]:
    """What distinguishes one configuration of a step from another, as JSON values: its class and its public attributes.

    Those of the class count too (a prompt, say). What is no data, such as a client or a lock, counts by its class alone, and
    what is named like a key is not shown: a teacher or a provider of somebody's own may well keep one in public.
    """
    names = [name for name in dir(type(step)) if not name.startswith("_")]
    fields = {name: value for name in names if not _is_code(value := getattr(type(step), name, None))}
    if attrs.has(type(step)):
        fields |= {field.name: getattr(step, field.name) for field in attrs.fields(type(step))}
    else:
        fields |= getattr(step, "__dict__", {})
    plain = {name: _shown(name, value) for name, value in sorted(fields.items()) if not name.startswith("_")}
    return {"class": f"{type(step).__module__}.{type(step).__qualname__}", **plain}


_SECRET = re.compile(
    r"(?:^|[_-])(?:api[_-]?)?(?:key|token|secret|password|credentials?|auth|authorization)$", re.IGNORECASE
)


def _shown(name: str, value: Any) -> Any:
    return "(not shown)" if value is not None and _SECRET.search(name) else _plain(value)


def _is_code(value: object) -> bool:
    return callable(value) or hasattr(type(value), "__get__")


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return {str(name): _shown(str(name), each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if attrs.has(type(value)):
        return settings(value)
    return f"{type(value).__module__}.{type(value).__qualname__}"


def receipt(
    steps: Steps, made: Made, result: "ExamResult | None", folder: RunFolder, *, version: str, seconds: float
) -> dict[str, Any]:
    """The receipt as JSON values, of this *version* of the package; *result* is None where nothing was trained."""
    taught = made.dataset is None
    trained = _trained(folder) if result else {}
    written = [CHUNKS, PAIRS, VERDICTS, REWRITES, GOLD, REJECTED, EXAM]
    written += [EXAM_ANSWERS, EXAM_RESULT, WEIGHTS] if result else []
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
            "examiner": settings(steps.examiner),
            "seed": steps.seed,
            "budget": steps.budget,
        },
        "models": {
            "teacher": _name(steps.teacher) if taught else None,
            "verifier": _name(steps.verifier) if taught else None,
            "base": steps.trainer.model or TOY,
            "base_revision": trained.get("revision"),
            **{name.replace(" ", "_"): llm.name for name, llm in steps.examiner.llms.items()},
        },
        "toy": bool(steps.trainer.embedded),
        "notes": notes_of(steps, made),
        "counts": {**made.counts, "questions": Counter(question.row for question in made.exam)},
        "share_taught": made.share_taught,
        **spent(),
        **({"teaching": made.teaching} if made.teaching else {}),
        "seconds": round(seconds, 1),
        "trained": result is not None,
        **({"training": {name: trained[name] for name in TRAINED if name in trained}} if trained else {}),
        "files": {name: sha256 for name in written if (sha256 := folder.sha256(name))},
        "closing": _closing(steps, made, result, folder, seconds),
    }


def notes_of(steps: Steps, made: Made) -> list[str]:
    """What a reader of the exam must know of the run."""
    from text2expert.examiner import TOY_NOTE

    return [*made.notes, *([TOY_NOTE] if steps.trainer.embedded else [])]


def models_of(steps: Steps, made: Made) -> list[str]:
    """The models whose kin should not judge: those that taught, and the base."""
    teacher = _name(steps.teacher) if made.dataset is None and hasattr(steps.teacher, "llm") else None
    return [name for name in (teacher, steps.trainer.model) if name]


def _trained(folder: RunFolder) -> dict[str, Any]:
    """What the training said of itself when it was done."""
    try:
        said = json.loads((folder / "stages" / "train" / "done.json").read_bytes())
    except (OSError, ValueError):  # a trainer of somebody's own writes none
        return {}
    return said if isinstance(said, dict) else {}


def _name(step: Any) -> str | None:
    return None if step is None else getattr(step, "name", type(step).__qualname__)


def _closing(steps: Steps, made: Made, result: "ExamResult | None", folder: RunFolder, seconds: float) -> str:
    """What came of the run, and what to do next."""
    items = len({record.item or record.instruction for record in made.records})
    of = "" if made.share_taught is None else f"{100 * made.share_taught:.0f} % of the text is taught, in "
    lines = [f"{of}{len(made.records):,} pairs of {items:,} questions. It cost {_cost()} and {duration(seconds)}."]
    lines += _how_far(made)
    if result is None:
        lines.append(f"{DATASET}{folder / GOLD}.")
        if (folder / EXPERT).exists():
            lines.append(f"{folder / EXPERT} is of an earlier run and was not trained on it.")
        return "\n".join([*lines, "Next: the same again with fine-tuning trains on it, edited by hand or not."])
    asked = [name for name in HEADLINE_CONTESTANTS if name in result.contestants]
    row = next((row for row in HEADLINE_ROWS if "expert" in asked and result.score(row, "expert")), None)
    if row is not None:
        shares = [f"{name} {100 * score.share:.0f} %" for name in asked if (score := result.score(row, name))]
        lines.append(f"On {ROW_TITLES[row]}: {', '.join(shares)}.")
    lines += verdict_lines(result)
    lines.append(f"{SHOWN}{folder / REPORT}")
    lines.append(f'{NEXT}{shlex.quote(str(folder.path))} "..."')
    if steps.trainer.embedded:
        lines.append(f"For an expert to rely on, train a real base on a GPU: --base {CLOUD_BASE}")
    return "\n".join(lines)


def _cost() -> str:
    costs = spent()
    lost = float(costs.get("lost_usd_at_most", 0))
    rent, held = (
        float(costs.get("costs", {}).get("training", {}).get("settled_usd", 0)),
        float(costs.get("rent_held_usd_at_most", 0)),
    )
    more = [f"${rent:,.2f} of it for renting"] if rent else []
    more += [f"and at most ${lost:,.2f} for answers that were lost"] if lost else []
    more += [f"and at most ${held:,.2f} for a machine that is not known to be gone: run it again"] if held else []
    return f"${float(costs['cost_usd']):,.2f}" + (f" ({', '.join(more)})" if more else "")


def _how_far(made: Made) -> list[str]:
    """What the reader must know of teaching and judging that were paid for."""
    if not made.teaching:
        return []
    lessons = made.teaching["lessons"]
    planned = made.teaching.get("planned_usd")
    lines = [f"Planned for the whole text: {dollars(*planned)}."] if planned else []
    if beyond := lessons.get("beyond_budget"):
        lines.append(
            f"The budget ended after {lessons['lessons'] - beyond:,} of {lessons['lessons']:,} calls: the densest "
            "passages, spread over the text. Raise it and run the same again: what is there is not paid for twice."
        )
    if failed := lessons.get("failed"):
        lines.append(f"{failed:,} calls failed ({lessons['failure']}): run the same again for them.")
    if measured := made.teaching.get("verifier"):
        lines.append(f"The verifier {'; it '.join(measured)} (95 % intervals).")
    expected = _expected(made)
    if unverified := made.counts.get("unverified"):
        lines.append(
            f"{unverified:,} pairs were not judged{expected} and are left out; include_unverified=True "
            "(--include-unverified) takes them, a larger sample or budget judges them."
        )
    if taken := sum(record.status == "unverified" for record in made.records):
        lines.append(f"{taken:,} of the pairs were not judged{expected}: they are marked as unverified.")
    return lines


def _expected(made: Made) -> str:
    """What is to be expected of pairs that were not judged, by those that were."""
    interval = made.teaching.get("approval", {}).get("interval")
    if interval is None:
        return ""
    low, high = interval
    return f" (by those that were, {100 * low:.0f} to {100 * high:.0f} % of them would be approved)"
