"""A real OpenSSH server on loopback: the machine at the other end, for tests."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import ssh_watch

MARK = "TESTED_MACHINE"

MISSING = "these tests talk to a real OpenSSH server: apt-get install -y --no-install-recommends openssh-server"


def keypair(path: Path) -> str:
    """Make an ed25519 key at *path*; the public one."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path.with_suffix(".pub").read_text().strip()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class SSHServer:
    """sshd with a host key of its own, which lets in the keys of ``authorized_keys``.

    What is started through it gets the environment variables *environment* beside the usual ones, and a mark that no
    other server has. When the tests are killed, the server ends, and so does all that was started through it.
    """

    def __init__(self, folder: Path, *, environment: dict[str, str] | None = None) -> None:
        program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
        assert program, MISSING
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it drops its privileges
        self.host_key = keypair(folder / "hostkey")
        self.authorized_keys = folder / "authorized_keys"
        self.authorized_keys.touch()
        self.port = free_port()
        self.environment = {
            # A bash that sshd starts reads the .bashrc of whoever runs the tests, unless it is told that it is not the first.
            "SHLVL": "2", MARK: secrets.token_hex(8), **(environment or {}),
        }  # fmt: skip
        set_env = " ".join(f'"{name}={value}"' for name, value in self.environment.items())
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/hostkey\nPidFile {folder}/sshd.pid\n"
            f"AuthorizedKeysFile {self.authorized_keys}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
            f"MaxStartups 100\nSetEnv {set_env}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self._program = program

    def start(self) -> None:
        with open(self.folder / "sshd.log", "ab") as log:
            self.process = subprocess.Popen(
                [self._program, "-D", "-e", "-f", str(self.folder / "sshd_config")], stdin=subprocess.DEVNULL, stdout=log,
                stderr=log,
            )  # fmt: skip
        self._watch = subprocess.Popen(
            [sys.executable, "-S", "-E", ssh_watch.__file__, self.mark, str(self.process.pid)],
            stdin=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as line:
                line.settimeout(2)
                if line.recv(4) == b"SSH-":
                    return
            time.sleep(0.02)
        raise AssertionError((self.folder / "sshd.log").read_text())

    def stop(self) -> None:
        """End the server and every connection to it; what was started through it in a session of its own goes on."""
        if self.process is None:
            return
        assert self._watch is not None
        self._watch.kill()
        self._watch.communicate()
        self.drop()
        self.process.terminate()
        self.process.wait()
        self.process = None

    def end(self) -> None:
        """End the server and all that was started through it."""
        self.stop()
        ssh_watch.kill_marked(self.mark)

    @property
    def mark(self) -> str:
        """In the environment of all that was started through it."""
        return f"{MARK}={self.environment[MARK]}"

    def drop(self) -> None:
        """Cut every connection, as a lost network does."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            # A connection's process and that of its user, not what was started through it.
            with contextlib.suppress(psutil.NoSuchProcess):
                for each in (*child.children(), child):
                    each.kill()

    def known_hosts(self) -> str:
        """A line of a known_hosts file for this server."""
        return f"[127.0.0.1]:{self.port} {' '.join(self.host_key.split()[:2])}\n"

    def let_in(self, public_key: str) -> None:
        with open(self.authorized_keys, "a") as file:
            file.write(f"{public_key}\n")
