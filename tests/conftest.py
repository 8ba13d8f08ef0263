"""What every test stands on: no keys, no network, no model hub."""

import contextlib
import fcntl
import importlib
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import warm
from hypothesis import HealthCheck, settings

# A shell that starts the tests in the background makes them ignore interrupts, and so would every child that a test
# interrupts on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are tiny and several processes test at once: second threads would wait for each other, and weights differ.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes says more about the machine than about the code.
settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")

WARM = "TESTS_WARM"
"""The environment variable that tells the processes that run tests where recipes are forked."""

COLD = bool(os.environ.get("COLD"))
"""``COLD=1`` has every recipe run in an interpreter of its own, as ``make coverage`` needs it; it takes longer."""

LONG = (
    "kill", "vast_chaos", "vast", "several_processes", "pipeline", "pipeline_resume", "ssh", "examination", "merge",
    "expert_sources", "training_loop", "training", "batches", "exam_commands", "expert", "replay", "llamafactory", "money",
)  # fmt: skip
"""The files that take longest come first, so that the processes that share them end together.

But ``pipeline_resume`` comes after ``pipeline``: it runs again what `finished` made.
"""


def pytest_configure(config):
    """One process from which recipes are forked, for all the processes that run tests."""
    if not COLD and WARM not in os.environ:
        held = contextlib.ExitStack()
        config.add_cleanup(held.close)
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="text2expert-tests-"))
        os.environ[WARM] = held.enter_context(warm.serving(folder))
        held.callback(os.environ.pop, WARM)


STARTED = subprocess.Popen.__init__


def pytest_collection_modifyitems(items):
    place = {f"test_{name}": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session", autouse=True)
def warm_recipes():
    """Recipes that run here have torch at once (`warm`)."""
    if COLD:
        yield
        return

    def started(self, args, *more, **options):
        command = args if isinstance(args, str | bytes) else warm.forked(list(args), os.environ[WARM])
        STARTED(self, command, *more, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "__init__", started)
        yield


@pytest.fixture
def cold(monkeypatch):
    """Recipes run in interpreters of their own, for tests whose subject is the process."""
    monkeypatch.setattr(subprocess.Popen, "__init__", STARTED)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    """No test depends on, or can leak, a key of whoever runs it."""
    for name in list(os.environ):
        if re.search(r"API_KEY|TOKEN$|SECRET", name):
            monkeypatch.delenv(name)


@pytest.fixture
def pumps(tmp_path):
    """The path of a short procedure."""
    from pumps import PUMPS

    path = tmp_path / "pumps.txt"
    path.write_text(PUMPS, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """What takes long, made by one of the processes that run the tests, for all of them: ``once(name, make)``."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent  # each process has a folder of its own in there

    def once(name, make):
        folder = root / f"shared-{name}"
        with open(root / f"{name}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / "made").exists():
                folder.mkdir()
                make(folder)
                (folder / "made").touch()
        return folder

    return once


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run with a barely trained expert, of this process alone: some tests run it again."""
    from pumps import PUMPS, QUICK

    from text2expert import Pipeline

    folder = tmp_path_factory.mktemp("trained")
    source = folder / "pumps.txt"
    source.write_text(PUMPS, encoding="utf-8")
    return Pipeline(trainer=QUICK).run(source, out=folder / "run")


@pytest.fixture(scope="session")
def taught(once):
    """The run folder of an expert of three facts (`experts.FACTS`); tests that change it change a copy."""
    from experts import train

    return once("taught", lambda folder: train(folder / "run")) / "run"


@pytest.fixture(scope="session")
def merged(taught, once):
    """What its adapter and base were merged into: `text2expert.records.Merged`."""
    from text2expert.expert import Expert
    from text2expert.records import Merged, from_dict, to_dict

    def make(folder):
        facts = to_dict(Expert.load(taught).merge(folder / "merged"))
        (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")

    return from_dict(json.loads((once("merged", make) / "facts.json").read_bytes()), Merged)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A real server of OpenAI's protocol, `transformers serve` on loopback, whose model answers noise: `serve.Served`."""
    from serve import serving

    with serving(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture(scope="session")
def recipes():
    """The recipes as modules by their names, which find each other as they do when they are run."""
    from text2expert.runners import local

    folder = Path(local.__file__).parent.parent / "recipes"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("OMP_NUM_THREADS", "1")
        import torch

        torch.set_num_threads(1)
        yield {path.stem: importlib.import_module(path.stem) for path in folder.glob("*.py")}


@pytest.fixture(scope="session")
def base(recipes, tmp_path_factory):
    """The folder of a base: a Llama of two layers with random weights, and its tokenizer."""
    from tiny import llama, tokenizer_of

    folder = tmp_path_factory.mktemp("base")
    tokenizer = tokenizer_of(recipes)
    llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
