"""Training on this machine: every stage of a job as a process of its own, on a GPU where there is one, else on the CPU."""

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import attrs

from text2expert._progress import bar, layout, say
from text2expert.errors import InputError, MissingExtraError, RunnerError
from text2expert.files import cannot_write
from text2expert.records import Job, Stage

RECIPES = Path(__file__).parent.parent / "recipes"
LEASH = Path(__file__).with_name("leash.py")

NEEDED = ("torch", "transformers", "peft", "accelerate", "safetensors")
"""What the recipes import; the ``train`` extra."""

TRAINING = "lora.py"
"""The recipe that several processes run together."""

LAUNCH = (
    "--multi_gpu",  # starts as many processes on a machine without GPUs as well, which then train on its CPU
    "--num_machines", "1", "--machine_rank", "0",
    "--main_process_port", "0",  # any free one: other trainings may go on at the same time
    "--mixed_precision", "no", "--dynamo_backend", "no",  # the recipe's own business
)  # fmt: skip
"""Arguments of ``accelerate launch``, all that it would otherwise take from a file of the user's or guess and say so."""

POLL_SECONDS = 0.25
"""How often the progress of a stage is looked at."""

LOG_LINES = 20

_SECRET = re.compile(
    r"((^|_)KEYS?|APIKEY|KEY_ID|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|_(PASS|PWD|PAT|AUTH))$|SECRET",
    re.IGNORECASE,
)

_HUB = "https://huggingface.co"
_HUB_KEYS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""The hub's own keys, by the names that its library reads; the second is the older one."""

_HUB_SETTINGS = ("HF_HUB_DISABLE_IMPLICIT_TOKEN",)
"""Settings of its library that are called like keys."""


