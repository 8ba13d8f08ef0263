"""A training written as a job: its stages with their settings, and the data that they read, in one folder."""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from text2expert import files
from text2expert._progress import say
from text2expert.records import ExamPrompt, ExamQuestion, GoldRecord, Job, Needs, Stage, digest, write_jsonl
from text2expert.trainer import bases, estimates, materials, stages
from text2expert.trainer.chosen import Chosen
from text2expert.trainer.estimates import TrainingPlan
from text2expert.trainer.profiles import CHAT_TEMPLATE, EMBEDDED_BASE, LEAST_VALIDATION

ALONE = 30
"""Questions of each contestant that are asked one by one to be timed, where there are prompts: a median and a 95th
percentile of so many are worth saying, and take a few minutes on a card that a large base needs."""

LEAST_ANSWER = 64
"""Tokens that an answer to a prompt may have: a prompt asks for 20 words at most, in scripts that take three tokens a word."""

REPLAY = "stages/replay/replay.jsonl"

ASKED: Mapping[str, Literal["base", "expert"]] = {"before": "base", "after": "expert"}
"""Who answers in a stage."""

REFUSAL_EPOCHS = 8
"""Passes at most over which no refusal is seen twice; after that they come again."""


def write(
    chosen: Chosen,
    records: Sequence[GoldRecord],
    *,
    folder: Path,
    gold: Path,
    texts: Sequence[Path],
    questions: Sequence[ExamQuestion],
    prompts: Sequence[ExamPrompt] = (),
) -> Job:
    """Write the job of training on *records*, the contents of *gold*; see `text2expert.trainer.Trainer.job`."""
    files.make_folder(folder)
    return _Writer(chosen, records, folder, stages.bring(folder, gold, "gold")).job(texts, questions, prompts)


