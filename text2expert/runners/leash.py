"""Run a script that ends with its parent: ``python leash.py SCRIPT ARGUMENT...``, standard input a pipe of the parent's.

The kernel closes the pipe when the parent ends, however it ends (kill -9 too); then this process and all that it
started are killed. Needed because a training run without a reader would keep a machine busy for hours. It is run as a
file, not imported, and so imports nothing of ours.
"""

import os
import runpy
import signal
import sys
import threading


def _die_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_die_with_parent, daemon=True).start()
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))  # where a script run directly finds its siblings
    runpy.run_path(sys.argv[0], run_name="__main__")
