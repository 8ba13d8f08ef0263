"""Training on another machine, which is a real OpenSSH server on loopback; its stage takes no torch."""

import asyncio
import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import asyncssh
import boxes
import psutil
import pytest
from ssh_server import SSHServer, free_port, keypair

from text2expert.errors import InputError, MissingExtraError, RunnerError
from text2expert.records import Job, Stage
from text2expert.runners import machine, remote
from text2expert.runners.ssh import SSH

ADAPTER = "expert/adapter_config.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A machine whose home directory is a folder of its own."""
    folder = tmp_path_factory.mktemp("machine")
    server = SSHServer(folder)
    server.start()
    server.let_in(keypair(folder / "key"))
    (folder / "known_hosts").write_text(server.known_hosts())
    yield server
    server.end()


@pytest.fixture
def there(tmp_path):
    """Where jobs lie on that machine."""
    return tmp_path / "there"


@pytest.fixture(autouse=True)
def recipes(monkeypatch):
    """The stage that is sent there; no waiting between looks."""
    monkeypatch.setattr(remote, "RECIPES", boxes.RECIPES)
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.1)


@pytest.fixture
def ssh(server, there):
    """A runner that reaches the machine, with other settings where they are given."""

    def make(**settings):
        usual = {
            "key": server.folder / "key", "known_hosts": server.folder / "known_hosts", "python": sys.executable,
            "folder": str(there), "keep": True, "patience": 8.0,
        }  # fmt: skip
        return SSH(f"{getpass.getuser()}@127.0.0.1:{server.port}", **(usual | settings))

    return make


@pytest.fixture
def job(tmp_path):
    """A job of one stage, with other settings where they are given."""

    def make(**settings):
        return boxes.job_in(tmp_path / "run", **settings)

    return make


def run(runner, job):
    asyncio.run(runner.run(job))


async def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.02)


def adapter(job):
    return json.loads((Path(job.folder) / ADAPTER).read_bytes())


def stage_there(there):
    return there / "job" / "stages" / "train"


def starts(there):
    """How often the stage was started there."""
    return len(list(stage_there(there).glob("started-*")))


def steps_done(there):
    """Steps that the stage has written there."""
    try:
        return len((stage_there(there) / "progress.jsonl").read_text().splitlines())
    except FileNotFoundError:
        return 0


def lives(there):
    """Whether the session of the stage there has a process that is more than an entry in a table."""
    session = int((stage_there(there) / "pid").read_text())
    for process in psutil.process_iter(["pid", "status"]):
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                return True
    return False


def test_a_job_is_done_there_and_its_results_are_here(ssh, job, there):
    """Results, log and progress as `Local` leaves them, and nothing of it twice."""
    todo = job(steps=6)
    run(ssh(), todo)
    place = Path(todo.folder) / "stages" / "train"
    assert adapter(todo) == {"steps": 6, "begun": 0}
    assert (place / "log.txt").read_text() == "going on after step 0\n"
    assert json.loads((place / "progress.jsonl").read_text().splitlines()[-1])["done"] == 6
    assert (place / "done.json").read_bytes() == (stage_there(there) / "done.json").read_bytes()
    assert sorted(path.name for path in Path(todo.folder).iterdir()) == ["expert", "stages"]
    run(ssh(), todo)
    assert starts(there) == 1


def test_a_job_takes_one_connection_and_one_session_for_files(ssh, job, monkeypatch):
    """And while nothing new is there, a look is one command."""
    made, sessions, commands = [], [], []
    connect, files, command = SSH._connect, asyncssh.SSHClientConnection.start_sftp_client, machine.Remote.command
    monkeypatch.setattr(SSH, "_connect", lambda self: made.append(1) or connect(self))
    monkeypatch.setattr(
        asyncssh.SSHClientConnection, "start_sftp_client", lambda self: sessions.append(1) or files(self)
    )
    monkeypatch.setattr(
        machine.Remote,
        "command",
        lambda self, *words, **more: commands.append(words[0]) or command(self, *words, **more),
    )
    run(ssh(), job(steps=1, seconds=1.5))
    assert (len(made), len(sessions)) == (1, 1)
    looks = [each for each in commands if "how alive" in each]
    assert len(looks) >= 3
    assert len(commands) - len(looks) < 10


def test_a_finished_job_connects_to_nothing(ssh, job, monkeypatch):
    """What is done is done, also where the machine is off."""
    todo = job(steps=1)
    run(ssh(), todo)
    run(SSH("nobody@127.0.0.1:1", keep=True), todo)


