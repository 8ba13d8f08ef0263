"""How figures and foreign texts are written for those who read them."""

import math
import re
from urllib.parse import urlsplit

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff\ufffe\uffff]")
"""What a page must not hold, or what makes text read otherwise than it is written; each is shown by its number."""

_SCHEMES = ("http", "https")


def visible(value: str) -> str:
    """*value* with what cannot be seen, or would turn what can, shown by its number."""
    return _UNSEEN.sub(lambda match: f"[U+{ord(match[0]):04X}]", value)


def percent(share: float) -> str:
    """*share* (0 to 1) in whole per cent; 100 % and 0 % are said only of all and none."""
    shown = round(100 * share)
    if shown == 100 and share < 1:
        return ">\u00a099\u00a0%"
    return "<\u00a01\u00a0%" if shown == 0 and share > 0 else f"{shown}\u00a0%"


def rounded(value: float) -> str:
    """*value* (1 or more) to three digits, as it is written."""
    return f"{round(value, -max(0, math.floor(math.log10(max(1.0, value))) - 2)):,.0f}"


def at(name: str) -> tuple[str, str]:
    """Of ``http://host:8000/v1#model``, the model and the host; of another name, itself and nothing."""
    address, _, model = name.partition("#")
    try:
        parts = urlsplit(address)
    except ValueError:
        return name, ""
    host = parts.netloc.rpartition("@")[2]
    return (model, host) if parts.scheme in _SCHEMES and host and model else (name, "")


def short(name: str, most: int) -> str:
    """*name* in one line of at most *most* characters.

    Of a model at an address, what tells it from others stays: the model first, then its host. Of other names, the middle
    goes: names that differ only at the end stay apart.
    """
    name = " ".join(visible(name).split())
    if len(name) <= most:
        return name
    model, host = at(name)
    if host:
        name = f"{model} @ {host}"
    if len(name) <= most:
        return name
    end = (most - 1) // 3
    return f"{name[: most - 1 - end]}…{name[len(name) - end :]}"
