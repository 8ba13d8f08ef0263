"""Recipes in processes that have torch already: forked from one process that has loaded it, once for all tests.

``python warm.py ADDRESS SCRIPT ARGUMENT...`` does what ``python SCRIPT ARGUMENT...`` does, in a process of its own session with
these standard streams, folder and environment, without the seconds that importing torch and transformers takes. Of a
recipe itself nothing is kept. Whoever ends this process ends that one, and its exit code is this one's.
"""

import contextlib
import gc
import itertools
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys

PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "text2expert")
RECIPES = os.path.join(PACKAGE, "recipes", "")
LEASH = os.path.join(PACKAGE, "runners", "leash.py")


@contextlib.contextmanager
def serving(folder):
    """The address of a process from which they are forked; it loads when it is first asked, and ends with this one."""
    address = os.path.join(folder, "warm")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(100)
        environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
        # Not to fork a process of several threads; torch has its own and starts them when they are needed.
        environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
        server = subprocess.Popen(
            [sys.executable, "-P", __file__, "--serve", str(listener.fileno())],
            stdin=subprocess.PIPE, pass_fds=[listener.fileno()], env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        yield address
    finally:
        server.stdin.close()
        server.wait()


def forked(command, address):
    """*command*, forked from the process at *address* if it runs one of our recipes, on a leash or not."""
    words = [str(word) for word in command]
    options = list(itertools.takewhile(("-P", "-u").__contains__, words[1:]))
    script = words[1 + len(options) :]
    recipe = script[1:2] if script[:1] == [LEASH] else script[:1]
    runs = words[0] == sys.executable and recipe and recipe[0].startswith(RECIPES)
    return [words[0], *options, "-S", __file__, address, *script] if runs else command


def load():
    """What recipes import, and what their first model imports."""
    import jinja2  # noqa: F401
    import peft  # noqa: F401
    import psutil  # noqa: F401
    import safetensors.torch  # noqa: F401
    import torch
    import transformers.generation
    import transformers.models.llama.modeling_llama  # noqa: F401
    from accelerate.utils.memory import clear_device_cache  # noqa: F401
    from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast  # noqa: F401

    gc.collect()
    gc.freeze()  # a collection in a child would copy the pages of all that it inherits
    return torch


class Server:
    """Forks a process for each that asks; in that process `run` returns what it asked for."""

    def __init__(self, listener):
        self.asked = selectors.DefaultSelector()
        self.asked.register(listener, selectors.EVENT_READ, self.begin)
        self.asked.register(0, selectors.EVENT_READ, lambda _: os._exit(0))  # whoever started it has ended
        self.torch = None

    def run(self):
        while True:
            for key, _ in self.asked.select():
                if (task := key.data(key.fileobj)) is not None:
                    return task

    def begin(self, listener):
        asking, _ = listener.accept()
        _, streams, _, _ = socket.recv_fds(asking, 1, 3)
        task = json.loads(asking.makefile("rb").readline())
        self.torch = self.torch or load()
        child = os.fork()
        if not child:
            return self.become(task, streams)
        for stream in streams:
            os.close(stream)
        handle = os.pidfd_open(child)

        def ended(_):
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            for each in (asking, handle):
                self.asked.unregister(each)
            os.close(handle)
            with contextlib.suppress(OSError):
                asking.sendall(f"{code}\n".encode())
            asking.close()

        self.asked.register(handle, selectors.EVENT_READ, ended)
        self.asked.register(asking, selectors.EVENT_READ, lambda _: stop(child))
        return None

    def become(self, task, streams):
        """This process, as one that was started anew would be."""
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, max(int(name) for name in os.listdir("/proc/self/fd")) + 1)
        os.chdir(task["folder"])
        os.environ.clear()
        os.environ.update(task["environment"])
        if "OMP_NUM_THREADS" in os.environ:
            self.torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        if not task["safe_path"]:
            sys.path.insert(0, os.path.dirname(task["command"][0]))
        return task["command"]


def stop(child):
    """End *child* and its session: who asked for it is gone. Tried again until it has ended."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)


def ask(address, command):
    """Have *command* run by the process at *address*; its exit code."""
    task = {
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "safe_path": sys.flags.safe_path,
        "command": command,
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [b"!"], [0, 1, 2])
        server.sendall(json.dumps(task).encode() + b"\n")
        for stream in (0, 1, 2):
            os.close(stream)  # they are its own: who reads them sees when it closes them
        return int(server.makefile("rb").readline())


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        sys.argv = Server(socket.socket(fileno=int(sys.argv[2]))).run()
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        code = ask(sys.argv[1], sys.argv[2:])
        if code < 0:
            os.kill(os.getpid(), -code)
        sys.exit(code)