@pytest.mark.parametrize("keep", [True, False])
def test_the_folder_there_is_removed_unless_it_is_kept(ssh, job, there, keep):
    """The golden dataset and the text lie in it."""
    run(ssh(keep=keep), job(steps=1))
    assert (there / "job").exists() is keep


def test_stages_of_a_job_follow_each_other(ssh, job, tmp_path):
    """A later stage reads there what an earlier one has made, and what it is given from here."""
    todo = job(steps=1)
    folder = tmp_path / "run"
    (folder / "stages" / "second").mkdir()
    settings = {"steps": 2, "seconds": 0, "output": "expert2"}
    (folder / "stages" / "second" / "job.json").write_text(json.dumps(settings))
    (folder / "golden.jsonl").write_text("{}\n")
    second = Stage(
        name="second",
        argv=("lora.py", "stages/second/job.json"),
        inputs=("expert", "golden.jsonl"),
        outputs=("expert2",),
    )
    run(ssh(), Job(id="job", folder=todo.folder, stages=(*todo.stages, second)))
    assert json.loads((folder / "expert2" / "adapter_config.json").read_text())["steps"] == 2


def test_what_is_there_is_not_sent_again(ssh, job, there, monkeypatch):
    """Recipes and data are told by their checksums; one that is damaged there is replaced."""
    sent = []
    put = machine.Remote._put

    async def seen(self, name, *more):
        sent.append(name)
        await put(self, name, *more)

    monkeypatch.setattr(machine.Remote, "_put", seen)
    run(ssh(), job(steps=1))
    assert sorted(sent) == ["recipes/lora.py", "stages/train/job.json"]
    sent.clear()
    with open(there / "job" / "recipes" / "lora.py", "a") as file:
        file.write("damaged")
    run(ssh(), job(steps=2))
    assert sorted(sent) == ["recipes/lora.py", "stages/train/job.json"]
    sent.clear()
    run(ssh(), job(steps=3))
    assert sent == ["stages/train/job.json"]


def test_a_lost_connection_is_made_again(ssh, job, server, there, capsys):
    """The stage does not notice; it is followed to its end, and started once."""
    todo = job(steps=40)

    async def story():
        task = asyncio.create_task(ssh(patience=20.0).run(todo))
        for steps in (3, 8):
            await until(lambda steps=steps: steps_done(there) >= steps)
            server.drop()
        await task

    asyncio.run(story())
    assert adapter(todo) == {"steps": 40, "begun": 0}
    assert starts(there) == 1
    assert len((Path(todo.folder) / "stages" / "train" / "progress.jsonl").read_text().splitlines()) == 40
    assert "is lost; it is tried again" in capsys.readouterr().err


def test_a_machine_that_does_not_come_back_is_given_up_and_found_again(ssh, job, server, there):
    """The work there goes on meanwhile, and the next call has its results."""
    todo = job(steps=60, seconds=0.05)

    async def story():
        task = asyncio.create_task(ssh(patience=1.5).run(todo))
        await until(lambda: steps_done(there) >= 2)
        server.stop()
        with pytest.raises(RunnerError, match=r"is lost and did not come back within 2 s .* run again to go on"):
            await task

    try:
        asyncio.run(story())
    finally:
        server.start()
    run(ssh(), todo)
    assert adapter(todo) == {"steps": 60, "begun": 0}
    assert starts(there) == 1


def test_a_call_after_kill_9_finds_what_runs(ssh, job, there, server):
    """No second stage is started beside it."""
    todo = job(steps=60)
    client = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(f"""
            import asyncio, sys
            from pathlib import Path
            sys.path.insert(0, {str(Path(boxes.__file__).parent)!r})
            from boxes import RECIPES
            from text2expert.records import Job, Needs, Stage
            from text2expert.runners import remote
            from text2expert.runners.ssh import SSH
            remote.RECIPES = RECIPES
            asyncio.run(SSH("{getpass.getuser()}@127.0.0.1:{server.port}", key={str(server.folder / "key")!r}, keep=True,
                known_hosts={str(server.folder / "known_hosts")!r}, python=sys.executable, folder={str(there)!r}).run({todo!r}))
        """)]
    )  # fmt: skip
    asyncio.run(until(lambda: steps_done(there) >= 3, 60))
    client.send_signal(signal.SIGKILL)
    client.wait()
    pid = (stage_there(there) / "pid").read_text()
    assert lives(there)
    run(ssh(), todo)
    assert adapter(todo) == {"steps": 60, "begun": 0}
    assert starts(there) == 1
    assert (stage_there(there) / "pid").read_text() == pid


