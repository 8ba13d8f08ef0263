"""Whether a machine has a GPU that the recipes can use, found out without loading torch here."""

import functools
import subprocess
from pathlib import Path

_DEVICES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""What NVIDIA's and AMD's drivers and that of Windows' Linux leave where there is a GPU of theirs."""

_ASK = "import torch; print(torch.cuda.is_available())"


@functools.cache
def cuda(python: str) -> bool:
    """Whether torch, as *python* has it, can use a GPU of this machine; seconds to find out where there may be one."""
    if not any(Path(device).exists() for device in _DEVICES):
        return False
    try:
        asked = subprocess.run([python, "-P", "-c", _ASK], capture_output=True, text=True, timeout=120, check=True)  # noqa: S603 - the user's interpreter
    except (OSError, subprocess.SubprocessError):
        return False
    return asked.stdout.strip().endswith("True")
