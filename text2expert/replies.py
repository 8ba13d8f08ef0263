"""JSON out of what a model really sent: inside code fences, amid prose, wrapped, with trailing commas, or cut.

Every object is judged by itself, so that a fault in one costs only that one. A cut object is dropped whole: its last
sentence could have ended in an exception. Nothing is guessed: what can be read in two ways is not read.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import attrs
import json_repair


class Parsed(NamedTuple):
    """What a reply holds."""

    values: list[Any]
    """Objects, and lists with objects in them, in their order. A wrapper that is itself broken is left away."""
    complete: bool
    """Whether every object and list that was begun was also ended."""


_THOUGHT = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_JSON_BEGINS = re.compile(r"\s*(?:```\w*\s*)?[{\[]")
_OUTSIDE = re.compile(r"[{\[]|<think(?:ing)?>", re.IGNORECASE)
# In JSON a quote that is not escaped and ends no string cannot be; in broken JSON it is a quotation mark inside one.
_INSIDE = re.compile(r'"(?:[^"\\]|\\.|"(?!\s*(?:[,:\]}]|\Z)))*+"|["{}\[\]]', re.DOTALL)
_KEY = re.compile(r"""["']?([A-Za-z_]\w*)["']?\s*:""")

_HIGHEST = 50
"""Brackets in brackets that are read as one value; a reply that nests more is noise."""


@attrs.define(eq=False)
class _Node:
    """A bracket and what it encloses; ``end`` is None while it is open."""

    start: int
    is_object: bool
    end: int | None = None
    children: list["_Node"] = attrs.Factory(list)
    holds_objects: bool = False
    height: int = 0
    """Of the brackets in it."""


def objects(text: str) -> Parsed:
    """The JSON objects of a reply.

    Thinking that a model left in its reply is passed over; drafts in it count for nothing.
    """
    text = _without_lost_opening(text.removeprefix("\ufeff"))
    roots: list[_Node] = []
    complete = True
    position = 0
    while found := _OUTSIDE.search(text, position):
        if found[0] not in "{[":
            thought = _THOUGHT.match(text, found.start())
            assert thought is not None
            position = thought.end()
            complete = complete and bool(_THOUGHT_END.search(thought[0]))
            continue
        tree = _tree(text, found.start())
        roots.append(tree.root)
        complete = complete and tree.closed
        position = tree.end
    return Parsed([value for root in roots for value in _values(text, root)], complete)


def holding(values: Sequence[Any], key: str) -> list[dict[str, Any]]:
    """The objects that have *key*, wherever in *values* they are wrapped; what such an object holds is its own.

    A key counts as `member` writes it: some models say "Question" for "question".
    """
    found: list[dict[str, Any]] = []
    waiting = list(reversed(values))
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict) and key in map(member, value):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list):
            waiting.extend(reversed(value))
    return found


def member(name: str) -> str:
    """The name of an object's member in one form: "Short answer" is "short_answer"."""
    return "_".join(name.lower().split())


def _without_lost_opening(text: str) -> str:
    """Some chat templates open the thinking themselves, so that only its end is in the reply."""
    end = _THOUGHT_END.search(text)
    if end is None or _THOUGHT.search(text[: end.end()]) or _JSON_BEGINS.match(text):
        return text
    return text[end.end() :]


class _Tree(NamedTuple):
    root: _Node
    end: int
    closed: bool


def _tree(text: str, start: int) -> _Tree:
    """The brackets from *start* on; brackets inside strings are text."""
    root = _Node(start, text[start] == "{")
    outside = _Node(start, is_object=False)
    path = [outside, root]
    unended = Counter([root.is_object])
    well_formed = True

    def leave() -> _Node:
        node = path.pop()
        unended[node.is_object] -= 1
        path[-1].holds_objects |= node.is_object or node.holds_objects
        path[-1].height = max(path[-1].height, node.height + 1)
        return node

    for found in _INSIDE.finditer(text, start + 1):
        mark = found[0]
        if mark == '"':  # a string that nothing ends: all that follows is in it
            break
        if mark in "{[":
            node = _Node(found.start(), mark == "{")
            path[-1].children.append(node)
            path.append(node)
            unended[node.is_object] += 1
        elif mark in "}]" and unended[mark == "}"]:
            while path[-1].is_object != (mark == "}"):
                leave()
                well_formed = False
            leave().end = found.end()
            if path == [outside]:
                return _Tree(root, found.end(), well_formed)
    while path != [outside]:
        leave()
    return _Tree(root, len(text), closed=False)


def _values(text: str, root: _Node) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        value = _value(text, node)
        if value is not None:
            yield value
        elif node.end is None or node.children:
            waiting.extend(reversed(node.children))


def _value(text: str, node: _Node) -> Any:
    """What *node* says; None where it is cut or broken, or holds no object."""
    if node.end is None or node.height > _HIGHEST:
        return None
    source = text[node.start : node.end]
    if not node.is_object and not node.holds_objects:
        return None
    try:
        return json.loads(source, strict=False, object_pairs_hook=_unambiguous)
    except ValueError:
        return None if node.holds_objects else _repaired(source)


def _unambiguous(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        msg = "an object that says one thing twice"
        raise ValueError(msg)
    return value


def _repaired(source: str) -> dict[str, Any] | None:
    """A flat object whose commas, quotes or line breaks are wrong; None where two objects may have run together."""
    keys = _KEY.findall(source)
    if not keys:
        return None
    value = json_repair.loads(source, skip_json_loads=True)
    if not isinstance(value, dict) or not set(value) <= set(keys):
        return None
    twice = any(len(re.findall(rf"""["']{re.escape(key)}["']\s*:""", source)) > 1 for key in value)
    return None if twice else value
