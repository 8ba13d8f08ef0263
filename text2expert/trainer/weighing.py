"""How often the pairs of each document are trained, where a dataset is of several."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Literal, get_args

from text2expert import files
from text2expert.errors import InputError

Balance = Literal["proportional", "equal"]
"""``proportional``: every pair once in an epoch, so that a long document has more of it; ``equal``: every document as many."""

ADVICE = "give documents by their id or file name and numbers above 0, such as {'handbook.txt': 2}"


def checked(weights: object) -> dict[str, float]:
    """*weights* as a trainer takes them, sorted by name; {} for None.

    Raises:
        InputError: They are no mapping of names to finite numbers above 0.
    """
    if weights is None:
        return {}
    if not isinstance(weights, Mapping):
        raise InputError(f"weights={weights!r:.80}: {ADVICE}")
    for name, weight in weights.items():
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"weights has the name {name!r:.80}: {ADVICE}")
        if weight == 0:
            raise InputError(
                f"weights={{{name!r}: 0}}: what is not to be trained is not to be taught either; leave the document out of "
                "the inputs"
            )
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < math.inf:
            raise InputError(f"weights={{{name!r}: {weight!r}}}: {ADVICE}")
    return {name: float(weights[name]) for name in sorted(weights)}


def balance(value: object) -> None:
    """Refuse what is no `Balance`."""
    if value not in get_args(Balance):
        raise InputError(f"balance must be {' or '.join(map(repr, get_args(Balance)))}, got {value!r:.80}")


def document_of(name: str, documents: Collection[str]) -> str:
    """The id of the document called *name*: by its id, or its file's name.

    Args:
        name: As weights have it.
        documents: Ids; a mapping of them gives paths, which a message shows beside them.

    Raises:
        InputError: There is none among *documents*, or there are several.
    """
    if name in documents:
        return name
    stem = files.safe_name(Path(name).stem)
    found = [each for each in documents if each == stem or re.fullmatch(rf"{re.escape(stem)}-\d+", each)]
    if len(found) == 1:
        return found[0]
    if found:
        paths = documents if isinstance(documents, Mapping) else {}
        shown = ", ".join(f"{each} ({paths[each]})" if paths.get(each) else each for each in sorted(found))
        raise InputError(
            f"weights names {name!r}, and several documents are called so: {shown}; give one of these ids "
            f"({{{found[-1]!r}: 2}}, --weight {found[-1]}=2)"
        )
    known = ", ".join(sorted(documents)[:20]) or "without a name"
    raise InputError(f"weights names {name!r}, and there is no such document: they are {known}")


def factors(
    pairs: Mapping[str, int], weights: Mapping[str, float], balanced: Balance = "proportional"
) -> dict[str, float]:
    """Document -> how often each of its *pairs* is trained in an epoch; documents of which each is once are left out.

    Balancing leaves an epoch as long as it is: it has as many pairs of each document, together as many as there are.
    A weight multiplies what comes of that. Pairs that name no document are trained once.
    """
    pairs = {document: n for document, n in pairs.items() if document and n}
    weighed: dict[str, float] = {}
    for name, weight in weights.items():
        try:
            weighed[document_of(name, pairs)] = weight
        except InputError:
            continue  # nothing was taught of it; who names what is no document at all is told before
    mean = sum(pairs.values()) / max(1, len(pairs))
    found = {
        document: round(weighed.get(document, 1.0) * (mean / n if balanced == "equal" else 1.0), 6)
        for document, n in sorted(pairs.items())
    }
    return {document: factor for document, factor in found.items() if factor != 1.0}
