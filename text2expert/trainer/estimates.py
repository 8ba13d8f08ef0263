"""What a training would take and whether it could teach anything: worked out before a cent is spent.

Memory is counted from the parts of a training and agrees with what torchtune publishes for Llama-3.1-8B; speed on a GPU
is what torchtune publishes for that base on an RTX 4090, scaled by parameters. Neither was measured here.
"""

import math
from collections.abc import Mapping, Sequence

import attrs

from text2expert.records import GoldRecord
from text2expert.trainer import bases
from text2expert.trainer.chosen import Chosen

TOKENS_PER_SECOND = 8_000.0
"""Of the toy on one CPU core that is shared with others, measured by benchmarks/embedded.py; an idle one is faster."""

STARTS_SECONDS = 60.0
"""Four processes that load torch, the toy base, and the exam."""

CHARACTERS_PER_TOKEN = 4.0
"""Of English text in the tokenizers of common bases; the toy's own is near it."""

TEMPLATE_TOKENS = 20
"""That a chat template writes around a question and its answer."""

TEXT_ROW = 800
"""Characters of a passage, where the text was not cut yet."""

REPLAY_TOKENS = 200
"""Of a row that the base wrote."""

REPLAY_ROWS = (50, 2000)
"""Samples that the base writes at least and at most; a longer training sees them again, and keeps less of what it shows."""

MODEST = 1.3e9
"""Parameters up to which a base trains on a CPU in a time that somebody may wait for: what is called 1B."""

# -- speed ---------------------------------------------------------------------------------------------------------------

ANCHOR_PARAMETERS = 8.03e9
ANCHOR_SPEED: Mapping[str, float] = {"bf16": 3083.0, "nf4": 2413.0}
"""Tokens a second of Llama-3.1-8B on an RTX 4090, rows packed to 2,048 tokens, as torchtune's README has them."""

ANCHOR_CARD_GB = 25.4
"""Of an RTX 4090: 24,564 MiB, less what the driver keeps."""

ANCHOR_BF16 = 5e9
"""Parameters up to which precision="auto" finds room on it for bf16 without calculating activations twice."""

ANCHOR_LEAST = 1e9
"""Parameters; a smaller base is held up by other things than arithmetic."""

GPU_STARTS_SECONDS = 180.0
GPU_SAMPLE_SECONDS = 0.3
"""A guess: processes that load gigabytes from the disk, the exam before and after; and a sample that the base writes."""

READS_FASTER = 3.0
"""Than it trains, a base reads a prompt: forward once, where training goes forward, again for what it did not keep, and back.
By counting passes, not measured."""

GPU_ANSWER_SECONDS = 0.1
"""A guess: of an answer of 20 words, with as many at a time as the recipe takes."""

# -- memory --------------------------------------------------------------------------------------------------------------

_BYTES = {"fp32": 4.0, "bf16": 2.0, "nf4": 0.516}
"""Of a weight in a linear layer; nf4 with its constants quantised again takes 4.127 bits (QLoRA, arXiv 2305.14314)."""

_PARAMETERS, _WIDTH, _LAYERS, _ADAPTER = 7.62e9, 3584, 28, 2.523e6
"""Qwen2.5-7B: parameters, width, layers, and adapter weights for each rank. Others are taken for smaller or larger models
of its proportions, in which width and depth grow as the cube root of the parameters."""

_EMBEDDED_SHARE = 0.14
"""Of its parameters in embeddings and head, which are never quantised."""

_ADAPTER_BYTES = 16
"""Weight, gradient and the two moments of Adam, each in 32 bits."""

_AT_ONCE = 4096
"""Tokens that go through the model together; more are faster as long as they fit."""

_INSIDE = 35
"""Values that a layer keeps of a token, in widths (Korthikanti et al., arXiv 2205.05198, without attention's square)."""

_DRIVER_GB = 0.8
"""That CUDA and its libraries take for themselves."""

# -- starved -------------------------------------------------------------------------------------------------------------

LEAST_PAIRS = 50
"""Fewer examples change the tone of a base and teach it nothing; providers of fine-tuning ask for 50 to 100."""

LEAST_EXPOSURES = 5.0
"""Of a fact. Published trainings with three or fewer learned next to nothing of a text; 30 to 50 are what it takes."""

LEAST_COVERAGE = 0.2
"""Of the text's characters that is taught: below it, what is asked of the expert is mostly what it was never told."""

GOOD_EXPOSURES = 15.0
"""Of a fact, below which a plan says that more would help."""

_FEW = (
    "each fact is asked {:.0f} times over the whole training; published trainings that reached 80 % and more asked it 30 to "
    "50 times: more epochs (--epochs) or more wordings of each question (Teacher(wordings=...)) help"
)


