"""Trainer: a golden dataset becomes a job of recipes, and the job an adapter.

Nothing here trains: the recipes do, in processes of their own, wherever the runner puts them. This module decides
their settings, writes them beside the data, and says what came out.
"""

import difflib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import attrs

from text2expert import _sync, files
from text2expert.errors import InputError
from text2expert.records import (
    Adapter,
    ExamQuestion,
    GoldRecord,
    Job,
    Needs,
    Stage,
    digest,
    read_jsonl,
    write_jsonl,
)
from text2expert.runners import Runner
from text2expert.runners.local import Local

GOLD = "golden_dataset.jsonl"
PROMPTS = "stages/prompts.jsonl"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Question:\\n' + message['content'] + '\\n\\n' }}"
    "{% else %}{{ '### Answer:\\n' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Answer:\\n' }}{% endif %}"
)
"""For a base that brings none; it is saved with the expert, so that whoever serves it writes the same."""


@attrs.frozen(kw_only=True)
class _Profile:
    """Defaults that belong together."""

    epochs: float
    least_steps: int
    """More epochs, where these are fewer."""
    learning_rate: float
    batch_size: int
    r: int
    alpha: int
    more: Mapping[str, Any]
    """Settings of recipes/lora.py that are not the caller's business."""


REAL = _Profile(
    # Facts need 30 to 50 exposures; five wordings an item in four epochs are twenty, and more epochs cost general ability.
    epochs=4,
    least_steps=1,
    # Ten times what full fine-tuning takes; published sweeps for LoRA on 7B to 8B bases lie between 2e-4 and 1e-3.
    learning_rate=3e-4,
    # LoRA loses more than full fine-tuning when batches grow beyond about 32 rows.
    batch_size=16,
    # All linear layers at rank 64 hold thousands of facts; smaller ranks saturate as documents are added.
    r=64,
    alpha=64,
    more={"checkpoint_seconds": 300.0},
)
"""For bases with weights of their own."""

EMBEDDED = _Profile(
    # On the sample handbook, three seeds: 95 to 98 of 100 held-out wordings after sixteen, 90 to 94 after twelve.
    epochs=16,
    # A short text has few rows, and an attention that knows nothing yet needs its steps all the same.
    least_steps=900,
    # 6e-3 learns alike; above that was not tried.
    learning_rate=4e-3,
    # Sixteen rows teach no more in an epoch and take twice the steps.
    batch_size=32,
    # Half the width of the toy: its adapters hold every fact, so they must be large for once.
    r=64,
    alpha=64,
    more={
        "checkpoint_seconds": 20.0,
        # The toy has seen each word a few times only. With its embeddings the loss falls in a third of the steps.
        "train_embeddings": True,
        # Words dropped and swapped: wordings unlike any template gain a few points by it, held-out ones hardly any.
        "question_noise": 0.5,
    },
)
"""For the toy base; found by benchmarks/embedded.py."""

EMBEDDED_BASE: Mapping[str, Any] = {
    "vocabulary": 2000,
    "hidden": 128,
    "layers": 2,
    "heads": 4,
    "intermediate": 384,
    "window": 128,
    "batch_size": 16,
    # Twice, for the words; what it should know is taught by the golden dataset, and more passes do not help that.
    "passes": 2,
    "max_tokens": 1_500_000,
    "question_share": 0.3,
    "learning_rate": 3e-3,
}
"""Settings of recipes/scratch.py."""

_TOKENS_PER_SECOND = 8_000.0
"""Of the toy on one CPU core that is shared with others, measured by benchmarks/embedded.py; an idle one is faster."""

_STARTS_SECONDS = 60.0
"""Four processes that load torch, the toy base, and the exam."""

_CHARACTERS_PER_TOKEN = 4.0
"""Of English text in the tokenizers of common bases; the toy's own is near it."""

