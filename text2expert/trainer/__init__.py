"""Trainer: a golden dataset becomes a job of recipes, and the job an adapter.

Nothing here trains: the recipes do, in processes of their own, wherever the runner puts them. This package decides
their settings, writes them beside the data, says what they would take, and what came out.
"""

import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Never

import attrs

from text2expert import _sync, files
from text2expert._progress import say
from text2expert.errors import InputError, NoGPUError, StarvedRunError
from text2expert.records import Adapter, ExamPrompt, ExamQuestion, GoldRecord, Job, Quote, read_jsonl, write_jsonl
from text2expert.runners import Runner, gpus
from text2expert.runners.local import Local
from text2expert.trainer import arguments, bases, estimates, jobs, materials, stages, weighing
from text2expert.trainer.arguments import Backend, Precision, Reasoning, Replay, ShortAnswer
from text2expert.trainer.chosen import Chosen, choose
from text2expert.trainer.estimates import TrainingPlan
from text2expert.trainer.profiles import ALONE, CHAT_TEMPLATE, CLOUD_BASE, EMBEDDED, LEAST_VALIDATION, REAL
from text2expert.trainer.weighing import Balance

__all__ = ["CHAT_TEMPLATE", "CLOUD_BASE", "GOLD", "Trainer", "TrainingPlan"]

GOLD = "golden_dataset.jsonl"

LLAMAFACTORY = "llamafactory-cli"
"""What LLaMA-Factory's command is called."""