@attrs.frozen(kw_only=True)
class TrainingPlan:
    """What training would be: rows, how often each is seen, the memory and time it takes, and whether it is enough."""

    records: int
    steps: int
    per_epoch: int
    """Steps of an epoch."""
    tokens: int
    """Of all streams over the whole training; estimated from characters."""
    shares: Mapping[str, float] = attrs.field(factory=dict)
    """Of the tokens, by stream; the rest is the golden dataset."""
    exposures_per_fact: float
    """How often a fact is asked over all its wordings, items and epochs."""
    seconds: float | None
    """On this machine's CPU for the toy base; on an RTX 4090 for a base of known size from a billion parameters (by
    published speeds, without fetching the base); None for others."""
    embedded: bool = False
    """Whether the base is the toy."""
    parameters: float | None = None
    """Of the base; None for the toy, and where neither its files nor its name say."""
    memory_gb: Mapping[str, float] = attrs.field(factory=dict)
    """Of the card, in 10**9 bytes, by precision: "nf4" (QLoRA) and "bf16"; empty where the base's size is not known."""
    starved: tuple[str, ...] = ()
    """Why it could teach next to nothing; empty where nothing speaks against it."""
    notes: tuple[str, ...] = ()
    """What else to consider."""

    def __str__(self) -> str:
        mixed = ", ".join(f"{100 * share:.0f} % {name}" for name, share in self.shares.items())
        tokens = f"{self.tokens / 1e6:,.1f} million" if self.tokens >= 1e6 else f"{self.tokens / 1e3:,.0f} thousand"
        said = (
            f"{self.steps:,} steps over {self.records:,} rows, {tokens} tokens{f' ({mixed})' if mixed else ''}, "
            f"{self.exposures_per_fact:,.0f} exposures a fact"
        )
        if self.seconds is not None:
            where = "" if self.parameters is None else " on an RTX 4090, by published speeds"
            said += f", about {max(1, round(self.seconds / 60))} min{where}"
        if self.memory_gb:
            nf4, bf16 = (math.ceil(self.memory_gb[precision]) for precision in ("nf4", "bf16"))
            said += f"; a card of {nf4} GB quantised (nf4) or {bf16} GB in bf16"
        return said

    @property
    def minutes(self) -> float | None:
        """`seconds` in minutes."""
        return None if self.seconds is None else self.seconds / 60


def memory_gb(parameters: float, r: int, precision: str) -> float:
    """GPU memory for training a base of so many *parameters*, in 10**9 bytes.

    Weights, adapter with its optimizer, and the activations of 4,096 tokens, each layer's inputs kept and all within one
    of them at a time. Llama-3.1-8B at rank 8 gets 8.8 and 19.1 GB by it with the driver's share, where torchtune's README
    has 7.9 and 17.4 GB without.
    """
    size = (parameters / _PARAMETERS) ** (1 / 3)
    embeddings = _EMBEDDED_SHARE * parameters
    wide = _BYTES["bf16" if precision == "nf4" else precision]
    weights = (parameters - embeddings) * _BYTES[precision] + embeddings * wide
    adapter = _ADAPTER * size**2 * r * _ADAPTER_BYTES
    kept = (_LAYERS * size + _INSIDE) * _WIDTH * size * wide
    return float((weights + adapter + _AT_ONCE * kept) / 1e9 + _DRIVER_GB)


def gpu_seconds(parameters: float, tokens: int, chosen: Chosen) -> float | None:
    """Seconds on an RTX 4090 by published speeds; None where the base is too small to scale them, or does not fit."""
    work = work_seconds(parameters, tokens, chosen)
    if work is None or parameters < ANCHOR_LEAST:
        return None
    if memory_gb(parameters, chosen.r, _precision(parameters, chosen)) > ANCHOR_CARD_GB:
        return None
    return GPU_STARTS_SECONDS + work


def work_seconds(parameters: float, tokens: int, chosen: Chosen) -> float | None:
    """Of these without what it takes to start, if the base did fit; at the speed of a billion parameters at most."""
    precision, scale = _precision(parameters, chosen), max(parameters, ANCHOR_LEAST) / ANCHOR_PARAMETERS
    if precision not in ANCHOR_SPEED:
        return None
    return scale * (tokens / ANCHOR_SPEED[precision] + replay_rows(tokens, chosen) * GPU_SAMPLE_SECONDS)


def exam_seconds(parameters: float | None, prompts: int, tokens: int) -> float:
    """What an RTX 4090 takes to read *prompts* of so many *tokens* in all, and to answer them; 8 billion parameters if unknown."""
    scale = max(parameters or ANCHOR_PARAMETERS, ANCHOR_LEAST) / ANCHOR_PARAMETERS
    return scale * (tokens / (READS_FASTER * ANCHOR_SPEED["nf4"]) + prompts * GPU_ANSWER_SECONDS)


def _precision(parameters: float, chosen: Chosen) -> str:
    """What precision="auto" comes to on an RTX 4090."""
    if chosen.precision != "auto":
        return chosen.precision
    return "bf16" if parameters <= ANCHOR_BF16 else "nf4"


def replay_rows(tokens: int, chosen: Chosen) -> int:
    """How many samples the base writes for a training of so many *tokens*, where they are as long as most bases' are."""
    if chosen.replay != "self":
        return 0
    return min(math.ceil(replay_tokens(tokens, chosen) / REPLAY_TOKENS), REPLAY_ROWS[1])


