"""The local runner, on recipes of a few lines instead of the real ones."""

import asyncio
import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from text2expert.errors import InputError, MissingExtraError, RunFolderError, RunnerError
from text2expert.records import ExamQuestion, Job, Stage, read_jsonl
from text2expert.runners import local
from text2expert.runners.local import Local
from text2expert.trainer import Trainer

FINISH = """
import hashlib, json, os, pathlib, sys, time
job = pathlib.Path(sys.argv[1])
def finish():
    done = {"job_sha256": hashlib.sha256(job.read_bytes()).hexdigest()}
    (job.parent / "done.json").write_text(json.dumps(done))
"""


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Writes a recipe with the given body and returns a job of stages that run it."""
    recipes = tmp_path / "recipes"
    recipes.mkdir()
    monkeypatch.setattr(local, "RECIPES", recipes)

    def make(body, *, names=("one",), outputs=()):
        (recipes / "recipe.py").write_text(FINISH + textwrap.dedent(body))
        folder = tmp_path / "run"
        stages = []
        for name in names:
            place = folder / "stages" / name
            place.mkdir(parents=True, exist_ok=True)
            (place / "job.json").write_text(json.dumps({"name": name}))
            stages.append(Stage(name=name, argv=("recipe.py", f"stages/{name}/job.json"), outputs=outputs))
        return Job(id="job", folder=str(folder), stages=tuple(stages))

    return make


def run(job, **settings):
    asyncio.run(Local(**settings).run(job))


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_stages_run_in_order_in_the_jobs_folder(recipe):
    """Each stage finds its job.json by a relative path, and what the one before it left."""
    job = recipe("open('order.txt', 'a').write(job.parent.name + ' '); finish()", names=("one", "two"))
    run(job)
    assert (Path(job.folder) / "order.txt").read_text() == "one two "


def test_a_finished_stage_is_not_run_again(recipe):
    """A second run of the same job starts nothing."""
    job = recipe("open('runs.txt', 'a').write('x'); finish()")
    run(job)
    run(job)
    assert (Path(job.folder) / "runs.txt").read_text() == "x"


@pytest.mark.parametrize("change", ["job.json", "output", "done.json"])
def test_a_stage_is_run_again_when_its_settings_or_results_change(recipe, change):
    """Other settings, a lost output or a damaged done.json make a stage stale."""
    job = recipe("open('runs.txt', 'a').write('x'); open('out.txt', 'w'); finish()", outputs=("out.txt",))
    run(job)
    place = Path(job.folder) / "stages" / "one"
    if change == "job.json":
        (place / "job.json").write_text('{"name": "other"}')
    elif change == "output":
        (Path(job.folder) / "out.txt").unlink()
    else:
        (place / "done.json").write_text("{")
    run(job)
    assert (Path(job.folder) / "runs.txt").read_text() == "xx"


def test_a_failure_names_stage_and_code_and_ends_with_the_log(recipe):
    """Only the last lines are shown, and what would move the cursor or hide text is made visible."""
    job = recipe("""
        for number in range(30): print("line", number)
        print("\\x1b[2Jgone", file=sys.stderr)
        sys.exit(3)
    """)
    with pytest.raises(RunnerError) as caught:
        run(job)
    message = str(caught.value)
    assert "stage 'one' failed with exit code 3" in message
    assert "    line 29\n    \\x1b[2Jgone\n" in message
    assert "line 5\n" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("OSError: [Errno 28] No space left on device: 'expert'", "the disk is full, so free some space and run again"),
        ("SafetensorError: I/O error (os error 28)", "the disk is full, so free some space and run again"),
        ("OSError: [Errno 122] Disk quota exceeded", "your disk quota is used up, so free some space and run again"),
        ("IndexError: os error 280", "run again to go on"),
        (
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 14.00 GiB.",
            "the base does not fit into memory, so choose precision='nf4' or a smaller base",
        ),
    ],
)
def test_what_a_person_can_mend_is_told_from_other_failures(recipe, words, advice):
    """A full disk, in the words of Python and of the library that writes weights; a base that does not fit."""
    with pytest.raises(RunnerError, match=f"what was finished is kept: {advice}"):
        run(recipe(f"sys.exit({words!r})"))


def test_a_stage_that_was_killed_is_named_with_its_signal(recipe):
    """The kernel's killer of processes that take too much memory leaves no other trace."""
    with pytest.raises(RunnerError, match=r"stage 'one' was ended by SIGKILL \(perhaps for lack of memory"):
        run(recipe("os.kill(os.getpid(), 9)"))


def test_a_stage_without_results_is_an_error(recipe):
    """Exit code 0 alone proves nothing."""
    with pytest.raises(RunnerError, match="stage 'one' ended without an error and without its results"):
        run(recipe("pass"))


OTHER_KEYS = (
    "DEEPSEEK_API_KEY",
    "ANTHROPIC_API_KEY",
    "VAST_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "MY_SECRET_NAME",
    "DB_PASSWORD",
    "PGPASSWORD",
    "MYSQL_PWD",
    "GITHUB_PAT",
)