_NAMES_ELSEWHERE = {
    "num_epochs": "epochs",
    "num_train_epochs": "epochs",
    "n_epochs": "epochs",
    "model_name": "model",
    "model_name_or_path": "model",
    "base": "model",
    "base_model": "model",
    "lr": "learning_rate",
    "per_device_train_batch_size": "batch_size",
    "micro_batch_size": "batch_size",
    "num_steps": "max_steps",
    "lora_r": "r",
    "rank": "r",
    "lora_rank": "r",
    "lora_alpha": "alpha",
    "random_seed": "seed",
    "system_prompt": "system",
}


@attrs.frozen(kw_only=True)
class TrainingPlan:
    """What training would be: rows and how often each is seen, and how long that takes where it is known."""

    records: int
    steps: int
    tokens: int
    """Estimated from characters."""
    exposures_per_fact: float
    """How often a fact is seen over all its wordings, items and epochs."""
    seconds: float | None
    """On this machine's CPU for the toy base; None for other bases, whose speed their hardware decides."""

    def __str__(self) -> str:
        time = "" if self.seconds is None else f", about {max(1, round(self.seconds / 60))} min"
        return (
            f"{self.steps:,} steps over {self.records:,} rows, {self.tokens / 1e6:,.1f} million tokens, "
            f"{self.exposures_per_fact:,.0f} exposures a fact{time}"
        )