@attrs.define
class _Writer:
    """Writes one job."""

    chosen: Chosen
    records: Sequence[GoldRecord]
    folder: Path
    gold: str
    """The dataset, relative to the folder."""
    made: list[Stage] = attrs.field(factory=list)

    def job(self, texts: Sequence[Path], questions: Sequence[ExamQuestion], prompts: Sequence[ExamPrompt]) -> Job:
        """All stages, in the order in which they run."""
        alone = ALONE if prompts else 0
        prompts = prompts or _as_they_are(questions)
        chosen = self.chosen
        base, base_key = chosen.model or "base", ""
        if chosen.model is None:
            base_key = self._base(texts)
        elif os.path.isdir(base):
            base_key = bases.key(Path(base))
            # LLaMA-Factory is a command of this machine and writes the path that it is given into what it makes.
            outside = chosen.backend == "llamafactory"
            base = os.path.abspath(base) if outside else stages.link_base(self.folder, Path(base))
        common = {"base": base, "revision": chosen.revision, "precision": chosen.precision}
        before = self._answers("before", prompts, common, {"base": base_key}, alone)
        if chosen.backend == "llamafactory":
            expert_key, plan = self._llamafactory(common, base_key)
        else:
            expert_key, plan = self._train(common, base_key, texts, [question.question for question in questions])
        expert = {**common, "adapter": "expert"}
        after = self._answers("after", prompts, expert, {"expert": expert_key}, alone)
        return Job(
            id=digest(expert_key, before, after)[:16],
            folder=str(self.folder),
            stages=tuple(self.made),
            needs=needs(plan, chosen),
        )

    def _digests(self, paths: Sequence[str]) -> dict[str, str]:
        return {path: files.sha256_file(self.folder / path) for path in paths}

    def _base(self, texts: Sequence[Path]) -> str:
        """The stage that makes the toy; its key."""
        paths = [stages.bring(self.folder, text, str(number)) for number, text in enumerate(texts)]
        for path in paths:
            materials.read_text(self.folder / path)
        read = [*paths, self.gold]
        self.made.append(stages.stage("base", "scratch.py", inputs=read, outputs=("base",)))
        settings = {"texts": paths, "gold": self.gold, "seed": self.chosen.seed, "inputs": self._digests(read)}
        return stages.write(self.folder, "base", {**EMBEDDED_BASE, **settings})

    def _answers(
        self,
        name: Literal["before", "after"],
        prompts: Sequence[ExamPrompt],
        settings: Mapping[str, Any],
        inputs: Mapping[str, str],
        alone: int,
    ) -> str:
        """The stage in which the base (before), or the expert, answers its prompts; their digest, "" if it has none."""
        mine = [prompt for prompt in prompts if prompt.to == ASKED[name]]
        if not mine:
            return ""
        asked, answers = stages.write_prompts(self.folder, name, mine), f"stages/{name}/answers.jsonl"
        sha256 = files.sha256_file(self.folder / asked)
        more = {
            "prompts": asked,
            "answers": answers,
            "system": self.chosen.system,
            "default_chat_template": CHAT_TEMPLATE,
            "max_new_tokens": _longest_answer(self.records, least=LEAST_ANSWER if alone else 0),
            "batch_size": 256 if self.chosen.embedded else 32,
            "alone": alone,
            "inputs": {**inputs, asked: sha256},
        }
        stages.write(self.folder, name, {**settings, **more})
        read = (asked, *_folder_of(settings["base"]))
        self.made.append(stages.stage(name, "answer.py", inputs=read, outputs=(answers,)))
        return sha256

    def _train(
        self, common: Mapping[str, Any], base_key: str, texts: Sequence[Path], asked: Sequence[str]
    ) -> tuple[str, TrainingPlan]:
        """The stage that trains, after that of the replay, if the base writes it; its key, and what it will be."""
        data = self._data(texts, asked)
        inputs = {"base": base_key, **self._digests([self.gold, *data.written])}
        read = [self.gold, *data.written, *_folder_of(common["base"])]
        if self.chosen.replay == "self":
            inputs[REPLAY] = self._replay(common, base_key, data.plan)
            read.append(REPLAY)
        factors = self.chosen.factors(self.records)
        if self.chosen.weights or factors:
            _say_factors(factors)
        settings = {
            **common,
            **self.chosen.settings(data.plan.per_epoch),
            **data.settings,
            **({"weights": factors} if factors else {}),
            "gold": self.gold,
            "output": "expert",
            "default_chat_template": CHAT_TEMPLATE,
            "inputs": inputs,
        }
        self.made.append(stages.stage("train", "lora.py", inputs=read, outputs=("expert",)))
        return stages.write(self.folder, "train", settings), data.plan

    def _llamafactory(self, common: Mapping[str, Any], base_key: str) -> tuple[str, TrainingPlan]:
        """The stage that trains with LLaMA-Factory, and its export; its key, and what it will be."""
        from text2expert import exports  # noqa: PLC0415 - only this needs it

        chosen, plan = self.chosen, estimates.plan(self.chosen, self.records, (), [])
        say(
            "LLaMA-Factory trains the golden dataset alone: without the text itself, replay and validation, which "
            "backend='text2expert' has."
        )
        training = exports.Training(
            precision=chosen.precision,
            epochs=chosen.passes(plan.per_epoch),
            learning_rate=chosen.learning_rate,
            batch_size=chosen.batch_size,
            max_steps=chosen.max_steps,
            r=chosen.r,
            alpha=chosen.alpha,
            seed=chosen.seed,
        )
        stages.own(self.folder, "train")
        settings = exports.stage_settings(
            self.records,
            self.folder,
            command=chosen.llamafactory,
            base=str(common["base"]),
            revision=chosen.revision,
            system=chosen.system,
            reasoning=chosen.reasoning,
            short_answer=chosen.short_answer,
            default_chat_template=CHAT_TEMPLATE,
            training=training,
        )
        inputs = {"base": base_key, **settings["inputs"]}
        self.made.append(stages.stage("train", "llamafactory.py", inputs=list(settings["inputs"]), outputs=("expert",)))
        return stages.write(self.folder, "train", {**settings, "inputs": inputs}), plan

    def _replay(self, common: Mapping[str, Any], base_key: str, plan: TrainingPlan) -> str:
        """The stage in which the base writes samples of what it knows; its key."""
        settings = {
            **common,
            "output": REPLAY,
            "rows": estimates.REPLAY_ROWS[1],
            "tokens": estimates.replay_tokens(plan.tokens, self.chosen),
            "seed": self.chosen.seed,
            "default_chat_template": CHAT_TEMPLATE,
            "inputs": {"base": base_key},
        }
        read = _folder_of(common["base"])
        self.made.append(stages.stage("replay", "replay.py", inputs=read, outputs=(REPLAY,)))
        return stages.write(self.folder, "replay", settings)

    def _data(self, texts: Sequence[Path], asked: Sequence[str]) -> "_Data":
        """Write what is trained beside the dataset."""
        chosen, written = self.chosen, []
        rows = materials.text_rows(texts) if chosen.text_share or chosen.refusals_share else []
        shares = chosen.shares(text=bool(rows))
        settings: dict[str, Any] = {f"{name}_share": share for name, share in shares.items()}
        if "text" in shares:
            settings["texts"] = [path := stages.place(self.folder, "text.jsonl")]
            materials.write_rows(self.folder / path, rows)
            written.append(path)
        elif chosen.text_share:
            say(
                "The text itself is not trained, since it is not there (give texts=: chunks.jsonl, text files or a run "
                "folder): what nobody asked about is not learned."
            )
        most = chosen.held_out(len(self.records))
        validation = materials.validation_of(self.records, asked, most=most, seed=chosen.seed)
        if validation:
            settings["validation"] = path = stages.place(self.folder, "validation.jsonl")
            write_jsonl(self.folder / path, validation)
            written.append(path)
        elif most:
            say(
                f"No validation during training, and no early stop: fewer than {LEAST_VALIDATION} questions have "
                f"{materials.ROOM} wordings in training."
            )
        if chosen.refusals_share:
            held = [*asked, *(record.instruction for record in validation)]
            if path := self._refusals(rows, held):
                settings["refusals"] = path
                written.append(path)
            else:
                del settings["refusals_share"]
        if chosen.replay == "self":
            settings["replay"] = REPLAY
        elif chosen.replay:
            settings["replay"] = path = stages.bring(self.folder, Path(chosen.replay), "replay")
            written.append(path)
        plan = estimates.plan(chosen, self.records, validation, rows if "text" in shares else [])
        return _Data(settings=settings, written=written, plan=plan)

    def _refusals(self, rows: Sequence[str], asked: Sequence[str]) -> str:
        """The file of refusals, made from the dataset unless one is given; empty where none can be made."""
        from text2expert import refusals  # noqa: PLC0415 - hundreds of words that only this needs

        chosen = self.chosen
        if chosen.refusals is not None:
            made = refusals.load(chosen.refusals, self.records, seed=chosen.seed)
        elif not rows:
            say("No refusals are trained: what the text does not say can only be known where it is there (texts=).")
            return ""
        else:
            epochs = min(math.ceil(chosen.passes(1)), REFUSAL_EPOCHS)
            made = refusals.near_misses(
                self.records, rows, share=chosen.refusals_share, seed=chosen.seed, epochs=epochs, asked=asked
            )
        if not made:
            say("No refusals are trained: none can be made from these questions (the rules are English).")
            return ""
        # Rows of a dataset that names no items are none of them: their refusals would be left out for want of a twin.
        nameless = {refusals.item_of(record) for record in self.records if not record.item}
        path = stages.place(self.folder, "refusals.jsonl")
        write_jsonl(
            self.folder / path, (attrs.evolve(each, twin="") if each.twin in nameless else each for each in made)
        )
        return path