def set_keys(monkeypatch, **more):
    """Give this process a key under each name, and return them all."""
    keys = {name: f"value-of-{name.lower()}" for name in OTHER_KEYS} | more
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    return keys


def held_in(folder, values):
    """The *values* that any file in *folder*, or its name, holds."""
    contents = [str(path).encode() + b"\n" + path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert contents
    return {value for value in values if any(value.encode() in content for content in contents)}


REPORT = "json.dump({name: len(value) for name, value in os.environ.items()}, open('environment.json', 'w')); finish()"


def environment_of(job, **settings):
    """The names in a stage's environment, and how long their values are."""
    run(job, **settings)
    return json.loads((Path(job.folder) / "environment.json").read_text())


def test_only_the_hubs_token_reaches_a_stage(recipe, monkeypatch):
    """Its recipe loads a gated base with it; what else looks like a key, token or password stays here."""
    keys = set_keys(monkeypatch, HF_TOKEN="hf_of_a_person", HUGGING_FACE_HUB_TOKEN="hf_of_old")
    others = ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "TOKENIZERS_PARALLELISM", "KEYBOARD", "PATH")
    for name in others[:-1]:
        monkeypatch.setenv(name, "false")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    job = recipe(REPORT)
    environment = environment_of(job, threads=3)
    assert environment["HF_TOKEN"] == len("hf_of_a_person")
    assert set(keys) & set(environment) == {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
    assert {*others, "OMP_NUM_THREADS"} <= set(environment)
    assert "HF_HUB_OFFLINE" not in environment
    assert held_in(Path(job.folder), keys.values()) == set()


@pytest.mark.parametrize(
    ("endpoint", "goes"),
    [
        ("", True),
        ("https://huggingface.co", True),
        ("https://huggingface.co/", True),
        ("http://huggingface.co", False),
        ("https://huggingface.co.mirror.example", False),
        ("https://huggingface.co@mirror.example", False),
        ("https://mirror.example/huggingface.co", False),
    ],
)
def test_the_hubs_token_goes_to_the_hub_alone(recipe, monkeypatch, endpoint, goes):
    """Its library would send it to whatever host HF_ENDPOINT names, and without encryption too."""
    set_keys(monkeypatch, HF_TOKEN="hf_of_a_person", HF_ENDPOINT=endpoint)
    environment = environment_of(recipe(REPORT))
    assert ("HF_TOKEN" in environment) is goes
    assert environment["HF_ENDPOINT"] == len(endpoint)


def test_a_real_training_writes_no_key(finished, tmp_path, monkeypatch):
    """With a base that is not made here, so that every stage has the hub's token."""
    keys = set_keys(monkeypatch, HF_TOKEN="hf_of_a_person")
    folder = tmp_path / "run"
    trainer = Trainer(finished.folder / "base", max_steps=1)
    job = trainer.job(
        folder,
        finished.folder / "golden_dataset.jsonl",
        (),
        list(read_jsonl(finished.folder / "exam.jsonl", ExamQuestion))[:3],
    )
    run(job)
    assert {stage.name for stage in job.stages} == {"before", "train", "after"}
    assert (folder / "expert" / "adapter_model.safetensors").is_file()
    assert held_in(folder, keys.values()) == set()


def test_a_gated_base_is_said_to_need_a_licence_and_a_token(recipe):
    """In the words of the hub's library."""
    with pytest.raises(
        RunnerError, match=r"the base is gated, so accept its licence .* set HF_TOKEN .* run again to go on"
    ):
        run(recipe("sys.exit('OSError: You are trying to access a gated repo.')"))


def test_a_job_that_makes_its_base_asks_no_hub(recipe, monkeypatch):
    """The embedded default works without a network, and does not wait for one either."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_person")
    recording = (
        "json.dump([os.environ.get(name) for name in ('HF_HUB_OFFLINE', 'HF_TOKEN')], open('hub.json', 'w')); finish()"
    )
    job = recipe(recording, names=("base", "train"))
    run(job)
    assert json.loads((Path(job.folder) / "hub.json").read_text()) == ["1", None]


def test_recipes_find_their_siblings(recipe, tmp_path):
    """A recipe imports the file beside it, as it would when run directly."""
    job = recipe("import sibling; finish()")
    (tmp_path / "recipes" / "sibling.py").write_text("")
    run(job)


class Bar:
    """What a bar is told, instead of one that is drawn."""

    n = 0
    total = None
    bar_format = None

    def __init__(self):
        self.shown = []

    def set_postfix(self, values, *, refresh):
        self.shown.append(values)

    def update(self, by):
        self.n += by
        self.shown.append((self.n, self.total))

    def close(self):
        pass


def test_progress_is_shown(recipe, monkeypatch):
    """The bar follows the lines that a stage writes, and takes its total from them."""
    seen = Bar()
    monkeypatch.setattr(local, "bar", lambda *_, **__: seen)
    run(
        recipe("""
        with open(job.parent / "progress.jsonl", "w") as file:
            print(json.dumps({"done": 1, "total": 2, "loss": 0.5}), file=file)
            print(json.dumps({"done": 2, "total": 2, "loss": 0.25}), file=file)
        finish()
    """)
    )
    assert seen.shown[-2:] == [{"loss": "0.250"}, (2, 2)]
    assert seen.bar_format is None


def test_a_training_shows_speed_time_left_memory_and_validation(recipe, monkeypatch):
    """The time left is the stage's own measurement, and so the bar makes no guess of its own beside it."""
    seen = Bar()
    monkeypatch.setattr(local, "bar", lambda *_, **__: seen)
    line = {
        "done": 1, "total": 9, "loss": 1.23456, "tokens_per_second": 2412.7, "seconds_left": 4000.4,
        "memory_gb": 7.41, "validation": 0.934,
    }  # fmt: skip
    run(recipe(f"""
        with open(job.parent / "progress.jsonl", "w") as file:
            print({json.dumps(line)!r}, file=file)
        finish()
    """))  # fmt: skip
    assert seen.shown == [
        {"left": "1:06:40", "loss": "1.235", "tok/s": "2,413", "peak": "7.4GB", "valid": "93%"},
        (1, 9),
    ]
    assert "remaining" not in seen.bar_format
    assert "{postfix}" in seen.bar_format


SLEEPER = """
    import subprocess
    child = subprocess.Popen(["sleep", "60"])
    open("pids.tmp", "w").write(f"{os.getpid()} {child.pid}")
    os.rename("pids.tmp", "pids.txt")
    time.sleep(60)
"""


def pids_of(job):
    path = Path(job.folder) / "pids.txt"
    wait_until(path.exists)
    return [int(pid) for pid in path.read_text().split()]


def test_cancelling_kills_the_stage_and_all_that_it_started(recipe):
    """After Ctrl-C nothing goes on in the background."""
    job = recipe(SLEEPER)

    async def cancel():
        task = asyncio.create_task(Local().run(job))
        pids = await asyncio.to_thread(pids_of, job)
        assert all(map(running, pids))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return pids

    pids = asyncio.run(cancel())
    wait_until(lambda: not any(map(running, pids)))


def test_a_stage_ends_with_its_parent_even_when_that_is_killed(recipe, tmp_path):
    """Kill -9 of the parent leaves it no chance to tidy up; the kernel closes the pipe, and that is enough."""
    job = recipe(SLEEPER)
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            import asyncio, pathlib
            from text2expert.records import Job, Needs, Stage
            from text2expert.runners import local
            local.RECIPES = pathlib.Path({str(tmp_path / "recipes")!r})
            asyncio.run(local.Local().run({job!r}))
        """)]
    )  # fmt: skip
    pids = pids_of(job)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_until(lambda: not any(map(running, pids)))


def test_what_a_stage_says_is_heard(recipe, capsys):
    """Beside its bar, once, and without what would move the cursor."""
    run(
        recipe("""
        with open(job.parent / "progress.jsonl", "w") as file:
            print(json.dumps({"said": "the base is held in nf4\\x1b[2J"}), file=file)
            print(json.dumps({"done": 1, "total": 2}), file=file)
        finish()
    """)
    )
    assert capsys.readouterr().err == "the base is held in nf4\\x1b[2J\n"


def test_only_the_training_runs_in_several_processes(recipe):
    """Other stages, the exam's for one, are one process as ever."""
    job = recipe("open('runs.txt', 'a').write('x'); assert 'RANK' not in os.environ; finish()")
    run(job, processes=2)
    assert (Path(job.folder) / "runs.txt").read_text() == "x"


def test_a_missing_extra_is_said_before_anything_starts(recipe, monkeypatch):
    """The message is the command that installs it."""
    job = recipe("open('started.txt', 'w')")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(MissingExtraError, match=r'need torch: pip install "text2expert\[train\]"'):
        run(job)
    assert not (Path(job.folder) / "started.txt").exists()


def test_a_missing_folder_is_named(recipe, tmp_path):
    """A job whose folder is gone is an error of the folder, not of the stage."""
    job = Job(id="job", folder=str(tmp_path / "gone"), stages=recipe("pass").stages)
    with pytest.raises(RunFolderError, match=r"gone/stages/one/log\.txt"):
        run(job)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_wrong_thread_counts_are_refused(threads):
    """The message names the argument and its value."""
    with pytest.raises(InputError, match=f"threads must be a whole number from 1.*got {threads!r}"):
        Local(threads=threads)


def test_the_key_of_a_stage_is_its_job_file(recipe):
    """A done.json of the right digest is believed, wherever it was written."""
    job = recipe("sys.exit(1)")
    place = Path(job.folder) / "stages" / "one"
    sha256 = hashlib.sha256((place / "job.json").read_bytes()).hexdigest()
    (place / "done.json").write_text(json.dumps({"job_sha256": sha256}))
    run(job)