@attrs.frozen(init=False)
class Trainer:
    """Trains a LoRA adapter on a golden dataset.

    Args:
        model: A causal language model of the Hugging Face hub or a folder in its form. None makes a toy base from the
            text itself, which needs no network and no GPU and proves that the pipeline trains.
        epochs: Passes over the dataset; may be a fraction. None takes the default of the kind of base.
        learning_rate: The peak of a cosine; None as above.
        batch_size: Rows in an optimizer step; None as above.
        max_steps: An upper limit of optimizer steps.
        r: Rank of the adapter's matrices; None as above.
        alpha: The adapter is scaled by alpha / r; None as above.
        seed: Decides initial weights, order and noise.
        system: A system prompt, trained and asked with.
        runner: Where the stages run; None is this machine.
    """

    model: str | None
    epochs: float | None = attrs.field(kw_only=True)
    learning_rate: float | None = attrs.field(kw_only=True)
    batch_size: int | None = attrs.field(kw_only=True)
    max_steps: int | None = attrs.field(kw_only=True)
    r: int | None = attrs.field(kw_only=True)
    alpha: int | None = attrs.field(kw_only=True)
    seed: int = attrs.field(kw_only=True)
    system: str = attrs.field(kw_only=True)
    runner: Runner = attrs.field(kw_only=True)

    def __init__(
        self,
        model: str | os.PathLike[str] | None = None,
        *,
        epochs: float | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        max_steps: int | None = None,
        r: int | None = None,
        alpha: int | None = None,
        seed: int = 0,
        system: str = "",
        runner: Runner | None = None,
        **unknown: Never,
    ) -> None:
        _refuse(unknown)
        if model is not None:
            model = os.fspath(model)
            if not model.strip():
                raise InputError(
                    "model is empty: give the name of a Hugging Face model, a folder, or None for the toy base"
                )
        _check_number("epochs", epochs)
        _check_number("learning_rate", learning_rate)
        for name, value in (("batch_size", batch_size), ("max_steps", max_steps), ("r", r), ("alpha", alpha)):
            _check_whole(name, value, smallest=1)
        _check_whole("seed", seed, smallest=0)
        if not isinstance(system, str):
            raise InputError(f"system must be a text, got {system!r:.80}")
        self.__attrs_init__(
            model=model,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_steps=max_steps,
            r=r,
            alpha=alpha,
            seed=seed,
            system=system,
            runner=Local() if runner is None else runner,
        )

    @property
    def embedded(self) -> bool:
        """Whether the base is the toy made from the text."""
        return self.model is None

    def check(self) -> None:
        """Say now, not after an hour of teaching, what would stop the training.

        Raises:
            MissingExtraError: The runner needs packages that are not installed.
            InputError: The model is a folder that does not exist or holds no model.
        """
        if self.model is not None:
            _check_model(self.model)
        check = getattr(self.runner, "check", None)
        if check is not None:
            check()

    def plan(self, gold: Sequence[GoldRecord] | Path | str) -> TrainingPlan:
        """What training on *gold* would be."""
        records = _read(gold)
        return self.estimate(
            records=len(records),
            characters=sum(len(record.instruction) + len(record.input) + len(record.output) for record in records),
            facts=len({record.fact or record.item or record.instruction for record in records}),
        )

    def estimate(self, *, records: int, characters: int, facts: int) -> TrainingPlan:
        """`plan` for a dataset that does not exist yet: how many rows, their characters in sum, and their facts."""
        settings = self._settings(records)
        per_epoch = math.ceil(records / settings["batch_size"])
        steps = min(math.ceil(settings["epochs"] * per_epoch), self.max_steps or 10**12)
        epochs = steps / per_epoch if per_epoch else 0.0
        tokens = round(epochs * (characters + len(self.system) * records) / _CHARACTERS_PER_TOKEN)
        return TrainingPlan(
            records=records,
            steps=steps,
            tokens=tokens,
            exposures_per_fact=epochs * records / max(1, facts),
            seconds=_STARTS_SECONDS + tokens / _TOKENS_PER_SECOND if self.embedded else None,
        )

    def job(self, folder: Path, gold: Path, texts: Sequence[Path] = (), questions: Sequence[ExamQuestion] = ()) -> Job:
        """Write the stages of a training into *folder*, each ready to run there or on another machine.

        Args:
            folder: Where the stages and their results lie; data outside of it are copied into it.
            gold: A golden dataset.
            texts: UTF-8 texts (or a chunks.jsonl) from which the toy base is made; other bases do not need them.
            questions: Asked before and after training; the answers are in ``stages/before`` and ``stages/after``.

        Raises:
            InputError: A file cannot be used.
            RunFolderError: The folder cannot be written.
        """
        records = _read(gold)
        files.make_folder(folder)
        gold_path = _bring(folder, gold)
        gold_sha256 = files.sha256_file(folder / gold_path)
        stages = []
        base, base_key = self.model or "base", ""
        if self.embedded:
            text_paths = [_bring(folder, text, number) for number, text in enumerate(texts)]
            for path in text_paths:
                _check_utf8(folder / path)
            settings = {
                **EMBEDDED_BASE,
                "texts": text_paths,
                "gold": gold_path,
                "seed": self.seed,
                "inputs": {path: files.sha256_file(folder / path) for path in [*text_paths, gold_path]},
            }
            base_key = _write_stage(folder, "base", settings)
            stages.append(_stage("base", "scratch.py", inputs=(*text_paths, gold_path), outputs=("base",)))
        else:
            _check_model(base)
            if os.path.isdir(base):
                base, base_key = os.path.abspath(base), _folder_key(Path(base))
        answering = {
            "base": base,
            "prompts": PROMPTS,
            "system": self.system,
            "default_chat_template": CHAT_TEMPLATE,
            "max_new_tokens": _longest_answer(records),
            "batch_size": 256 if self.embedded else 32,
        }
        asked_sha256 = ""
        if questions:
            files.make_folder(folder / "stages")
            with files.atomic(folder / PROMPTS) as file:
                for question in questions:
                    file.write(
                        json.dumps({"id": question.id, "question": question.question}, ensure_ascii=False) + "\n"
                    )
            asked_sha256 = files.sha256_file(folder / PROMPTS)
            answers = "stages/before/answers.jsonl"
            inputs = {"base": base_key, PROMPTS: asked_sha256}
            _write_stage(folder, "before", {**answering, "answers": answers, "inputs": inputs})
            stages.append(_stage("before", "answer.py", inputs=(PROMPTS,), outputs=(answers,)))
        training = {
            **self._settings(len(records)),
            "base": base,
            "gold": gold_path,
            "output": "expert",
            "default_chat_template": CHAT_TEMPLATE,
            "inputs": {"base": base_key, gold_path: gold_sha256},
        }
        expert_key = _write_stage(folder, "train", training)
        stages.append(_stage("train", "lora.py", inputs=(gold_path,), outputs=("expert",)))
        if questions:
            answers = "stages/after/answers.jsonl"
            inputs = {"expert": expert_key, PROMPTS: asked_sha256}
            _write_stage(folder, "after", {**answering, "adapter": "expert", "answers": answers, "inputs": inputs})
            stages.append(_stage("after", "answer.py", inputs=(PROMPTS,), outputs=(answers,)))
        return Job(
            id=digest(expert_key, asked_sha256)[:16],
            folder=str(folder),
            stages=tuple(stages),
            needs=Needs(tokens=self.plan(records).tokens),
        )

    async def atrain(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        folder: Path | str,
        texts: Sequence[Path | str] = (),
        exam: Sequence[ExamQuestion] = (),
    ) -> Adapter:
        """Train on *gold* in *folder*, the async form of `train`. The folder is the caller's to lock."""
        folder = Path(folder)
        if not isinstance(gold, str | Path):
            records = _read(gold)
            files.make_folder(folder)
            write_jsonl(folder / GOLD, records)
            gold = folder / GOLD
        job = self.job(folder, Path(gold), [Path(text) for text in texts], exam)
        await self.runner.run(job)
        done = json.loads((folder / "stages" / "train" / "done.json").read_bytes())
        if self.embedded:
            _record_base(folder)
        return Adapter(
            path=str(folder / "expert"),
            base_model=self.model or str(folder / "base"),
            base_revision=done["revision"],
            gold_sha256=files.sha256_file(gold),
        )

    def train(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        folder: Path | str | None = None,
        texts: Sequence[Path | str] = (),
        exam: Sequence[ExamQuestion] = (),
    ) -> Adapter:
        """Train on *gold*; ask the result with ``Expert.load(adapter.path)``.

        Args:
            gold: Records, or the path of a golden dataset, also one written or edited by hand.
            folder: Where everything goes. None: the run folder in which the dataset lies, else
                ``expert_model_<name of the dataset>`` in the working directory.
            texts: UTF-8 texts from which the toy base is made; without them it is made from the dataset's questions.
            exam: Questions to ask before and after training.

        Raises:
            InputError: The dataset or a text cannot be used.
            RunFolderError: The folder cannot be written, or another process is at work on it.
            RunnerError: A stage failed.
            MissingExtraError: torch and its companions are not installed.
        """
        place = _default_folder(gold) if folder is None else Path(folder)
        _read(gold)
        self.check()
        files.make_folder(place)
        with files.locked(place):
            return _sync.run(self.atrain(gold, folder=place, texts=texts, exam=exam))

    def _settings(self, records: int) -> dict[str, Any]:
        """Settings of recipes/lora.py for so many rows, the given ones over the defaults of the kind of base."""
        profile = EMBEDDED if self.embedded else REAL
        names = ("learning_rate", "batch_size", "r", "alpha")
        chosen = {
            name: getattr(profile, name) if getattr(self, name) is None else getattr(self, name) for name in names
        }
        epochs = self.epochs
        if epochs is None:
            per_epoch = math.ceil(records / chosen["batch_size"])
            epochs = max(profile.epochs, math.ceil(profile.least_steps / max(1, per_epoch)))
        return {
            **profile.more,
            **chosen,
            "epochs": epochs,
            "max_steps": self.max_steps,
            "seed": self.seed,
            "system": self.system,
        }


