"""What reaches a disk, under real faults: full disks, size limits, kills, other processes, forbidden folders."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert import files
from text2expert.errors import InputError, RunFolderError, RunFolderLockedError

NOBODY = 65534


def python(code, *arguments, **options):
    """A process of its own that runs *code*."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def finished(process):
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def only(folder):
    return sorted(path.name for path in folder.iterdir())


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# -- atomic ----------------------------------------------------------------------------------------------------------


@given(st.text())
def test_what_is_written_is_what_is_read(tmp_path_factory, text):
    """Byte for byte: no newline is translated."""
    path = tmp_path_factory.getbasetemp() / "text.txt"
    files.write_text(path, text)
    assert text.encode() == path.read_bytes()


@pytest.mark.parametrize("before", [None, "before"])
@pytest.mark.parametrize(
    "error", [ValueError, KeyboardInterrupt, FileNotFoundError, ConnectionResetError, TimeoutError]
)
def test_a_block_that_raises_leaves_everything_as_it_was(tmp_path, before, error):
    """And its own error comes through as it is, also where it is an `OSError`: it says nothing of the file written."""
    path = tmp_path / "file.txt"
    if before:
        path.write_text(before)
    raised = error(2, "no such thing", "elsewhere.txt") if error is FileNotFoundError else error("mine")
    with pytest.raises(error) as caught:
        write_and_raise(path, raised)
    assert caught.value is raised
    assert before == (path.read_text() if path.exists() else None)
    assert only(tmp_path) == (["file.txt"] if before else [])


def write_and_raise(path, error):
    with files.atomic(path) as file:
        file.write("after" * 10_000)
        raise error


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    with files.atomic(path) as file:
        file.write("after")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert only(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_files_are_for_their_owner_alone_whatever_the_umask(tmp_path, mask):
    before = os.umask(mask)
    try:
        files.make_folder(tmp_path / "run")
        files.write_text(tmp_path / "run" / "file.txt", "x")
        with files.locked(tmp_path / "run"):
            pass
    finally:
        os.umask(before)
    assert (mode(tmp_path / "run"), mode(tmp_path / "run" / "file.txt")) == (0o700, 0o600)
    assert mode(tmp_path / "run" / files.LOCK_NAME) == 0o600


def test_a_link_is_replaced_and_what_it_led_to_is_kept(tmp_path):
    (tmp_path / "far.txt").write_text("far")
    (tmp_path / "near.txt").symlink_to("far.txt")
    files.write_text(tmp_path / "near.txt", "near")
    assert (tmp_path / "far.txt").read_text() == "far"
    assert not (tmp_path / "near.txt").is_symlink()


def test_a_full_disk_is_named_and_the_old_file_is_kept(tmp_path, monkeypatch):
    """The kernel itself says ENOSPC: the bytes go to /dev/full."""
    path = tmp_path / "file.txt"
    path.write_text("before")
    real = tempfile.mkstemp

    def on_full_disk(**options):
        handle, name = real(**options)
        os.close(handle)
        return os.open("/dev/full", os.O_WRONLY), name

    monkeypatch.setattr(tempfile, "mkstemp", on_full_disk)
    with pytest.raises(RunFolderError, match=rf"cannot write {path}: the disk is full: free some space"):
        files.write_text(path, "after" * 100_000)
    assert path.read_text() == "before"
    assert only(tmp_path) == ["file.txt"]


def test_a_lock_on_a_full_disk_is_named(tmp_path):
    (tmp_path / files.LOCK_NAME).symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="the disk is full"), files.locked(tmp_path):
        pytest.fail("not locked")