def cancel_after(runner, todo, there, steps):
    async def story():
        task = asyncio.create_task(runner.run(todo))
        await until(lambda: steps_done(there) >= steps)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())


def test_cancelling_ends_the_stage_there_and_brings_its_checkpoint_home(ssh, job, there):
    """And the same call goes on from it: on this machine's word alone, should the other one have lost it."""
    todo = job(steps=30)
    cancel_after(ssh(), todo, there, 9)
    assert not lives(there)
    (checkpoint,) = (Path(todo.folder) / "stages" / "train").glob("checkpoint-*")
    assert checkpoint.name in {"checkpoint-00000008", "checkpoint-00000012"}
    subprocess.run(["rm", "-rf", str(there)], check=True)
    run(ssh(), todo)
    assert adapter(todo) == {"steps": 30, "begun": int(checkpoint.name[-8:])}
    assert not list((Path(todo.folder) / "stages" / "train").glob("checkpoint-*"))


def test_the_newest_checkpoint_is_here_while_the_stage_runs(ssh, job, there):
    """Whole, alone, and before the end: a rented machine may vanish at any time."""
    todo = job(steps=60)
    place = Path(todo.folder) / "stages" / "train"

    def here():
        return sorted(path.name for path in place.glob("checkpoint-*"))

    async def story():
        task = asyncio.create_task(ssh().run(todo))
        await until(here)
        first = here()
        await until(lambda: here() > first)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(story())
    (newest,) = here()
    step = int(newest.removeprefix("checkpoint-"))
    assert json.loads((place / newest / "state.json").read_text())["step"] == step


def test_a_server_that_says_no_more_is_taken_for_lost(ssh, job, monkeypatch):
    """A block that never comes would hold the work up for ever; what has come is not fetched again."""
    monkeypatch.setattr(machine, "STALL_SECONDS", 0.5)
    monkeypatch.setattr(machine, "BLOCK", 8)
    read, offsets = asyncssh.SFTPClientFile.read, []

    async def stalls(self, size=-1, offset=None):
        if size == 8:
            offsets.append(offset)
            if offsets == [0, 8]:
                await asyncio.sleep(600)
        return await read(self, size, offset)

    monkeypatch.setattr(asyncssh.SFTPClientFile, "read", stalls)
    todo = job(steps=3)
    run(ssh(), todo)
    assert adapter(todo) == {"steps": 3, "begun": 0}
    assert offsets[:4] == [0, 8, 8, 16]


