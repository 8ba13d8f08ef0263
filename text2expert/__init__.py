"""Turn a reference text into a small language model that knows it closed-book, and prove whether it does.

    text ──Chunker──▶ chunks ──Teacher──▶ Q&A + reasoning ──Verifier──▶ golden dataset ──Trainer──▶ expert
                                                                                          │
                                                         base · lookup · expert ◀──Examiner┘   one exam, one table

Three depths of use, each the one below with defaults: ``Pipeline().run("handbook.txt")``; a `Pipeline` composed of your
own steps; every step alone (``Chunker().split(text)``, ``RuleTeacher().teach(chunks)``, ...).

The public names are bound on first use (PEP 562): importing this package loads neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from text2expert.chunker import Chunker
    from text2expert.errors import (
        InputError,
        MissingExtraError,
        NothingTaughtError,
        RecordError,
        RunFolderError,
        RunFolderLockedError,
        RunnerError,
        Text2ExpertError,
    )
    from text2expert.examiner import Examiner
    from text2expert.expert import Expert
    from text2expert.offline import EvidenceVerifier, RuleTeacher
    from text2expert.pipeline import Pipeline
    from text2expert.plan import Plan
    from text2expert.records import (
        Adapter,
        Answer,
        Chunk,
        Document,
        ExamQuestion,
        ExamResult,
        GoldRecord,
        Job,
        QAPair,
        Span,
        Verdict,
    )
    from text2expert.run import Run
    from text2expert.runners import Runner
    from text2expert.runners.local import Local
    from text2expert.teaching import SupportsTeach, SupportsVerify
    from text2expert.trainer import Trainer

__version__ = "0.1.0"

_HOMES = {
    "chunker": ("Chunker",),
    "errors": (
        "InputError",
        "MissingExtraError",
        "NothingTaughtError",
        "RecordError",
        "RunFolderError",
        "RunFolderLockedError",
        "RunnerError",
        "Text2ExpertError",
    ),
    "examiner": ("Examiner",),
    "expert": ("Expert",),
    "offline": ("EvidenceVerifier", "RuleTeacher"),
    "pipeline": ("Pipeline",),
    "plan": ("Plan",),
    "records": (
        "Adapter",
        "Answer",
        "Chunk",
        "Document",
        "ExamQuestion",
        "ExamResult",
        "GoldRecord",
        "Job",
        "QAPair",
        "Span",
        "Verdict",
    ),
    "run": ("Run",),
    "runners": ("Runner",),
    "runners.local": ("Local",),
    "teaching": ("SupportsTeach", "SupportsVerify"),
    "trainer": ("Trainer",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Adapter",
    "Answer",
    "Chunk",
    "Chunker",
    "Document",
    "EvidenceVerifier",
    "ExamQuestion",
    "ExamResult",
    "Examiner",
    "Expert",
    "GoldRecord",
    "InputError",
    "Job",
    "Local",
    "MissingExtraError",
    "NothingTaughtError",
    "Pipeline",
    "Plan",
    "QAPair",
    "RecordError",
    "RuleTeacher",
    "Run",
    "RunFolderError",
    "RunFolderLockedError",
    "Runner",
    "RunnerError",
    "Span",
    "SupportsTeach",
    "SupportsVerify",
    "Text2ExpertError",
    "Trainer",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        msg = f"module 'text2expert' has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"text2expert.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