@attrs.frozen(init=False)
class Trainer:
    """Trains a LoRA adapter on a golden dataset.

    Args that are None take the default of the kind of base; `text2expert.trainer.profiles` has them with their reasons.

    Args:
        model: A causal language model of the Hugging Face hub or a folder in its form. None makes a toy base from the
            text itself, which needs no network and no GPU and proves that the pipeline trains.
        epochs: Passes over the dataset; may be a fraction.
        learning_rate: The peak of a cosine.
        batch_size: Rows in an optimizer step, those of all streams together.
        max_steps: An upper limit of optimizer steps.
        r: Rank of the adapter's matrices.
        alpha: The adapter is scaled by alpha / r.
        revision: Commit, tag or branch of a model of the hub; None takes what is there now, and records which it was.
        precision: What the base is held in: "bf16", "fp32", "nf4" (4 bits: QLoRA), or "auto": on a GPU bf16 where that
            fits, else nf4; on the CPU fp32.
        reasoning: Whether the reasoning is trained, and where: "none", or "before" or "after" the answer.
        short_answer: Whether the short canonical answer is trained, and where: "none", or "first" or "last".
        text_share: Share of the trained tokens that are the text itself and its rewrites.
        replay: Against forgetting: "self" lets the base write samples of what it knows before training; or the path of a
            JSONL file of {"instruction", "output"}, {"messages"} or {"text"}; False for none. None: "self", unless the base
            is too small (50 million parameters) to write anything.
        replay_share: Share of the trained tokens that is replay.
        refusals: Share of the trained tokens that are questions which the text does not answer, each refused and paired
            with one that it does; or the path of a JSONL file of such. 0 for none.
        balance: Of several documents: "proportional", every pair once in an epoch; or "equal", as many pairs of each
            document, together as many as there are.
        weights: Document, by its id or file name -> how many times as often as else each of its pairs is trained.
        validation: At most so many wordings are kept out of training and asked during it, and the best weights are kept; 0
            for none. None: of a small dataset a tenth of the rows.
        packing: Rows one after another without padding; None: wherever the base keeps such rows apart, which is measured.
        seed: Decides initial weights, order, draws and noise.
        system: A system prompt, trained and asked with.
        runner: Where the stages run: `Local`, `SSH`, `Vast`, or anything with their one method; None is this machine.
        train_anyway: Train also what is expected to be in vain: too little data on a machine that costs money, or a large
            base without a GPU.
        backend: "text2expert", or "llamafactory" to train with the command `llamafactory`.
        llamafactory: Path or name of LLaMA-Factory's command, which lives in an environment of its own.

    Raises:
        InputError: A value cannot be used.
        TypeError: There is no such argument; the message names ours.
    """

    model: str | None
    epochs: float | None = attrs.field(kw_only=True)
    learning_rate: float | None = attrs.field(kw_only=True)
    batch_size: int | None = attrs.field(kw_only=True)
    max_steps: int | None = attrs.field(kw_only=True)
    r: int | None = attrs.field(kw_only=True)
    alpha: int | None = attrs.field(kw_only=True)
    revision: str | None = attrs.field(kw_only=True)
    precision: Precision = attrs.field(kw_only=True)
    reasoning: Reasoning | None = attrs.field(kw_only=True)
    short_answer: ShortAnswer | None = attrs.field(kw_only=True)
    text_share: float | None = attrs.field(kw_only=True)
    replay: str | bool | None = attrs.field(kw_only=True)
    replay_share: float | None = attrs.field(kw_only=True)
    refusals: float | str | None = attrs.field(kw_only=True)
    balance: Balance = attrs.field(kw_only=True)
    weights: Mapping[str, float] = attrs.field(kw_only=True, hash=False)
    validation: int | None = attrs.field(kw_only=True)
    packing: bool | None = attrs.field(kw_only=True)
    seed: int = attrs.field(kw_only=True)
    system: str = attrs.field(kw_only=True)
    runner: Runner = attrs.field(kw_only=True)
    train_anyway: bool = attrs.field(kw_only=True)
    backend: Backend = attrs.field(kw_only=True)
    llamafactory: str = attrs.field(kw_only=True)

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
        revision: str | None = None,
        precision: Precision = "auto",
        reasoning: Reasoning | None = None,
        short_answer: ShortAnswer | None = None,
        text_share: float | None = None,
        replay: Replay = None,
        replay_share: float | None = None,
        refusals: float | str | os.PathLike[str] | None = None,
        balance: Balance = "proportional",
        weights: Mapping[str, float] | None = None,
        validation: int | None = None,
        packing: bool | None = None,
        seed: int = 0,
        system: str = "",
        runner: Runner | None = None,
        train_anyway: bool = False,
        backend: Backend = "text2expert",
        llamafactory: str | os.PathLike[str] = LLAMAFACTORY,
        **unknown: Never,
    ) -> None:
        arguments.refuse(unknown, tuple(field.name for field in attrs.fields(Trainer)))
        if model is not None:
            model = os.fspath(model)
            if not model.strip():
                raise InputError(
                    "model is empty: give the name of a Hugging Face model, a folder, or None for the toy base"
                )
        if revision is not None and (not isinstance(revision, str) or not revision.strip()):
            raise InputError(f"revision must be a commit, a tag or a branch, got {revision!r:.80}")
        if revision is not None and model is None:
            raise InputError(
                f"revision={revision!r} is of a model of the hub, and the toy is made here: name the model"
            )
        arguments.number("epochs", epochs)
        arguments.number("learning_rate", learning_rate)
        for name, value in (("batch_size", batch_size), ("max_steps", max_steps), ("r", r), ("alpha", alpha)):
            arguments.whole(name, value, smallest=1)
        arguments.one_of("precision", precision, arguments.Precision, optional=False)
        arguments.one_of("reasoning", reasoning, arguments.Reasoning)
        arguments.one_of("short_answer", short_answer, arguments.ShortAnswer)
        arguments.share("text_share", text_share)
        arguments.share("replay_share", replay_share)
        weighing.balance(balance)
        arguments.whole("validation", validation, smallest=0)
        if validation is not None and 0 < validation < LEAST_VALIDATION:
            raise InputError(
                f"validation={validation}: fewer than {LEAST_VALIDATION} wordings say too little to choose by; give "
                f"{LEAST_VALIDATION} or more, or 0 for none"
            )
        arguments.flag("packing", packing, optional=True)
        arguments.whole("seed", seed, smallest=0)
        arguments.text("system", system)
        arguments.flag("train_anyway", train_anyway)
        arguments.one_of("backend", backend, arguments.Backend, optional=False)
        self.__attrs_init__(
            model=model,
            epochs=epochs,
            learning_rate=learning_rate,
            batch_size=batch_size,
            max_steps=max_steps,
            r=r,
            alpha=alpha,
            revision=revision,
            precision=precision,
            reasoning=reasoning,
            short_answer=short_answer,
            text_share=text_share,
            replay=arguments.replay(replay),
            replay_share=replay_share,
            refusals=arguments.refusals(refusals),
            balance=balance,
            weights=weighing.checked(weights),
            validation=validation,
            packing=packing,
            seed=seed,
            system=system,
            runner=Local() if runner is None else runner,
            train_anyway=train_anyway,
            backend=backend,
            llamafactory=arguments.command("llamafactory", llamafactory),
        )
        self._check_together()

    def _check_together(self) -> None:
        """That arguments do not contradict each other."""
        if self.embedded and self.replay == "self":
            raise InputError(
                "replay='self' keeps what a base knows, and the toy made from the text knows nothing else: leave it out, "
                "or name a model"
            )
        if self.embedded and self.backend != "text2expert":
            raise InputError(
                f"backend={self.backend!r} trains a model of the hub or a folder, and the toy is made here: name the model "
                "(--base)"
            )
        self._check_backend()
        chosen = self._chosen
        if self.replay_share and not chosen.replay:
            raise InputError(
                f"replay_share={self.replay_share!r} without a replay: give replay='self' (with a model), or the path of a "
                "JSONL file"
            )
        if self.replay and self.replay_share == 0:
            raise InputError(f"replay={self.replay!r} with replay_share=0 trains none of it: leave one of them out")
        shares = chosen.shares(text=True)
        if (total := sum(shares.values())) >= 1:
            parts = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise InputError(
                f"the shares add up to {total:g} ({parts}) and leave nothing for the golden dataset: lower one"
            )

    def _check_backend(self) -> None:
        """That nothing was given which the backend would pass over."""
        if self.backend != "llamafactory" and self.llamafactory != LLAMAFACTORY:
            raise InputError(
                f"llamafactory={self.llamafactory!r} is the command that backend='llamafactory' trains with: give that too, "
                "or leave it out"
            )
        if self.backend == "llamafactory":
            for name in ("text_share", "replay", "replay_share", "refusals", "validation", "packing"):
                if getattr(self, name):
                    raise InputError(
                        f"{name}={getattr(self, name)!r} is nothing that LLaMA-Factory does in one run: leave it out, or "
                        "train with backend='text2expert'"
                    )
            if self.weights or self.balance != "proportional":
                raise InputError(
                    "weights and balance between documents are nothing that LLaMA-Factory does: leave them out, or train "
                    "with backend='text2expert'"
                )
            if getattr(self.runner, "processes", 1) > 1:
                raise InputError(
                    f"processes={self.runner.processes}: LLaMA-Factory starts its own, one for each GPU that it sees: leave "  # type: ignore[attr-defined]
                    "it out (CUDA_VISIBLE_DEVICES says which it may see)"
                )

    @property
    def embedded(self) -> bool:
        """Whether the base is the toy made from the text."""
        return self.model is None

    @property
    def parameters(self) -> float | None:
        """Of the base, as its files or its name say; None for the toy, and where neither says. Fetches nothing."""
        return None if self.model is None else bases.parameters(self.model)

    def check(self) -> None:
        """Say now, not after an hour of teaching, what would stop the training.

        Raises:
            MissingExtraError: The runner needs packages that are not installed.
            InputError: The model is a folder that does not exist or holds no model; or a file of replay or of refusals
                cannot be used.
            NoGPUError: The base is a large one, this machine has no CUDA GPU, and `train_anyway` is not set.
        """
        if self.model is not None:
            bases.check(self.model, self.revision)
        self._check_files()
        check = getattr(self.runner, "check", None)
        if check is not None:
            check()
        if self.backend == "llamafactory" and self._paid:
            raise InputError(
                "LLaMA-Factory is a command of this machine and not there on one that is rented: train there with "
                "backend='text2expert' (--backend text2expert), or here with --runner local"
            )
        if self.backend == "llamafactory" and isinstance(self.runner, Local) and not shutil.which(self.llamafactory):
            raise InputError(
                f"there is no command {self.llamafactory!r}: install LLaMA-Factory in an environment of its own (python -m "
                "venv lf && lf/bin/pip install llamafactory) and give the path of its llamafactory-cli (llamafactory=, "
                "--llamafactory)"
            )
        if problem := self.problem():
            raise NoGPUError(problem)
        if self._may_be_too_large:
            say(
                f"How large {self.model} is, its name does not say, and this machine has no CUDA GPU: above a billion "
                "parameters, training it here would take weeks."
            )

    def check_documents(self, documents: Collection[str]) -> None:
        """That `weights` names nothing but *documents*, by their ids or as files; a mapping of ids says their paths too.

        Raises:
            InputError: It names another one, or two names are of one document.
        """
        named: dict[str, str] = {}
        for name in self.weights:
            document = weighing.document_of(name, documents)
            if document in named:
                raise InputError(f"weights names the document {document} twice: as {named[document]!r} and as {name!r}")
            named[document] = name

    def _check_files(self) -> None:
        """That the files of replay and refusals can be read and hold what they should."""
        if isinstance(self.replay, str) and self.replay != "self":
            materials.check_replay(Path(self.replay))
        if isinstance(self.refusals, str):
            from text2expert import refusals  # noqa: PLC0415 - hundreds of words that only this needs

            refusals.load(self.refusals)

    def problem(self) -> str:
        """Why the base should not be trained where the runner trains; empty where nothing speaks against it."""
        parameters = self.parameters
        if (
            parameters is None
            or parameters <= estimates.MODEST
            or self.train_anyway
            or not isinstance(self.runner, Local)
        ):
            return ""
        if gpus.cuda(self.runner.python):
            return ""
        return (
            f"{self.model} has {parameters / 1e9:.1f} billion parameters and this machine no CUDA GPU: training it on the "
            "processor would take weeks. The ways out: rent a GPU for it (runner=Vast(), --runner vast), or train on a machine of "
            "yours (runner=SSH(...), --runner ssh:user@host); teach here without training (fine_tune=False, --no-fine-tune; "
            "preview and golden dataset need no GPU) and train on a machine that has one "
            f"(`text2expert run --gold {GOLD} --base {self.model}`); take a base of up to a billion parameters; the toy, "
            "which only proves that all works (Trainer(), --base none); or insist (train_anyway=True, --train-anyway)"
        )

    @property
    def _may_be_too_large(self) -> bool:
        """Whether nobody knows how large the base is, where there is no GPU."""
        unknown = self.model is not None and self.parameters is None
        return unknown and isinstance(self.runner, Local) and not gpus.cuda(self.runner.python)

    def plan(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        texts: Sequence[Path | str] = (),
        coverage: float | None = None,
    ) -> TrainingPlan:
        """What training on *gold* would be.

        Args:
            gold: Records, or the path of a golden dataset.
            texts: As in `train`.
            coverage: Share of the text that is taught, 0 to 1, where it is known.
        """
        records = _read(gold)
        chosen = self._chosen
        rows = materials.text_rows(self._texts(gold, texts)) if chosen.text_share else []
        validation = materials.validation_of(records, (), most=chosen.held_out(len(records)), seed=self.seed)
        return estimates.plan(chosen, records, validation, rows, coverage)

    def estimate(self, *, records: int, characters: int, facts: int) -> TrainingPlan:
        """`plan` for a dataset that does not exist yet: how many rows, their characters in sum, and their facts.

        The text is taken to be there.
        """
        return estimates.estimate(
            self._chosen, records=records, characters=characters, facts=facts, text_row=estimates.TEXT_ROW
        )

    def lengthened(self, pairs: Mapping[str, int]) -> float:
        """How many times as long as else an epoch is by `weights`, for documents of so many *pairs*."""
        factors = weighing.factors(pairs, self.weights, self.balance)
        total = sum(pairs.values())
        return sum(n * factors.get(document, 1.0) for document, n in pairs.items()) / total if total else 1.0

    async def aquote(self, plan: TrainingPlan, *, prompts: int = 0, tokens: int = 0) -> Quote | None:
        """What the runner asks for the training of *plan*; None where it costs nothing. Errors are the runner's own.

        *prompts* and *tokens* are as in `quoted`.
        """
        if not self._paid:
            return None
        job = self.quoted(plan, prompts=prompts, tokens=tokens)
        quoted: Quote = await self.runner.quote(job)  # type: ignore[attr-defined] # it has one: `_paid`
        return quoted

    def quoted(self, plan: TrainingPlan, *, prompts: int = 0, tokens: int = 0) -> Job:
        """The job of *plan* as far as a quote needs it: what it asks of a machine, and no stages. Writes nothing.

        Args:
            plan: Of the training.
            prompts: What base and expert are asked, before training and after it.
            tokens: Of these prompts, with the passages in them.
        """
        exam = estimates.exam_seconds(plan.parameters, prompts, tokens)
        needs = attrs.evolve(jobs.needs(plan, self._chosen), exam_seconds=exam)
        return Job(id="plan", folder=os.curdir, stages=(), needs=needs)

    def job(
        self,
        folder: Path,
        gold: Path,
        texts: Sequence[Path] = (),
        questions: Sequence[ExamQuestion] = (),
        prompts: Sequence[ExamPrompt] = (),
    ) -> Job:
        """Write the stages of a training into *folder*, each ready to run there or on another machine.

        Args:
            folder: Where the stages and their results lie; data outside of it are copied into it.
            gold: A golden dataset.
            texts: chunks.jsonl, rewrites.jsonl, UTF-8 texts or run folders: from them the toy base is made, and they are
                the text stream of other bases.
            questions: Of the exam: no wording of theirs is trained on by validation or refusals.
            prompts: What is asked before training (of the base) and after it (of the expert); the answers are in
                ``stages/before`` and ``stages/after``. None: both are asked the questions as they are.

        Raises:
            InputError: A file cannot be used.
            RunFolderError: The folder cannot be written.
        """
        records = _read(gold)
        if self.model is not None:
            bases.check(self.model, self.revision)
        self._check_files()
        return jobs.write(
            self._chosen,
            records,
            folder=folder,
            gold=gold,
            texts=self._texts(gold, texts),
            questions=questions,
            prompts=prompts,
        )

    async def atrain(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        folder: Path | str,
        texts: Sequence[Path | str] = (),
        exam: Sequence[ExamQuestion] = (),
        prompts: Sequence[ExamPrompt] = (),
    ) -> Adapter:
        """Train on *gold* in *folder*, the async form of `train`. The folder is the caller's to lock."""
        folder = Path(folder)
        if self._paid:  # no caller forgets that
            self.check_fed(gold, texts=texts)
        if not isinstance(gold, str | Path):
            records = _read(gold)
            files.make_folder(folder)
            write_jsonl(folder / GOLD, records)
            gold = folder / GOLD
        job = self.job(folder, Path(gold), [Path(text) for text in texts], exam, prompts)
        await self.runner.run(job)
        done = json.loads((folder / "stages" / "train" / "done.json").read_bytes())
        if self.model is None:
            stages.record_base(folder, (folder / "base").resolve())
        elif os.path.isdir(self.model):
            stages.record_base(folder, Path(self.model).absolute())
        return Adapter(
            path=str(folder / "expert"),
            base_model=self.model or str(folder / "base"),
            base_revision=done.get("revision"),
            gold_sha256=files.sha256_file(gold),
        )

    def train(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        folder: Path | str | None = None,
        texts: Sequence[Path | str] = (),
        exam: Sequence[ExamQuestion] = (),
        prompts: Sequence[ExamPrompt] = (),
    ) -> Adapter:
        """Train on *gold*; ask the result with ``Expert.load(adapter.path)``.

        Args:
            gold: Records, or the path of a golden dataset, also one written or edited by hand.
            folder: Where everything goes. None: the run folder in which the dataset lies, else
                ``expert_model_<name of the dataset>`` in the working directory.
            texts: What the dataset was made from: chunks.jsonl, rewrites.jsonl, UTF-8 texts or run folders. The toy base is
                made from them, without them from the dataset's questions; other bases are trained on them too. Without
                any, those in the run folder in which the dataset lies; where there are none, the text is not trained.
            exam: Questions to ask before and after training, kept out of it.
            prompts: What is asked instead of them as they stand; see `job`.

        Raises:
            InputError: The dataset or a text cannot be used.
            StarvedRunError: It would be in vain, on a machine that costs money; see `train_anyway`.
            RunFolderError: The folder cannot be written, or another process is at work on it.
            RunnerError: A stage failed, or the base is a large one and no GPU is here.
            MissingExtraError: torch and its companions are not installed.
        """
        place = _default_folder(gold) if folder is None else Path(folder)
        self.check_documents({record.document for record in _read(gold)} - {""})
        self.check()
        self.check_fed(gold, texts=texts)
        files.make_folder(place)
        with files.locked(place):
            return _sync.run(self.atrain(gold, folder=place, texts=texts, exam=exam, prompts=prompts))

    @property
    def _chosen(self) -> Chosen:
        given = {field.name: getattr(self, field.name) for field in attrs.fields(Trainer)}
        return choose(given, EMBEDDED if self.embedded else ALONE if self.backend == "llamafactory" else REAL)

    def _texts(self, gold: Sequence[GoldRecord] | Path | str, texts: Sequence[Path | str]) -> list[Path]:
        """The texts that are given, or those beside the dataset."""
        found = materials.expand(map(Path, texts), whole=self.embedded)
        if found or self.embedded or not isinstance(gold, str | Path):
            return found
        return materials.beside(Path(gold))

    def check_fed(
        self,
        gold: Sequence[GoldRecord] | Path | str,
        *,
        texts: Sequence[Path | str] = (),
        coverage: float | None = None,
    ) -> None:
        """Stop before a machine is rented for a training that can teach next to nothing; on this one, only say so.

        Args:
            gold: As in `plan`.
            texts: As in `plan`.
            coverage: As in `plan`.

        Raises:
            StarvedRunError: The runner costs money (it has ``quote``) and `train_anyway` is not set.
        """
        if self.embedded and not self._paid:  # the toy proves that all works, on little as on much
            return
        plan = self.plan(gold, texts=texts, coverage=coverage)
        if not plan.starved:
            return
        reasons = "; ".join(plan.starved)
        if self._paid and not self.train_anyway:
            raise StarvedRunError(
                f"this training would cost money and teach next to nothing: {reasons}. What is there is kept; to train all "
                "the same: train_anyway=True (--train-anyway)"
            )
        say(f"This training will teach next to nothing: {reasons}.")

    @property
    def _paid(self) -> bool:
        """Whether the runner costs money."""
        return hasattr(self.runner, "quote")


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