def test_a_limit_on_file_sizes_is_named_and_the_old_file_is_kept(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")
    code = """
    import resource, sys
    from text2expert import files
    from text2expert.errors import RunFolderError
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    try:
        files.write_text(sys.argv[1], "x" * 1_000_000)
    except RunFolderError as error:
        print(error)
    """
    assert "ulimit -f" in finished(python(code, path))
    assert path.read_text() == "before"
    assert only(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    ("place", "advice"),
    [
        ("none/file.txt", "its folder does not exist: create it first"),
        ("file/file.txt", "a part of the path is a file"),
        ("folder", "it is a folder: choose another name"),
        ("x" * 300, "the name is too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_named_with_advice(tmp_path, place, advice):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunFolderError, match=f"cannot write .*{place}: {advice}"):
        files.write_text(tmp_path / place, "x")
    assert only(tmp_path) == ["file", "folder"]


def test_a_name_of_full_length_can_be_written(tmp_path):
    files.write_text(tmp_path / ("é" * 127), "x")
    assert only(tmp_path) == ["é" * 127]


def test_a_folder_without_write_permission_is_named():
    """Asked as an ordinary user: nothing is forbidden to root."""
    code = """
    import os, sys
    from pathlib import Path
    from text2expert import files
    from text2expert.errors import RunFolderError
    if os.geteuid() == 0:
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    folder = Path(sys.argv[1])
    def lock(folder):
        with files.locked(folder):
            pass
    for attempt in (
        lambda: files.write_text(folder / "file.txt", "x"),
        lambda: files.make_folder(folder / "run"),
        lambda: lock(folder),
    ):
        try:
            attempt()
        except RunFolderError as error:
            print(error)
    """
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o500 if os.geteuid() else 0o755)
        said = finished(python(code, name, NOBODY)).splitlines()
        os.chmod(name, 0o700)
        assert os.listdir(name) == []
    assert len(said) == 3
    assert all(name in line and "no permission to write there: choose another folder" in line for line in said)


def test_a_folder_where_a_file_is_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunFolderError, match=r"file is a file, not a folder"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(RunFolderError, match="a part of the path is a file"):
        files.make_folder(tmp_path / "file" / "run")


def test_making_a_folder_again_changes_nothing(tmp_path):
    files.make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "b" / "file").write_text("x")
    files.make_folder(tmp_path / "a" / "b")
    assert only(tmp_path / "a" / "b") == ["file"]


# -- locks and kills -------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from text2expert import files
with files.locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_by_pid_and_host(tmp_path):
    holder = python(HOLD, tmp_path, stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(
            RunFolderLockedError,
            match=rf"{tmp_path} is in use by pid {holder.pid} on host {socket.gethostname()}: wait",
        ),
        files.locked(tmp_path),
    ):
        pytest.fail("held twice")
    finished(holder)  # its standard input closes, and it ends in good order
    with files.locked(tmp_path):
        pass


def test_kill_9_lets_go_of_the_lock_and_what_was_half_written_is_swept(tmp_path):
    code = """
    import sys
    from pathlib import Path
    from text2expert import files
    folder = Path(sys.argv[1])
    (folder / "deep").mkdir()
    with files.locked(folder), files.atomic(folder / "deep" / "file.txt") as file:
        file.write("x" * 1_000_000)
        print("writing", flush=True)
        sys.stdin.read()
    """
    (tmp_path / ".mine.tmp").write_text("not ours")
    holder = python(code, tmp_path, stdin=subprocess.PIPE)
    assert holder.stdout.readline() == "writing\n"
    holder.send_signal(signal.SIGKILL)
    holder.communicate(timeout=60)
    assert len(only(tmp_path / "deep")) == 1
    with files.locked(tmp_path):
        assert only(tmp_path / "deep") == []
    assert only(tmp_path) == [files.LOCK_NAME, ".mine.tmp", "deep"]


def test_of_many_processes_at_once_one_holds_at_a_time(tmp_path):
    """Each adds one to a number, which two at once would get wrong."""
    (tmp_path / "number").write_text("0")
    code = """
    import sys, time
    from pathlib import Path
    from text2expert import files
    from text2expert.errors import RunFolderLockedError
    folder = Path(sys.argv[1])
    for _ in range(20):
        while True:
            try:
                with files.locked(folder):
                    number = int((folder / "number").read_text())
                    time.sleep(0.001)
                    files.write_text(folder / "number", str(number + 1))
                break
            except RunFolderLockedError:
                time.sleep(0.002)
    """
    for process in [python(code, tmp_path) for _ in range(4)]:
        finished(process)
    assert (tmp_path / "number").read_text() == "80"


def test_a_process_is_refused_what_it_holds_itself(tmp_path):
    with (
        files.locked(tmp_path),
        pytest.raises(RunFolderLockedError, match=f"pid {os.getpid()}"),
        files.locked(tmp_path),
    ):
        pytest.fail("held twice")


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    code = """
    import os, sys, time
    from pathlib import Path
    from text2expert import files
    folder = Path(sys.argv[1])
    with files.locked(folder):
        child = os.fork()
        if child == 0:
            time.sleep(60)
    with files.locked(folder):
        print("again")
    os.kill(child, 9)
    """
    assert finished(python(code, tmp_path)) == "again\n"


def test_the_lock_goes_when_its_block_raises(tmp_path):
    with pytest.raises(ValueError, match="mine"), files.locked(tmp_path):
        raise ValueError("mine")
    with files.locked(tmp_path):
        pass


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path):
    with pytest.raises(RunFolderError, match="its folder does not exist"), files.locked(tmp_path / "none"):
        pytest.fail("not locked")


# -- names -----------------------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=())))
def test_a_safe_name_is_one_component_on_any_disk(tmp_path_factory, name):
    safe = files.safe_name(name)
    assert 0 < len(safe.encode()) <= 100
    assert not set(safe) & set('/\\:*?"<>| \n\t\0')
    assert safe[0] not in ".-_"
    assert safe == files.safe_name(safe)
    path = tmp_path_factory.getbasetemp() / safe
    assert path.name == safe
    path.touch()
    path.unlink()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("handbook", "handbook"),
        ("Ward 7: night/day", "Ward_7_night_day"),
        ("../../etc/passwd", "etc_passwd"),
        ("...", "document"),
        ("", "document"),
        ("Überblick (2)", "Überblick_2"),
        ("U\u0308berblick", "Überblick"),
        ("प्रोटोकॉल", "प्रोटोकॉल"),  # vowel signs are parts of letters
        ("v1.2-final_", "v1.2-final"),
        ("a" * 99 + ".b", "a" * 99),
        ("血" * 60, "血" * 33),
    ],
)
def test_safe_names_keep_what_can_be_kept(name, expected):
    assert files.safe_name(name) == expected


