"""How the documentation is built: ``make docs``. No network is needed, and nothing heavy is imported."""

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
from docutils.utils import get_source_line
from sphinx.util.nodes import make_refnode

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent))

import floors

import text2expert

HERE = Path(__file__).parent

project = "text2expert"
author = "The text2expert authors"
copyright = "2026, the text2expert authors"  # noqa: A001 - Sphinx's own name
version = release = text2expert.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb"]
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "jupyter_execute"]
nitpicky = True

# -- pages -----------------------------------------------------------------------------------------------------------
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are executed by the tests, and shown with what came out there

highlight_language = "none"  # a block says what it is, or is shown as it stands

html_theme = "furo"
html_title = "text2expert"
html_static_path = ["_static"]
html_css_files = ["text2expert.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "font-stack": "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif",
        "color-brand-primary": "#0b6e63",
        "color-brand-content": "#0b6e63",
    },
    "dark_css_variables": {"color-brand-primary": "#5ccab8", "color-brand-content": "#5ccab8"},
}

# -- reference from docstrings ---------------------------------------------------------------------------------------
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# The types of others are named and not linked: their inventories are on the network.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(matplotlib|collections|pathlib|typing|decimal|datetime|asyncio|os|io|types|aiohttp|attrs?|numpy|click|abc)(\..*)?",
    )
]

nitpick_ignore = [("py:class", "Plot")]  # a figure of matplotlib's, which is loaded where one is drawn and not here


def _linked(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """A name of ours that is told otherwise than the reference has it: `Expert.ask` is ``text2expert.Expert.ask``.

    A name that is ours and not part of the reference is shown as code; one that is nobody's stays a warning.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    for name in _candidates(target, node):
        entry = env.domains["py"].objects.get(name)
        if entry is not None:
            return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
    return contnode if any(map(_exists, _candidates(target, node))) else None


def _candidates(target: str, node: Any) -> Iterator[str]:
    """Full names that *target* may be short for: in its class, its module, the modules around it."""
    scopes = [node.get("py:module"), "text2expert"]
    said = re.search(r"docstring of ([\w.]+)", get_source_line(node)[0] or "")
    if said:
        found = _object(said[1])
        home = getattr(found, "__module__", None) or getattr(found, "__name__", None)
        scopes = [said[1], said[1].rpartition(".")[0], home, *scopes]
    for scope in filter(None, scopes):
        parts = scope.split(".")
        for end in range(len(parts), 0, -1):
            yield ".".join([*parts[:end], target])
    yield target


@cache
def _object(dotted: str) -> Any:
    """What *dotted* is, a module, class, function or attribute of ours; None where there is none."""
    parts = dotted.split(".")
    for cut in range(len(parts), 0, -1):
        if parts[0] != "text2expert":
            return None
        try:
            found: Any = importlib.import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for part in parts[cut:]:
            fields = {each.name.lstrip("_") for each in getattr(found, "__attrs_attrs__", ())}
            found = getattr(found, part, _FIELD if part in fields else None)
        return found
    return None


_FIELD = object()
"""Stands for a field without a default, which its class does not have."""


def _exists(dotted: str) -> bool:
    return _object(dotted) is not None


def _plain(_app: Any, what: str, _name: str, _object: Any, _options: Any, lines: list[str]) -> None:
    """Make of a docstring what reStructuredText takes for what its author meant."""
    if what == "module":  # a drawing is a drawing
        for at in range(len(lines) - 1, 1, -1):
            if lines[at].startswith("    ") and not lines[at - 1] and lines[at - 2][:1].strip():
                lines[at:at] = ["::", ""]
    if what in ("attribute", "data", "property") and lines and lines[0]:
        # Napoleon would take what stands before a colon for a type.
        lines[0] = f": {lines[0]}"


class _Shown:
    """Stands for a default in a signature."""

    def __init__(self, value: object) -> None:
        text = repr(value)
        self._text = text if len(text) <= 40 and not isinstance(value, attrs.Factory) else "..."  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return self._text


def _defaults(_app: Any, function: Any, _bound: bool) -> None:
    """Give the ``__init__`` that attrs wrote a signature with values: its source names a dictionary of attrs' own."""
    owner = _object(f"{function.__module__}.{getattr(function, '__qualname__', '')}".removesuffix(".__init__"))
    fields = {each.alias: each for each in getattr(owner, "__attrs_attrs__", ())}
    if not fields or function.__name__ != "__init__":
        return
    function.__dict__.pop("__signature__", None)
    signature = inspect.signature(function)
    function.__signature__ = signature.replace(
        parameters=[
            each.replace(default=_Shown(fields[name].default))
            if name in fields and each.default is not each.empty
            else each
            for name, each in signature.parameters.items()
        ]
    )


def _light(_app: Any, error: Exception | None) -> None:
    heavy = {"torch", "transformers", "peft", "accelerate"} & set(sys.modules)
    if heavy and error is None:
        raise RuntimeError(f"building the documentation imported {', '.join(sorted(heavy))}, which takes seconds")


def setup(app: Any) -> None:
    """What Sphinx calls first."""
    floors.draw(HERE.parent / "pyproject.toml", HERE / "_static")
    app.connect("autodoc-before-process-signature", _defaults, priority=900)  # after autodoc's own
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon
    app.connect("missing-reference", _linked)
    app.connect("build-finished", _light)