def test_changed_settings_end_the_stage_of_the_old_ones(ssh, job, there):
    """Nothing of it is left: neither its process nor its checkpoints."""
    old = job(steps=600)

    async def story():
        task = asyncio.create_task(ssh().run(old))
        await until(lambda: steps_done(there) >= 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    # As kill -9 leaves it: running there, its checkpoints there.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote.Work, "stop", lambda self: asyncio.sleep(0))
        asyncio.run(story())
    assert lives(there)
    old_session = (stage_there(there) / "pid").read_text()
    new = job(steps=3)
    for each in (Path(new.folder) / "stages" / "train").glob("checkpoint-*"):
        subprocess.run(["rm", "-r", str(each)], check=True)
    run(ssh(), new)
    assert adapter(new) == {"steps": 3, "begun": 0}
    assert starts(there) == 1
    (stage_there(there) / "pid").write_text(old_session)
    assert not lives(there)


def test_a_number_that_another_process_was_given_is_left_alone(ssh, job, there):
    """After a restart of the machine the number of the stage's session may be that of somebody else's."""
    todo = job(steps=30)
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        cancel_after(ssh(), todo, there, 2)
        (stage_there(there) / "pid").write_text(f"{stranger.pid}\n")
        run(ssh(), todo)
        assert stranger.poll() is None
        assert adapter(todo)["steps"] == 30
        assert starts(there) == 2
    finally:
        stranger.kill()
        stranger.wait()


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


def test_another_host_key_is_refused(ssh, job, tmp_path, there):
    """It may be another machine in its place; nothing is sent to it."""
    (tmp_path / "other").mkdir()
    public = keypair(tmp_path / "other" / "hostkey").split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{ssh().destination.rpartition(':')[2]} {public[0]} {public[1]}\n")
    with pytest.raises(RunnerError, match=r"the host key of .*@127.* is not the one that is known .* nothing was sent"):
        run(ssh(known_hosts=known), job())
    known.write_text("")
    with pytest.raises(RunnerError, match="is not the one that is known"):
        run(ssh(known_hosts=known), job())
    assert not there.exists()


def test_another_machine_at_a_reconnect_is_refused(ssh, job, server, there, tmp_path):
    """Its key is looked at each time, and it gets and gives nothing."""
    impostor = SSHServer(tmp_path / "impostor")
    impostor.let_in((server.folder / "key.pub").read_text())
    todo = job(steps=600)

    async def story():
        task = asyncio.create_task(ssh().run(todo))
        await until(lambda: steps_done(there) >= 2)
        server.stop()
        config = impostor.folder / "sshd_config"
        config.write_text(config.read_text().replace(f"Port {impostor.port}", f"Port {server.port}"))
        impostor.port = server.port
        impostor.start()
        with pytest.raises(RunnerError, match="may mean another machine in its place"):
            await task

    try:
        asyncio.run(story())
    finally:
        impostor.stop()
        server.start()
        os.killpg(int((stage_there(there) / "pid").read_text()), signal.SIGKILL)


def test_a_key_that_is_not_let_in_is_said(ssh, job, tmp_path):
    """At once, not after ten minutes of trying."""
    keypair(tmp_path / "key")
    with pytest.raises(RunnerError, match="does not let this key in"):
        run(ssh(key=tmp_path / "key", patience=600.0), job())


def test_a_file_that_is_no_key_is_said(ssh, job, tmp_path):
    """Such as the public half."""
    (tmp_path / "key").write_text("no key")
    with pytest.raises(RunnerError, match=r"the key for .*@127.* cannot be read"):
        run(ssh(key=tmp_path / "key"), job())


def test_a_key_with_a_passphrase_belongs_to_the_agent(ssh, job, tmp_path):
    """Nobody is there to type it when a connection is made again."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(tmp_path / "key")], check=True)
    with pytest.raises(RunnerError, match="goes into the agent"):
        run(ssh(key=tmp_path / "key"), job())


def test_a_machine_that_is_not_there_is_said_at_once(job):
    """Waiting for a name that was mistyped would not mend it."""
    with pytest.raises(RunnerError, match="cannot be reached"):
        run(SSH(f"root@127.0.0.1:{free_port()}", patience=600.0), job())


def test_a_missing_interpreter_is_said(ssh, job):
    """With the argument that names another."""
    with pytest.raises(RunnerError, match=r"has no Python 3.11 or newer called 'python9': .*; give python=\.\.\."):
        run(ssh(python="python9"), job())


def test_a_missing_torch_is_said(ssh, job, tmp_path):
    """Which torch fits a GPU is not ours to say."""
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho torch peft\n")
    python.chmod(0o755)
    with pytest.raises(RunnerError, match="has no torch"):
        run(ssh(python=str(python)), job())


def test_an_interpreter_may_be_named_from_the_home_directory(ssh, job, server):
    """As in ~/venv/bin/python, which no shell expands inside quotes."""
    script = server.folder / "home" / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    todo = job(steps=1)
    run(ssh(python="~/python"), todo)
    assert adapter(todo)["steps"] == 1


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


@pytest.mark.parametrize(
    "destination", ["", "user@", "a b", "user@host:port", "host:123456", "-oProxyCommand=x y", None]
)
def test_wrong_destinations_are_refused(destination):
    """The message names the argument and its value."""
    with pytest.raises(InputError, match="destination must be like"):
        SSH(destination)


@pytest.mark.parametrize("patience", [-1, float("inf"), float("nan"), True, "1"])
def test_wrong_patience_is_refused(patience):
    """Seconds, and not for ever."""
    with pytest.raises(InputError, match="patience must be a number of seconds"):
        SSH("host", patience=patience)


def test_missing_files_and_packages_are_said_before_anything_starts(monkeypatch, tmp_path):
    """By `check`, which runs before an hour of teaching."""
    with pytest.raises(InputError, match=r"key .*none' is not a file"):
        SSH("host", key=tmp_path / "none").check()
    with pytest.raises(InputError, match=r"known_hosts .*none' is not a file"):
        SSH("host", known_hosts=tmp_path / "none").check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "asyncssh" else object())
    with pytest.raises(MissingExtraError, match=r'needs asyncssh: pip install "text2expert\[vast\]"'):
        SSH("host").check()