# -- looking before reading ------------------------------------------------------------------------------------------


def test_what_lies_at_a_path_is_told_apart(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    kinds = {name: files.kind_of(tmp_path / name) for name in ("file", "link", "none", "file/below")}
    assert {"file": "file", "link": "folder", "none": "nothing", "file/below": "nothing"} == kinds


def test_what_cannot_be_read_says_why_and_what_to_do(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in {
        "n" * 300: "the name is too long: choose a shorter one",
        "loop": "its symbolic links lead in a circle",
        "pipe": "is a pipe or a device",
        "zero\0": "null byte: check the path",
    }.items():
        with pytest.raises(InputError, match=reason):
            files.kind_of(tmp_path / name)
    with pytest.raises(InputError, match="/dev/null is a pipe or a device"):
        files.kind_of("/dev/null")


def test_a_folder_of_another_user_is_named_with_what_to_do(tmp_path):
    code = """
        import os, sys
        from text2expert import errors, files
        os.setuid(int(sys.argv[2]))
        try:
            files.kind_of(sys.argv[1] + "/inside")
        except errors.InputError as error:
            print(error)
    """
    tmp_path.chmod(0o700)
    if os.getuid():  # an ordinary user shuts himself out
        tmp_path.chmod(0o000)
    try:
        said = finished(python(code, tmp_path, os.getuid() or NOBODY))
    finally:
        tmp_path.chmod(0o700)
    assert f"cannot read {tmp_path}/inside: no permission: have its owner let you read it" in said


# -- several files together ------------------------------------------------------------------------------------------


def test_files_appear_and_go_together(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "gone").write_text("gone")
    with files.together(tmp_path / "old") as changes:
        for name in ("old", "folder/new"):
            with changes.writing(tmp_path / name) as path:
                files.write_text(path, "new")
        changes.remove(tmp_path / "gone")
        changes.remove(tmp_path / "never")
        assert "old" == (tmp_path / "old").read_text()
    assert ["folder", "old"] == only(tmp_path)
    assert ("new", "new") == tuple((tmp_path / name).read_text() for name in ("old", "folder/new"))
    assert mode(tmp_path / "folder") == files.PRIVATE_FOLDER


def test_when_one_file_cannot_be_placed_none_is(tmp_path):
    (tmp_path / "old").write_text("old")
    (tmp_path / "gone").write_text("gone")
    (tmp_path / "taken").mkdir()

    def change():
        with files.together(tmp_path / "old") as changes:
            for name in ("old", "folder/new", "taken"):
                with changes.writing(tmp_path / name) as path:
                    files.write_text(path, "new")
                changes.remove(tmp_path / "gone")

    with pytest.raises(RunFolderError, match=r"cannot write \S*taken: it is a folder"):
        change()
    assert ["gone", "old", "taken"] == only(tmp_path)
    assert "old" == (tmp_path / "old").read_text()


def test_files_that_do_not_all_come_to_be_written_do_not_appear(tmp_path):
    def change():
        with files.together(tmp_path / "old") as changes:
            with changes.writing(tmp_path / "new") as path:
                files.write_text(path, "new")
            raise KeyError

    with pytest.raises(KeyError):
        change()
    assert [] == only(tmp_path)
    with (
        pytest.raises(RunFolderError, match="none/new: its folder does not exist"),
        files.together(tmp_path / "none/new"),
    ):
        pass


def test_a_digest_is_of_the_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256_file(tmp_path / "file") == expected


def test_json_is_written_with_sorted_keys_and_a_last_newline(tmp_path):
    files.write_json(tmp_path / "file.json", {"b": "é", "a": [1]})
    assert (tmp_path / "file.json").read_text(encoding="utf-8") == '{\n  "a": [\n    1\n  ],\n  "b": "é"\n}\n'


def test_the_working_directory_is_a_folder_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write_text("file.txt", "x")
    assert Path("file.txt").read_text() == "x"