def _refuse(unknown: Mapping[str, object]) -> None:
    for name in unknown:
        ours = _NAMES_ELSEWHERE.get(name)
        if ours is None:
            close = difflib.get_close_matches(name, _OURS, n=1)
            ours = close[0] if close else None
        advice = f"here it is called {ours!r}" if ours else f"it has {', '.join(_OURS)}"
        raise TypeError(f"Trainer has no argument {name!r}: {advice}")


_OURS = ("model", "epochs", "learning_rate", "batch_size", "max_steps", "r", "alpha", "seed", "system", "runner")


def _check_number(name: str, value: float | None) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} must be a finite number above 0, got {value!r}")


def _check_whole(name: str, value: int | None, *, smallest: int) -> None:
    if value is not None and (type(value) is not int or value < smallest):
        raise InputError(f"{name} must be a whole number from {smallest}, got {value!r}")


def _check_model(model: str) -> None:
    looks_like_path = model.startswith(("/", "./", "../", "~"))
    if looks_like_path and not os.path.isdir(model):
        raise InputError(f"model {model!r} is not a folder: check the path, or give the name of a Hugging Face model")
    if os.path.isdir(model) and not os.path.isfile(os.path.join(model, "config.json")):
        raise InputError(f"model {model!r} is a folder without a config.json: it must hold a Hugging Face model")


