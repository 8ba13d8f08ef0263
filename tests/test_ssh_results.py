"""Between here and a machine that is reached by SSH: what its logs and results may be, and what never goes there."""

import json
import subprocess
import textwrap
from pathlib import Path

import pytest
from boxes import adapter, run

from text2expert.errors import RunnerError
from text2expert.runners import machine, remote


def test_a_failing_stage_shows_its_log(ssh, job):
    """The end of it, and what to do, as on this machine."""
    with pytest.raises(RunnerError) as caught:
        run(ssh(), job(steps=6, fails=2))
    assert "stage 'train' failed with exit code 1" in str(caught.value)
    assert "    the loss is nan\nwhat was finished is kept: run again to go on" in str(caught.value)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Other words in place of the stage's."""

    def make(text):
        folder = tmp_path / "recipes"
        folder.mkdir()
        (folder / "lora.py").write_text(textwrap.dedent(text))
        monkeypatch.setattr(remote, "RECIPES", folder)

    return make


def test_escapes_in_a_log_are_made_visible(ssh, job, recipe):
    """They could clear a terminal, or write words into it that nobody said; without a last newline, too."""
    recipe(r"""
        import sys
        sys.stdout.write("one\n\x1b[2J\x1b]0;title\x07two\r\u202ethree\x00")
        sys.stdout.flush()
        sys.exit(7)
    """)
    todo = job()
    with pytest.raises(RunnerError, match="failed with exit code 7") as caught:
        run(ssh(), todo)
    expected = r"\x1b[2J\x1b]0;title\x07two\r\u202ethree\x00"
    assert f"    one\n    {expected}\n" in str(caught.value)
    assert (Path(todo.folder) / "stages" / "train" / "log.txt").read_text() == f"one\n{expected}\n"


def test_of_a_log_without_end_its_beginning_and_its_end_are_here(ssh, job, recipe, monkeypatch):
    """A machine could print for ever; why a stage failed stands at the end."""
    monkeypatch.setattr(remote, "MOST_WORDS", 1000)
    monkeypatch.setattr(remote, "LAST_WORDS", 100)
    recipe("""
        import sys
        for number in range(9999): print("line", number)
        sys.exit("that was too much")
    """)
    todo = job()
    with pytest.raises(RunnerError, match="that was too much"):
        run(ssh(), todo)
    lines = (Path(todo.folder) / "stages" / "train" / "log.txt").read_text().splitlines()
    assert lines[:2] == ["line 0", "line 1"]
    assert lines[-2:] == ["line 9998", "that was too much"]
    assert len(lines) < 150


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("os.killpg(0, 9)", r"was ended by SIGKILL \(perhaps for lack of memory"),
        ("os.kill(os.getpid(), 15)", "was ended by SIGTERM"),
        ("os._exit(200)", "failed with exit code 200"),
    ],
)
def test_how_a_stage_ended_is_said(ssh, job, recipe, end, words):
    """By a signal to it, to all of its session, or with a number that is no signal's."""
    recipe(f"import os; {end}")
    with pytest.raises(RunnerError, match=words):
        run(ssh(), job())


@pytest.mark.parametrize("done", ["", "[]", "{", "[" * 100_000, '{"job_sha256": "of others"}'])
def test_a_stage_that_ends_without_results_is_an_error(ssh, job, recipe, done):
    """Whatever it says of itself."""
    recipe(f"""
        import pathlib, sys
        print("that is all")
        pathlib.Path("stages/train/done.json").write_text({done!r})
    """)
    with pytest.raises(RunnerError, match=r"ended on .*@127.* without its results \(expert\)[^$]*that is all"):
        run(ssh(), job())


DONE = """
import hashlib, json, os, pathlib
place = pathlib.Path("stages/train")
expert = pathlib.Path("expert")
expert.mkdir()
(expert / "adapter_config.json").write_text("{}")
sha256 = hashlib.sha256((place / "job.json").read_bytes()).hexdigest()
(place / "done.json").write_text(json.dumps({"job_sha256": sha256}))
"""


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("(expert / 'adapter_model.safetensors').write_bytes(b'\\x80\\x04N.' * 9)", "no safetensors file"),
        ("(expert / 'adapter_model.bin').write_bytes(b'\\x80\\x04N.')", "adapter_model.bin: files of this kind"),
        ("(expert / 'a\\nb\\x1b[2J.json').write_text('{}')", "no plain name"),
        ("(expert / 'loss.svg').write_text('<svg><script/></svg>')", "not the picture"),
        ("(expert / 'x.json').write_text('[' * 99999)", "no json file"),
        ("os.truncate(os.open(expert / 'x.safetensors', os.O_CREAT | os.O_RDWR), 50 << 30)", "50 GB"),
        ("[(expert / f'{n}.json').write_text('{}') for n in range(1001)]", "no stage makes so many"),
        ("[p.unlink() for p in expert.iterdir()]; expert.rmdir()", "has no expert"),
        ("[p.unlink() for p in expert.iterdir()]; expert.rmdir(); expert.write_text('{}')", "expert: files of this kind"),
        ("[p.unlink() for p in expert.iterdir()]; expert.rmdir(); expert.symlink_to('/etc')", "has no expert"),
    ],
)  # fmt: skip
def test_nothing_of_hostile_results_lands(ssh, job, recipe, monkeypatch, result, words):
    """What was here before stays as it was."""
    if words == "50 GB":  # hashing so much takes a minute, which is not what is tested
        script = machine._HASHES.replace('hashlib.file_digest(file, "sha256").hexdigest()', '"0" * 64')
        assert script != machine._HASHES
        monkeypatch.setattr(machine, "_HASHES", script)
        words = "50 GB|53,687,091,200 bytes, more than the"
    recipe(DONE + result)
    todo = job()
    here = Path(todo.folder) / "expert"
    here.mkdir()
    (here / "old.json").write_text("{}")
    with pytest.raises(RunnerError, match=words) as caught:
        run(ssh(), todo)
    assert "\x1b" not in str(caught.value)
    assert [path.name for path in here.iterdir()] == ["old.json"]
    assert sorted(path.name for path in Path(todo.folder).iterdir()) == ["expert", "stages"]
    assert not (Path(todo.folder) / "stages" / "train" / "done.json").exists()


