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
from boxes import adapter, run
from ssh_server import SSHServer, free_port, keypair

from text2expert.errors import InputError, MissingExtraError, RunnerError
from text2expert.records import Job, Stage
from text2expert.runners import machine, remote
from text2expert.runners.ssh import SSH


async def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.02)


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


def test_a_lost_connection_is_made_again(ssh, job, sshd, there, capsys):
    """The stage does not notice; it is followed to its end, and started once."""
    todo = job(steps=40)

    async def story():
        task = asyncio.create_task(ssh(patience=20.0).run(todo))
        for steps in (3, 8):
            await until(lambda steps=steps: steps_done(there) >= steps)
            sshd.drop()
        await task

    asyncio.run(story())
    assert adapter(todo) == {"steps": 40, "begun": 0}
    assert starts(there) == 1
    assert len((Path(todo.folder) / "stages" / "train" / "progress.jsonl").read_text().splitlines()) == 40
    assert "is lost; it is tried again" in capsys.readouterr().err


def test_a_machine_that_does_not_come_back_is_given_up_and_found_again(ssh, job, sshd, there):
    """The work there goes on meanwhile, and the next call has its results."""
    todo = job(steps=60, seconds=0.05)

    async def story():
        task = asyncio.create_task(ssh(patience=1.5).run(todo))
        await until(lambda: steps_done(there) >= 2)
        sshd.stop()
        with pytest.raises(RunnerError, match=r"is lost and did not come back within 2 s .* run again to go on"):
            await task

    try:
        asyncio.run(story())
    finally:
        sshd.start()
    run(ssh(), todo)
    assert adapter(todo) == {"steps": 60, "begun": 0}
    assert starts(there) == 1


def test_a_call_after_kill_9_finds_what_runs(ssh, job, there, sshd):
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
            asyncio.run(SSH("{getpass.getuser()}@127.0.0.1:{sshd.port}", key={str(sshd.folder / "key")!r}, keep=True,
                known_hosts={str(sshd.folder / "known_hosts")!r}, python=sys.executable, folder={str(there)!r}).run({todo!r}))
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


def test_another_machine_at_a_reconnect_is_refused(ssh, job, sshd, there, tmp_path):
    """Its key is looked at each time, and it gets and gives nothing."""
    impostor = SSHServer(tmp_path / "impostor")
    impostor.let_in((sshd.folder / "key.pub").read_text())
    todo = job(steps=600)

    async def story():
        task = asyncio.create_task(ssh().run(todo))
        await until(lambda: steps_done(there) >= 2)
        sshd.stop()
        config = impostor.folder / "sshd_config"
        config.write_text(config.read_text().replace(f"Port {impostor.port}", f"Port {sshd.port}"))
        impostor.port = sshd.port
        impostor.start()
        with pytest.raises(RunnerError, match="may mean another machine in its place"):
            await task

    try:
        asyncio.run(story())
    finally:
        impostor.stop()
        sshd.start()
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


def test_an_interpreter_may_be_named_from_the_home_directory(ssh, job, sshd):
    """As in ~/venv/bin/python, which no shell expands inside quotes."""
    script = sshd.folder / "home" / "python"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    script.chmod(0o755)
    todo = job(steps=1)
    run(ssh(python="~/python"), todo)
    assert adapter(todo)["steps"] == 1


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