def _read(gold: Sequence[GoldRecord] | Path | str) -> list[GoldRecord]:
    records = list(read_jsonl(gold, GoldRecord)) if isinstance(gold, str | Path) else list(gold)
    name = str(gold) if isinstance(gold, str | Path) else "gold"
    if not records:
        raise InputError(f"{name} holds no record: there is nothing to train on")
    if not any(record.output.strip() for record in records):
        raise InputError(
            f"{name}: none of its {len(records)} records has an answer (output): there is nothing to train on"
        )
    return records


def _default_folder(gold: Sequence[GoldRecord] | Path | str) -> Path:
    if not isinstance(gold, str | Path):
        return Path("expert_model")
    path = Path(gold)
    return path.parent if path.name == GOLD else Path(f"expert_model_{files.safe_name(path.stem)}")


def _bring(folder: Path, path: Path, number: int | None = None) -> str:
    """*path* relative to *folder*; a file from elsewhere is copied in first, so that the job can be carried."""
    inside, outside = folder.resolve(), path.resolve()
    if outside.is_relative_to(inside):
        return outside.relative_to(inside).as_posix()
    prefix = "" if number is None else f"{number}_"
    copy = Path("stages") / "inputs" / f"{prefix}{files.safe_name(path.name)}"
    files.make_folder(folder / copy.parent)
    try:
        shutil.copyfile(path, folder / copy)
    except FileNotFoundError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except OSError as error:
        raise files.cannot_write(folder / copy, error) from error
    return copy.as_posix()


def _check_utf8(path: Path) -> None:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start}): read it with text2expert.documents and write its text as UTF-8"
        ) from error


def _folder_key(folder: Path) -> str:
    """Tells one model folder from another: names and sizes of its files, and the contents of the small ones.

    Hashing gigabytes of weights would take longer than noticing a change of them is worth.
    """
    parts = []
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        parts += [path.name, str(size), files.sha256_file(path) if size < 1_000_000 else ""]
    return digest(*parts)


def _longest_answer(records: Sequence[GoldRecord]) -> int:
    """A limit of tokens for the bare base, which may never stop by itself; a token has three characters or more."""
    return min(512, 16 + max(len(record.output) for record in records) // 3)


def _write_stage(folder: Path, name: str, settings: Mapping[str, Any]) -> str:
    """Write a stage's job.json; its SHA-256, which is the key of all that the stage makes."""
    place = folder / "stages" / name
    files.make_folder(folder / "stages")  # by itself, since mkdir gives its mode to the last folder alone
    files.make_folder(place)
    files.write_json(place / "job.json", settings)
    return hashlib.sha256((place / "job.json").read_bytes()).hexdigest()


def _stage(name: str, recipe: str, *, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Stage:
    return Stage(name=name, argv=(recipe, f"stages/{name}/job.json"), inputs=inputs, outputs=outputs)


def _record_base(folder: Path) -> None:
    """Write where the base lies into the adapter: trained on another machine, it names a folder of that one."""
    path = folder / "expert" / "adapter_config.json"
    config = json.loads(path.read_bytes())
    base = str((folder / "base").resolve())
    if config["base_model_name_or_path"] != base:
        files.write_json(path, {**config, "base_model_name_or_path": base})