@pytest.mark.parametrize("named", ['"evil/model"', "null", '"some/model", "x": 1}, {', '"/etc"'])
def test_an_adapter_of_another_base_is_refused(ssh, job, recipe, named):
    """Whoever opens it would fetch that other one."""
    config = f'{{"base_model_name_or_path": {named}}}'
    config = f"[{config}]" if "{" in named else config
    recipe(DONE + f"(expert / 'adapter_config.json').write_text({config!r})")
    todo = job(base="some/model")
    with pytest.raises(RunnerError, match=r"the machine sent an adapter of .*, and some/model was to be trained"):
        run(ssh(), todo)
    assert not (Path(todo.folder) / "expert").exists()


@pytest.mark.parametrize(("base", "named"), [("some/model", "some/model"), ("toy", "/there/job/toy")])
def test_an_adapter_of_its_base_is_taken(ssh, job, recipe, base, named):
    """A folder has another name there; the trainer writes the right one into it."""
    recipe(DONE + f"(expert / 'adapter_config.json').write_text('{{\"base_model_name_or_path\": \"{named}\"}}')")
    todo = job(base=base)
    (Path(todo.folder) / "toy").mkdir()
    run(ssh(), todo)
    assert adapter(todo) == {"base_model_name_or_path": named}


def test_results_take_the_place_of_older_ones(ssh, job, recipe):
    """A file of an earlier expert beside a new one's would be a third expert; what does not come back is said."""
    recipe(DONE + "(expert / 'README.md').write_text('a card')")
    todo = job()
    here = Path(todo.folder) / "expert"
    here.mkdir()
    (here / "old.json").write_text("{}")
    run(ssh(), todo)
    assert [path.name for path in here.iterdir()] == ["adapter_config.json"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ('{"done": 1, "total": 2, "loss": 0.5}', {"done": 1, "total": 2, "loss": 0.5}),
        ('{"done": 1, "total": 2, "words": "\\u001b[2J", "loss": NaN, "left": Infinity}', {"done": 1, "total": 2}),
        ('{"done": 1, "total": 2, "loss": 1e400, "n": ' + "9" * 400 + "}", {"done": 1, "total": 2}),
        ('{"said": "packing is off"}', {"said": "packing is off"}),
        ('{"said": "\\u001b[2J", "done": 1}', {"said": "\\x1b[2J"}),
        ('{"said": "' + "x" * 900 + '"}', {"said": "x" * 500}),
        ('{"said": 7}', None),
        ('{"done": -1, "total": 2}', None),
        ('{"done": 1, "total": ' + "9" * 40 + "}", None),
        ('{"done": true, "total": 2}', None),
        ('{"done": 1.5, "total": 2}', None),
        ("[1, 2]", None),
        ("7", None),
        ("[" * 100_000, None),
        ("\x1b[2J", None),
    ],
)
def test_of_progress_only_numbers_are_taken(line, kept):
    """A bar writes them to a terminal, and a number that is none would end the run."""
    found = remote.progress_line(line)
    assert (None if found is None else json.loads(found)) == kept


def test_no_key_of_this_machine_goes_there(ssh, job, recipe, monkeypatch):
    """The hub's only where that was asked for; in the environment, not on a command line."""
    recipe(
        DONE
        + "(expert / 'seen.json').write_text(json.dumps({**os.environ, 'argv': open('/proc/self/cmdline').read()}))"
    )
    keys = {"HF_TOKEN": "hf_of_a_person", "VAST_API_KEY": "of-vast", "OPENAI_API_KEY": "sk-of-a-person"}
    for name, key in keys.items():
        monkeypatch.setenv(name, key)
    for sends in (False, True):
        todo = job(seconds=float(sends))
        run(ssh(send_hub_token=sends), todo)
        seen = json.loads((Path(todo.folder) / "expert" / "seen.json").read_text())
        assert {name for name in keys if name in seen} == ({"HF_TOKEN"} if sends else set())
        assert not any(key in seen["argv"] for key in keys.values())
        for path in Path(todo.folder).rglob("*"):
            assert path.is_dir() or path.name == "seen.json" or b"hf_of_a_person" not in path.read_bytes()
        subprocess.run(["rm", "-r", str(ssh().folder)], check=True)
