"""Turn a reference text into a small language model that knows it closed-book, and prove whether it does.

    text ──Chunker──▶ chunks ──Teacher──▶ Q&A + reasoning ──Verifier──▶ golden dataset ──Trainer──▶ expert
                                                                                          │
                                                   base · expert · RAG · lookup ◀──Examiner┘   one exam, one verdict

Three depths of use, each the one below with defaults: ``Pipeline().run("handbook.txt")``; a `Pipeline` composed of your
own steps; every step alone (``Chunker().split(text)``, ``Teacher("deepseek/deepseek-flash").teach(chunks)``, ...).

The public names are bound on first use (PEP 562): importing this package loads neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from text2expert.chunker import Chunker
    from text2expert.errors import (
        AnswerLost,
        AuthenticationFailed,
        BatchUnfinished,
        BudgetExhausted,
        InputError,
        LedgerError,
        MissingExtraError,
        NoGPUError,
        NothingTaughtError,
        OutOfBalance,
        ProviderError,
        ProviderUnavailable,
        RecordError,
        RunFolderError,
        RunFolderLockedError,
        RunnerError,
        StarvedRunError,
        Text2ExpertError,
    )
    from text2expert.examiner import Examiner, ExamResult, ExamWriter, Judge, ModelContestant, OpenBook
    from text2expert.exchange import Completion, Request, Usage
    from text2expert.expert import Expert
    from text2expert.ledger import Ledger
    from text2expert.llm import LLM, Estimate
    from text2expert.offline import EvidenceVerifier, RuleTeacher
    from text2expert.pipeline import Pipeline
    from text2expert.plan import Plan, Preview
    from text2expert.prices import Price
    from text2expert.providers import Provider
    from text2expert.records import (
        Adapter,
        Answer,
        Chunk,
        Document,
        ExamQuestion,
        GoldRecord,
        Job,
        Merged,
        QAPair,
        Span,
        Verdict,
    )
    from text2expert.run import Run
    from text2expert.runners import Runner
    from text2expert.runners.local import Local
    from text2expert.runners.ssh import SSH
    from text2expert.runners.vast import Vast
    from text2expert.teacher import Teacher
    from text2expert.teaching import SupportsTeach, SupportsVerify
    from text2expert.trainer import Trainer, TrainingPlan
    from text2expert.verifier import Verifier

__version__ = "0.1.0"

_HOMES = {
    "chunker": ("Chunker",),
    "errors": (
        "AnswerLost",
        "AuthenticationFailed",
        "BatchUnfinished",
        "BudgetExhausted",
        "InputError",
        "LedgerError",
        "MissingExtraError",
        "NoGPUError",
        "NothingTaughtError",
        "OutOfBalance",
        "ProviderError",
        "ProviderUnavailable",
        "RecordError",
        "RunFolderError",
        "RunFolderLockedError",
        "RunnerError",
        "StarvedRunError",
        "Text2ExpertError",
    ),
    "examiner": (
        "ExamResult",
        "ExamWriter",
        "Examiner",
        "Judge",
        "ModelContestant",
        "OpenBook",
    ),
    "exchange": (
        "Completion",
        "Request",
        "Usage",
    ),
    "expert": ("Expert",),
    "ledger": ("Ledger",),
    "llm": (
        "LLM",
        "Estimate",
    ),
    "offline": (
        "EvidenceVerifier",
        "RuleTeacher",
    ),
    "pipeline": ("Pipeline",),
    "plan": (
        "Plan",
        "Preview",
    ),
    "prices": ("Price",),
    "providers": ("Provider",),
    "records": (
        "Adapter",
        "Answer",
        "Chunk",
        "Document",
        "ExamQuestion",
        "GoldRecord",
        "Job",
        "Merged",
        "QAPair",
        "Span",
        "Verdict",
    ),
    "run": ("Run",),
    "runners": ("Runner",),
    "runners.local": ("Local",),
    "runners.ssh": ("SSH",),
    "runners.vast": ("Vast",),
    "teacher": ("Teacher",),
    "teaching": (
        "SupportsTeach",
        "SupportsVerify",
    ),
    "trainer": (
        "Trainer",
        "TrainingPlan",
    ),
    "verifier": ("Verifier",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "LLM",
    "SSH",
    "Adapter",
    "Answer",
    "AnswerLost",
    "AuthenticationFailed",
    "BatchUnfinished",
    "BudgetExhausted",
    "Chunk",
    "Chunker",
    "Completion",
    "Document",
    "Estimate",
    "EvidenceVerifier",
    "ExamQuestion",
    "ExamResult",
    "ExamWriter",
    "Examiner",
    "Expert",
    "GoldRecord",
    "InputError",
    "Job",
    "Judge",
    "Ledger",
    "LedgerError",
    "Local",
    "Merged",
    "MissingExtraError",
    "ModelContestant",
    "NoGPUError",
    "NothingTaughtError",
    "OpenBook",
    "OutOfBalance",
    "Pipeline",
    "Plan",
    "Preview",
    "Price",
    "Provider",
    "ProviderError",
    "ProviderUnavailable",
    "QAPair",
    "RecordError",
    "Request",
    "RuleTeacher",
    "Run",
    "RunFolderError",
    "RunFolderLockedError",
    "Runner",
    "RunnerError",
    "Span",
    "StarvedRunError",
    "SupportsTeach",
    "SupportsVerify",
    "Teacher",
    "Text2ExpertError",
    "Trainer",
    "TrainingPlan",
    "Usage",
    "Vast",
    "Verdict",
    "Verifier",
]


_STEPS = {
    "step_1": "Chunker(size=800).split(text)",
    "step_2": "Teacher(questions_per_chunk=5, budget=10).teach(chunks)",
    "step_3": "Verifier(budget=5).verify(pairs, chunks)",
    "step_4": "Trainer(model, epochs=2).train(gold)",
}
"""How the steps are called elsewhere (step_4_fine_tune_on_vast, ...), and here."""


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        ours = _STEPS.get(name[:6])
        advice = f": here it is {ours}, or Pipeline(...).run(path) for all steps" if ours else ""
        msg = f"module 'text2expert' has no attribute {name!r}{advice}"
        raise AttributeError(msg)
    value = getattr(import_module(f"text2expert.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