def _say_factors(factors: Mapping[str, float]) -> None:
    """How often the pairs of documents are trained, where that was asked for."""
    shown = ", ".join(f"{document} {factor:.2f} times" for document, factor in factors.items())
    say(f"In an epoch each pair is trained once{', but ' + shown if shown else ''}.")


def _as_they_are(questions: Sequence[ExamQuestion]) -> list[ExamPrompt]:
    """Prompts that ask base and expert the questions alone."""
    return [ExamPrompt(id=each.id, question=each.question, to=to) for to in ASKED.values() for each in questions]


@attrs.frozen(kw_only=True)
class _Data:
    """What is trained beside the dataset."""

    settings: dict[str, Any]
    written: list[str]
    """Files in the job's folder."""
    plan: TrainingPlan


def _folder_of(base: str) -> tuple[str, ...]:
    """What a stage reads of a *base* that comes with the job; the toy is made by a stage, others are fetched."""
    return (base,) if base == stages.BASE else ()


def needs(plan: TrainingPlan, chosen: Chosen) -> Needs:
    """What a training of this *plan* asks of a machine."""
    if chosen.model is None:
        return Needs(tokens=plan.tokens, base_gb=0.0)
    common = Needs(
        tokens=plan.tokens,
        base_gb=bases.size_gb(chosen.model),
        sends_base=os.path.isdir(chosen.model) and chosen.backend != "llamafactory",
    )
    if plan.parameters is None:
        return common
    least = "nf4" if chosen.precision == "auto" else chosen.precision
    vram = round(estimates.memory_gb(plan.parameters, chosen.r, least), 1)
    # Twice the weights in 16 bits: as they are fetched, and room for what is made of them.
    return attrs.evolve(
        common,
        vram_gb=vram,
        disk_gb=round(4 * plan.parameters / 1e9, 1),
        seconds=estimates.work_seconds(plan.parameters, plan.tokens, chosen),
    )


def _longest_answer(records: Sequence[GoldRecord], *, least: int) -> int:
    """A limit of tokens for the bare base, which may never stop by itself; a token has three characters or more."""
    return min(512, max(least, 16 + max(len(record.output) for record in records) // 3))
