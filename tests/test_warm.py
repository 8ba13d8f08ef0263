"""What the other tests take for granted of recipes that are forked: to them and to us it looks as if they were started."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import warm
from conftest import WARM

from text2expert.runners.local import LEASH, RECIPES


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    if WARM in os.environ:
        yield os.environ[WARM]
    else:
        with warm.serving(tmp_path_factory.mktemp("warm")) as address:
            yield address


@pytest.fixture
def command(address, tmp_path):
    """The command that runs the code given."""

    def command(code):
        (tmp_path / "script.py").write_text(code)
        return [sys.executable, "-S", warm.__file__, address, tmp_path / "script.py", "one", "two"]

    return command


def test_it_has_the_streams_folder_environment_and_arguments_of_who_asks(command, tmp_path):
    """Those of another test are not seen, and torch is there."""
    code = """if True:
        import json, os, sys
        loaded = "torch" in sys.modules
        import torch
        print("said", file=sys.stderr)
        print(json.dumps([sys.argv[1:], sys.stdin.read(), os.getcwd(), dict(os.environ), loaded, torch.get_num_threads()]))
    """
    environment = {"OMP_NUM_THREADS": "3", "MINE": "x"}
    done = subprocess.run(command(code), input=b"in", capture_output=True, cwd=tmp_path, env=environment, check=True)
    words, read, folder, seen, loaded, threads = json.loads(done.stdout)
    assert (words, read, folder, loaded, threads) == (["one", "two"], "in", str(tmp_path), True, 3)
    assert environment.items() <= seen.items()
    assert "PATH" not in seen
    assert done.stderr == b"said\n"


@pytest.mark.parametrize(
    ("code", "expected"),
    [("pass", 0), ("raise SystemExit(7)", 7), ("1 / 0", 1), ("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM)],
)
def test_its_end_is_that_of_the_command(command, code, expected):
    done = subprocess.run(command(code), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == expected
    assert ("ZeroDivisionError" in done.stderr) == (expected == 1)


def test_it_ends_with_who_asked_for_it(command):
    asking = subprocess.Popen(
        command("import os, time; print(os.getpid(), os.getsid(0)); time.sleep(600)"), stdout=subprocess.PIPE, text=True
    )
    with asking:
        pid, session = map(int, asking.stdout.readline().split())
        assert pid == session
        asking.kill()
    for _ in range(600):
        if not psutil.pid_exists(pid):
            return
        time.sleep(0.1)
    pytest.fail("it outlives who asked for it")


def test_only_our_recipes_are_forked():
    """On a leash or not; what a test puts in their place, and all else, is started as it is."""
    recipe = str(RECIPES / "lora.py")
    leashed = [sys.executable, "-P", str(LEASH), recipe, "job.json"]
    assert warm.forked(leashed, "there") == [sys.executable, "-P", "-S", warm.__file__, "there", *leashed[2:]]
    served = [sys.executable, "-u", recipe, "--serve"]
    assert warm.forked(served, "there") == [sys.executable, "-u", "-S", warm.__file__, "there", *served[2:]]
    for other in (
        [sys.executable, "-c", "import lora", recipe],
        [sys.executable, "-P", str(LEASH), str(Path(__file__)), recipe],
        ["llamafactory-cli", "train", "train.yaml"],
    ):
        assert warm.forked(other, "there") == other
