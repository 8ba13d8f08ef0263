"""How long a text is in tokens, without a download: by tiktoken if its ranks are on this machine, else by bytes."""

import functools
import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

from text2expert.errors import InputError

BYTES_PER_TOKEN = 4
"""What stands in for a token where no tokenizer is at hand: about right for English, and too many for other scripts."""

_ORIGIN = "https://openaipublic.blob.core.windows.net/encodings/"
# Name: file and SHA-256 of its ranks, as in tiktoken_ext.openai_public (tiktoken 0.14).
_RANKS = {
    "cl100k_base": ("cl100k_base.tiktoken", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"),
    "o200k_base": ("o200k_base.tiktoken", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d"),
    "p50k_base": ("p50k_base.tiktoken", "94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069"),
    "r50k_base": ("r50k_base.tiktoken", "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"),
}


class Ruler(Protocol):
    """Measures texts in tokens."""

    @property
    def name(self) -> str:
        """What measures, as it is recorded: ``tiktoken:cl100k_base`` or ``utf8-bytes/4``."""

    def measure(self, text: str) -> int:
        """How many tokens *text* is."""

    def reach(self, text: str, begin: int, stop: int, size: int) -> int:
        """The greatest end, up to *stop*, for which ``text[begin:end]`` is about *size* tokens."""


def ruler(encoding: str) -> Ruler:
    """The ruler for a tiktoken *encoding*, or the stand-in if its ranks would have to be downloaded.

    Raises:
        InputError: There is no such encoding.
    """
    if encoding not in _RANKS:
        raise InputError(f"encoding={encoding!r}: give one of {', '.join(sorted(_RANKS))}")
    return _Tiktoken(encoding) if _cached(encoding) else _Bytes()


def _cached(encoding: str) -> bool:
    """Whether tiktoken would find the ranks of *encoding* in its cache, whole.

    It looks where this looks (`tiktoken.load`), and goes to the network when the file is missing or damaged.
    """
    name, sha256 = _RANKS[encoding]
    folder = os.environ.get("TIKTOKEN_CACHE_DIR")
    if folder is None:
        folder = os.environ.get("DATA_GYM_CACHE_DIR")
    if folder is None:
        folder = os.path.join(tempfile.gettempdir(), "data-gym-cache")
    if not folder:
        return False  # set to nothing: no cache
    path = Path(folder) / hashlib.sha1((_ORIGIN + name).encode(), usedforsecurity=False).hexdigest()
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


@functools.cache
def _encoding(name: str) -> Any:
    import tiktoken  # noqa: PLC0415 - needed for sizes in tokens only

    return tiktoken.get_encoding(name)


class _Tiktoken:
    def __init__(self, encoding: str) -> None:
        self.name = f"tiktoken:{encoding}"
        self._encoding = _encoding(encoding)

    def measure(self, text: str) -> int:
        return len(self._encoding.encode_ordinary(text))

    def reach(self, text: str, begin: int, stop: int, size: int) -> int:
        # English has four characters to a token; a text of spaces or dashes many more, which costs another look.
        width = 5 * size + 16
        while True:
            end = min(stop, begin + width)
            found = self._encoding.encode_ordinary(text[begin:end])
            if len(found) > size:
                return begin + len(self._encoding.decode_bytes(found[:size]).decode(errors="ignore"))
            if end == stop or width > 64 * size:
                return end
            width *= 4


class _Bytes:
    name = f"utf8-bytes/{BYTES_PER_TOKEN}"

    def measure(self, text: str) -> int:
        return -(-len(text.encode()) // BYTES_PER_TOKEN)

    def reach(self, text: str, begin: int, stop: int, size: int) -> int:
        width = BYTES_PER_TOKEN * size
        data = text[begin : min(stop, begin + width)].encode()
        return begin + len(data[:width].decode(errors="ignore"))