def replay_tokens(tokens: int, chosen: Chosen) -> int:
    """How many tokens of them are enough: as many as the training takes, so that it sees none of them twice."""
    return max(REPLAY_ROWS[0] * REPLAY_TOKENS, math.ceil(chosen.replay_share * tokens))


@attrs.frozen(kw_only=True)
class Epoch:
    """One pass over the golden dataset, and what is mixed in."""

    records: int
    """Rows of the golden dataset that are trained."""
    tokens: float
    """Of all streams."""
    rows: int
    """Of all streams."""


def epoch_of(records: int, characters: int, shares: Mapping[str, float], *, overhead: float, text_row: float) -> Epoch:
    """The epoch of so many *records* with *characters* in sum, when *shares* of its tokens are other streams'.

    *overhead*: tokens around each question; *text_row*: characters of a row of text.
    """
    gold = characters / CHARACTERS_PER_TOKEN + overhead * records
    tokens = gold / (1 - sum(shares.values()))
    row = {
        "text": text_row / CHARACTERS_PER_TOKEN,
        "replay": REPLAY_TOKENS,
        "refusals": gold / max(1, records),
    }
    rows = records + sum(int(tokens * share / max(1.0, row[stream])) for stream, share in shares.items())
    return Epoch(records=records, tokens=tokens, rows=rows)


def starved(*, records: int, exposures: float, coverage: float | None) -> tuple[str, ...]:
    """Why a training on so little would be in vain; *coverage* is the share of the text that is taught, where known."""
    reasons = []
    if records < LEAST_PAIRS:
        reasons.append(
            f"{records:,} training pairs are there, and fewer than {LEAST_PAIRS} change how a model speaks and not what "
            "it knows: teach more of the text, ask more questions of each passage (--questions-per-chunk)"
        )
    if exposures < LEAST_EXPOSURES:
        reasons.append(
            f"each fact is asked {exposures:.1f} times over the whole training, and what is asked less than "
            f"{LEAST_EXPOSURES:g} times is hardly learned (30 to 50 is what it takes): more epochs (--epochs), a higher or "
            "no max_steps (--max-steps), more wordings of each question (Teacher(wordings=...))"
        )
    if coverage is not None and coverage < LEAST_COVERAGE:
        reasons.append(
            f"{100 * coverage:.0f} % of the text is taught, and below {100 * LEAST_COVERAGE:.0f} % most of what the expert "
            "is asked it was never told: raise the budget, or ask more questions of each passage (--questions-per-chunk)"
        )
    return tuple(reasons)


def plan(
    chosen: Chosen,
    records: Sequence[GoldRecord],
    validation: Sequence[GoldRecord],
    rows: Sequence[str],
    coverage: float | None = None,
) -> TrainingPlan:
    """The plan of a training on *records* without those kept for *validation*, and on the text *rows*."""
    factors = chosen.factors(records)
    often = [factors.get(record.document, 1.0) for record in records]
    characters = sum(n * chosen.characters(record) for n, record in zip(often, records, strict=True))
    kept = 1 - len(validation) / len(records)
    return estimate(
        chosen,
        records=round(kept * sum(often)),
        characters=round(kept * characters),
        facts=len({record.fact or record.item or record.instruction for record in records}),
        text_row=sum(map(len, rows)) / len(rows) if rows else None,
        coverage=coverage,
    )


def estimate(
    chosen: Chosen,
    *,
    records: int,
    characters: int,
    facts: int,
    text_row: float | None,
    coverage: float | None = None,
) -> TrainingPlan:
    """The plan of a training on so many *records* with *characters* in sum; *text_row*: of a row of text, None: no text."""
    overhead = len(chosen.system) / CHARACTERS_PER_TOKEN + (0 if chosen.embedded else TEMPLATE_TOKENS)
    shares = chosen.shares(text=text_row is not None)
    epoch = epoch_of(records, characters, shares, overhead=overhead, text_row=text_row or 0.0)
    per_epoch = math.ceil(epoch.rows / chosen.batch_size)
    steps = min(math.ceil(chosen.passes(per_epoch) * per_epoch), chosen.max_steps or 10**12)
    epochs = steps / per_epoch if per_epoch else 0.0
    tokens = round(epochs * epoch.tokens)
    exposures = epochs * records / max(1, facts)
    made = TrainingPlan(
        records=records,
        steps=steps,
        per_epoch=per_epoch,
        tokens=tokens,
        shares=shares,
        exposures_per_fact=exposures,
        seconds=STARTS_SECONDS + tokens / TOKENS_PER_SECOND if chosen.embedded else None,
        embedded=chosen.embedded,
        starved=starved(records=records, exposures=exposures, coverage=coverage),
    )
    if chosen.model is None:
        return made
    if LEAST_EXPOSURES <= exposures < GOOD_EXPOSURES:
        made = attrs.evolve(made, notes=(_FEW.format(exposures),))
    parameters = bases.parameters(chosen.model)
    if parameters is None:
        return made
    return attrs.evolve(
        made,
        parameters=parameters,
        memory_gb={name: round(memory_gb(parameters, chosen.r, name), 1) for name in ("nf4", "bf16")},
        seconds=gpu_seconds(parameters, tokens, chosen),
    )