@attrs.frozen(kw_only=True)
class Local:
    """Runs the stages of a job on this machine, one after another.

    A stage is a process group of its own and ends with this process, however that ends. It gets this process's
    environment without anything that looks like a key or a password, but for HF_TOKEN, which a gated base takes
    (`child_environment`).

    Args:
        threads: CPU threads for each process of a stage; None lets it measure which number is fastest.
        python: The interpreter that runs the recipes; it needs what ``text2expert[train]`` installs.
        processes: Processes that train together, one for each GPU (``accelerate launch``), or on a machine without GPUs
            so many on its CPU. Each step's rows are divided among them; the result is that of one process but for
            rounding. Answering is done by one.
    """

    threads: int | None = attrs.field(default=None)
    python: str = sys.executable
    processes: int = attrs.field(default=1)

    @threads.validator
    def _positive(self, attribute: "attrs.Attribute[int | None]", value: int | None) -> None:
        if value is not None and (type(value) is not int or value < 1):
            raise InputError(f"{attribute.name} must be a whole number from 1, or None to measure; got {value!r}")

    @processes.validator
    def _some(self, attribute: "attrs.Attribute[int]", value: int) -> None:
        if type(value) is not int or value < 1:
            raise InputError(f"{attribute.name} must be a whole number from 1, one for each GPU; got {value!r}")

    def check(self) -> None:
        """Say now, not after an hour of teaching, what this machine lacks.

        Raises:
            MissingExtraError: A package that the recipes need is not installed.
        """
        if self.python == sys.executable:
            check_installed()

    async def run(self, job: Job) -> None:
        """Run *job*; see `text2expert.runners.Runner`.

        Raises:
            RunnerError: A stage failed; the message ends with the last lines of its log.
            MissingExtraError: A package that the recipes need is not installed; nothing was started.
            RunFolderError: The folder cannot be written.
        """
        folder = Path(job.folder)
        waiting = [stage for stage in job.stages if not is_done(folder, stage)]
        if not waiting:
            return
        self.check()
        # A base that is made here leaves nothing to fetch, and nothing to ask.
        makes_base = any(stage.name == "base" for stage in job.stages)
        environment = child_environment(self.threads, offline=makes_base)
        for stage in waiting:
            await self._run(folder, stage, environment)

    async def _run(self, folder: Path, stage: Stage, environment: dict[str, str]) -> None:
        place = folder / "stages" / stage.name
        log = place / "log.txt"
        progress = place / "progress.jsonl"
        command, environment = self._command(stage, environment)
        try:
            progress.unlink(missing_ok=True)
            output = open(log, "wb")  # noqa: ASYNC230 - it is handed to the child
        except OSError as error:
            raise cannot_write(log, error) from error
        with output:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, env=environment, start_new_session=True,
                stdin=asyncio.subprocess.PIPE, stdout=output, stderr=asyncio.subprocess.STDOUT,
            )  # fmt: skip
        ended = asyncio.ensure_future(process.wait())
        try:
            with ProgressBar(stage.name, progress) as shown:
                while not (await asyncio.wait({ended}, timeout=POLL_SECONDS))[0]:
                    shown.update()
                shown.update()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # a stage that is over has nobody left in its group
            if process.stdin is not None:
                process.stdin.close()  # processes that were launched lead groups of their own: each feels its leash
            await asyncio.shield(ended)
        if process.returncode != 0:
            raise RunnerError(failure(stage.name, process.returncode or 0, log))
        if not is_done(folder, stage):
            raise RunnerError(
                f"stage {stage.name!r} ended without an error and without its results "
                f"({', '.join(stage.outputs)}); its log is {log}:\n{tail(log)}"
            )

    def _command(self, stage: Stage, environment: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """How a stage is started: its recipe, or as many of it as train together, each on a leash."""
        recipe, *arguments = stage.argv
        leashed = [str(LEASH), str(RECIPES / recipe), *arguments]
        if self.processes == 1 or recipe != TRAINING:
            return [self.python, "-P", *leashed], environment
        # Among several, a measurement of one would be disturbed by the others.
        threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // self.processes))}
        launch = [
            self.python,
            "-P",
            "-m",
            "accelerate.commands.launch",
            *LAUNCH,
            "--num_processes",
            str(self.processes),
        ]
        return [*launch, *leashed], {**threads, **environment, "PYTHONSAFEPATH": "1"}


class ProgressBar:
    """A progress bar that reads what a stage writes about itself.

    Args:
        name: Of the stage.
        progress: Its progress.jsonl on this machine, which may not be there yet.
    """

    def __init__(self, name: str, progress: Path) -> None:
        self._progress = progress
        self._read = 0
        self._bar = bar(None, _TITLES.get(name, name.capitalize()), unit="step")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def update(self) -> None:
        """Show the last whole line of numbers that the stage has written, and say what it has said."""
        line: dict[str, Any] = {}
        for one in self._lines():
            if "said" in one:
                say(printable(one["said"]))
            else:
                line = one  # the last one counts
        if not line:
            return
        self._bar.total = line["total"]
        shown = {title: write(line[name]) for name, title, write in _SHOWN if name in line}
        if shown:
            self._bar.set_postfix(shown, refresh=False)
        if "seconds_left" in line:  # measured from the first step, where the bar's own guess includes the loading
            self._bar.bar_format = layout(clock=False)
        self._bar.update(line["done"] - self._bar.n)

    def _lines(self) -> Iterator[dict[str, Any]]:
        with contextlib.suppress(FileNotFoundError), open(self._progress, "rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):  # still being written
                    return
                self._read += len(line)
                yield json.loads(line)


def _clock(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    minutes = f"{rest // 60:02}:{rest % 60:02}"
    return f"{hours}:{minutes}" if hours else minutes


_SHOWN = (
    ("seconds_left", "left", _clock),
    ("loss", "loss", "{:.3f}".format),
    ("tokens_per_second", "tok/s", "{:,.0f}".format),
    ("memory_gb", "peak", "{:.1f}GB".format),
    ("validation", "valid", "{:.0%}".format),
)
"""What a stage says about itself beside how far it is, how that is called beside its bar, and how it is written; what
matters most comes first, since the end is cut in a narrow terminal."""

_TITLES = {
    "base": "Making a toy base",
    "before": "Exam before training",
    "replay": "Asking the base for replay",
    "train": "Training",
    "after": "Exam after training",
}


def is_done(folder: Path, stage: Stage) -> bool:
    """Whether *stage* was finished for the very settings that lie in its folder, and its outputs are still there."""
    place = folder / "stages" / stage.name
    try:
        done = json.loads((place / "done.json").read_bytes())
        job_sha256 = hashlib.sha256((place / "job.json").read_bytes()).hexdigest()
    except (FileNotFoundError, ValueError, RecursionError):
        return False
    if not isinstance(done, dict):  # it may come from a machine that is not ours
        return False
    return done.get("job_sha256") == job_sha256 and all((folder / output).exists() for output in stage.outputs)


def check_installed() -> None:
    """Look for what the recipes import, without importing it.

    Raises:
        MissingExtraError: Something is missing; the message says how to install it.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f'training and asking need {", ".join(missing)}: pip install "text2expert[train]" '
            "(without training: fine_tune=False, --no-fine-tune)"
        )


def child_environment(threads: int | None, *, offline: bool = False) -> dict[str, str]:
    """This process's environment for a recipe, without keys, tokens and passwords, since a recipe calls no paid service.

    What a recipe does fetch is its base. So the hub's token goes along, for the hub's own library to send, unless
    HF_ENDPOINT names another host: that library would send it there. A token for such a host is stored by
    ``hf auth login``, which asks the host itself, and is read by the library from its own file.

    Args:
        threads: CPU threads; None leaves the choice to the recipe.
        offline: All that the recipe needs lies on this machine: it gets no token and asks no hub.
    """
    kept: set[str] = set(_HUB_SETTINGS)
    if not offline and os.environ.get("HF_ENDPOINT", "").rstrip("/") in ("", _HUB):
        kept.update(_HUB_KEYS)
    environment = {name: value for name, value in os.environ.items() if name in kept or not _SECRET.search(name)}
    environment["PYTHONUNBUFFERED"] = "1"  # a log that ends where the process ended
    if offline:
        environment["HF_HUB_OFFLINE"] = "1"
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    return environment


_LAUNCHER = re.compile(r"^E\d{4} .*torch/distributed/elastic/.* failed \(exitcode: .*$", re.MULTILINE)


def tail(log: Path) -> str:
    """The last lines of *log*, with control characters made visible: a log may hold anything.

    What the launcher of several processes says after one of them failed is left out, but for its first line: forty
    lines of its own calls would hide why.
    """
    try:
        text = log.read_bytes()[-20_000:].decode("utf-8", "replace")
    except OSError as error:
        return f"({log} cannot be read: {error.strerror})"
    failed = _LAUNCHER.search(text)
    if failed:
        text = text[: failed.end()]
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip()]
    return "\n".join("    " + printable(line) for line in lines[-LOG_LINES:]) or "    (it is empty)"


def printable(text: str) -> str:
    """*text* with whatever could move a terminal's cursor, or hide words, spelled out; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


_ADVICE = {
    r"failed \(exitcode: -9\)": (
        "a process was killed, perhaps for lack of memory, so choose a smaller base or batch_size, or run again to go on"
    ),
    r"No space left on device|\bos error 28\b": "the disk is full, so free some space and run again to go on",
    r"Disk quota exceeded|\bos error 122\b": "your disk quota is used up, so free some space and run again to go on",
    r"torch\.OutOfMemoryError|DefaultCPUAllocator: can't allocate memory": (
        "the base does not fit into memory, so choose precision='nf4' or a smaller base, or free memory and run again"
    ),
    r"\bgated repo\b": (
        "the base is gated, so accept its licence on its page of the Hugging Face hub, set HF_TOKEN to a token that may "
        "read it (where HF_ENDPOINT names another host: `hf auth login`) and run again to go on"
    ),
}
"""Signs in a log of what a person has to mend, in the words of Python and of the libraries, and what to do."""


def failure(name: str, code: int, log: Path) -> str:
    """What is said of stage *name*, which ended with *code* (a signal is minus its number): its log's end, and what to do."""
    how = f"failed with exit code {code}"
    if code < 0:
        how = f"was ended by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            how += " (perhaps for lack of memory: choose a smaller base or batch_size)"
    words = tail(log)
    advice = next((advice for sign, advice in _ADVICE.items() if re.search(sign, words)), "run again to go on")
    return f"stage {name!r} {how}; the end of its log {log}:\n{words}\nwhat was finished is kept: {advice}"
