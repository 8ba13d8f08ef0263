"""What a training does once every argument that was left open has its default: what estimates and jobs are made from."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from text2expert.records import GoldRecord
from text2expert.trainer import bases
from text2expert.trainer.arguments import Backend, Precision, Reasoning, ShortAnswer
from text2expert.trainer.profiles import FILE_SHARE, LEAST_VALIDATION, LEAST_WRITING, REAL, VALIDATION_SHARE, Profile
from text2expert.trainer.weighing import Balance, factors


@attrs.frozen(kw_only=True)
class Chosen:
    """Every setting of a training; see `text2expert.trainer.Trainer` for what they mean."""

    model: str | None
    revision: str | None
    precision: Precision
    epochs: float | None
    """None: the profile's, more of them where a dataset is small."""
    learning_rate: float
    batch_size: int
    max_steps: int | None
    r: int
    alpha: int
    reasoning: Reasoning
    short_answer: ShortAnswer
    text_share: float
    replay: str | None
    """The word "self", a path, or None."""
    replay_share: float
    refusals: str | None
    """The path of a file, or None: they are made from the dataset."""
    refusals_share: float
    balance: Balance
    weights: Mapping[str, float]
    validation: int | None
    """None: the profile's, less of a small dataset."""
    packing: bool | None
    seed: int
    system: str
    backend: Backend
    llamafactory: str
    profile: Profile

    @property
    def embedded(self) -> bool:
        """Whether the base is the toy made from the text."""
        return self.model is None

    def shares(self, *, text: bool) -> dict[str, float]:
        """The share of the tokens that each stream has beside the golden dataset; *text*: whether there is any."""
        shares = {
            "text": self.text_share if text else 0.0,
            "replay": self.replay_share if self.replay else 0.0,
            "refusals": self.refusals_share,
        }
        return {name: share for name, share in shares.items() if share}

    def passes(self, per_epoch: int) -> float:
        """Epochs, where each has so many steps."""
        if self.epochs is not None:
            return self.epochs
        return max(self.profile.epochs, math.ceil(self.profile.least_steps / max(1, per_epoch)))

    def factors(self, records: Sequence[GoldRecord]) -> dict[str, float]:
        """How often each pair of a document is trained in an epoch, where that is not once."""
        if not self.weights and self.balance == "proportional":
            return {}
        return factors(Counter(record.document for record in records), self.weights, self.balance)

    def held_out(self, records: int) -> int:
        """Wordings that are kept for validation at most, of so many *records*."""
        if self.validation is not None:
            return self.validation
        return min(self.profile.validation, max(LEAST_VALIDATION, round(VALIDATION_SHARE * records)))

    def characters(self, record: GoldRecord) -> int:
        """Of *record*, asked and trained."""
        reasoning = len(record.reasoning) if self.reasoning != "none" else 0
        short = len(record.short_answer) if self.short_answer != "none" else 0
        return len(record.instruction) + len(record.input) + len(record.output) + reasoning + short

    def settings(self, per_epoch: int) -> dict[str, Any]:
        """Settings of recipes/lora.py, but for its files."""
        names = (
            "learning_rate",
            "batch_size",
            "max_steps",
            "r",
            "alpha",
            "reasoning",
            "short_answer",
            "packing",
            "seed",
        )
        return {
            **self.profile.more,
            **{name: getattr(self, name) for name in names},
            "epochs": self.passes(per_epoch),
            "system": self.system,
        }


def choose(given: Mapping[str, Any], profile: Profile) -> Chosen:
    """The arguments *given* to a trainer, those that are None by *profile* and by the size of the base."""
    names = ("learning_rate", "batch_size", "r", "alpha", "reasoning", "short_answer", "text_share")
    chosen = {name: getattr(profile, name) if given[name] is None else given[name] for name in names}
    replay = given["replay"]
    if (
        replay is None
        and given["replay_share"] != 0
        and not (given["replay_share"] is None and _is_tiny(given["model"]))
    ):
        replay = profile.replay
    replay_share = REAL.replay_share if given["replay_share"] is None else given["replay_share"]
    refusals: float | str = profile.refusals if given["refusals"] is None else given["refusals"]
    same = (
        "model",
        "revision",
        "precision",
        "epochs",
        "max_steps",
        "packing",
        "balance",
        "weights",
        "validation",
        "seed",
        "system",
        "backend",
        "llamafactory",
    )
    return Chosen(
        **chosen,
        **{name: given[name] for name in same},
        replay=replay or None,
        replay_share=replay_share if replay else 0.0,
        refusals=refusals if isinstance(refusals, str) else None,
        refusals_share=FILE_SHARE if isinstance(refusals, str) else refusals,
        profile=profile,
    )


def _is_tiny(model: str | None) -> bool:
    parameters = None if model is None else bases.parameters(model)
    return parameters is not None and parameters < LEAST_WRITING
