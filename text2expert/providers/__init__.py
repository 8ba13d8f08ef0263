"""Who answers requests: the one method that a provider has, and how a provider is named."""

import os
from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import attrs

from text2expert.errors import InputError
from text2expert.exchange import Completion, Request

GROUP = "text2expert.providers"
"""Entry points of this group are providers of other packages: ``name = "package.module:make"``, where
``make(base_url: str | None, api_key: str | None)`` returns one."""


class Provider(Protocol):
    """Sends a request to a model and brings its answer.

    A provider may also have ``endpoint: str`` (the base URL that requests go to), ``dialect: str`` (its protocol and the
    version of its translation, part of every request's key), ``overhead_tokens: int`` (input tokens that its service
    adds to a request at most) and ``check() -> None`` (raises what can be known before the first request, such as a
    missing key); without them its class name, "", 0 and nothing stand in.
    """

    async def complete(self, request: Request) -> Completion:
        """The answer to *request*, however the model ended it.

        Raises:
            ProviderUnavailable: It cannot answer now; nothing was billed.
            ProviderError: It refused for good; nothing was billed.
            AuthenticationFailed: The key was not accepted.
            OutOfBalance: The account is empty or at its own spending limit.
            AnswerLost: The request went out and no whole answer came back.
        """
        ...


@attrs.frozen
class _BuiltIn:
    endpoint: str
    key_variable: str
    example: str


_BUILT_IN: Mapping[str, _BuiltIn] = {
    "anthropic": _BuiltIn("https://api.anthropic.com", "ANTHROPIC_API_KEY", "claude-sonnet-5-5"),
    "deepseek": _BuiltIn("https://api.deepseek.com", "DEEPSEEK_API_KEY", "deepseek-flash"),
    "openai": _BuiltIn("https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-6.2-sol"),
}


class Resolved(NamedTuple):
    """What a name stands for."""

    provider: Provider
    model: str


def resolve(name: str, *, base_url: str | None = None, api_key: str | None = None) -> Resolved:
    """The provider and the model that *name* stands for.

    Args:
        name: ``"deepseek/<model>"``, ``"anthropic/<model>"``, ``"openai/<model>"``; a server of OpenAI's protocol and the
            model on it as ``"http://localhost:8000/v1#<model>"``; the name of a provider of another package and its model;
            or, with *base_url*, whatever the server there calls its model.
        base_url: Another address for the provider, which then is sent no key from the environment.
        api_key: Without it a provider's own host gets the key in ``ANTHROPIC_API_KEY``, ``DEEPSEEK_API_KEY`` or
            ``OPENAI_API_KEY``, and every other address gets none.

    Raises:
        InputError: There is no such provider, or no model in the name.
    """
    if name.startswith(("http://", "https://")):
        if base_url is not None:
            raise InputError("the model's name is an address already: leave out base_url")
        address, _, model = name.partition("#")
        return Resolved(_built_in(_at_home(address) or "plain", address, api_key, model), model)
    prefix, _, model = name.partition("/")
    if model and prefix in _BUILT_IN:
        return Resolved(_built_in(prefix, base_url, api_key, model), model)
    if model and (provider := _plugged_in(prefix, base_url, api_key)):
        return Resolved(provider, model)
    if base_url is not None:
        return Resolved(_built_in(_at_home(base_url) or "plain", base_url, api_key, name), name)
    raise InputError(f"{name!r} names no provider that is known here: {_ways(name)}")


def _built_in(kind: str, base_url: str | None, api_key: str | None, model: str) -> Provider:
    # Loaded here, so that a run without a model over the network loads no HTTP client.
    from text2expert.providers import http  # noqa: PLC0415

    known = _BUILT_IN.get(kind)
    endpoint = http.endpoint(base_url if base_url is not None else known.endpoint if known else "")
    if not model.strip():
        raise InputError(f"no model in the name: write it as {endpoint}#<model>")
    if api_key is None and known and _at_home(endpoint) == kind:
        api_key = os.environ.get(known.key_variable) or None
    if kind == "anthropic":
        from text2expert.providers.anthropic import Anthropic  # noqa: PLC0415

        return Anthropic(endpoint, api_key)
    from text2expert.providers.openai import Flavour, OpenAI  # noqa: PLC0415

    return OpenAI(endpoint, api_key, cast("Flavour", kind))


def _at_home(address: str) -> str | None:
    """The built-in provider whose own host *address* is: by https, at the usual port."""
    try:
        parts = urlsplit(address.strip())
        if parts.scheme != "https" or parts.port not in {None, 443}:
            return None
    except ValueError:
        return None
    return next(
        (kind for kind, known in _BUILT_IN.items() if urlsplit(known.endpoint).hostname == parts.hostname), None
    )


def _plugged_in(name: str, base_url: str | None, api_key: str | None) -> Provider | None:
    from importlib.metadata import entry_points  # noqa: PLC0415 - takes longer than all that a built-in name needs

    for entry in entry_points(group=GROUP, name=name):
        return cast("Provider", entry.load()(base_url=base_url, api_key=api_key))
    return None


def _ways(name: str) -> str:
    guess = {"claude": "anthropic", "gpt": "openai", "deepseek": "deepseek"}
    for start, kind in guess.items():
        if name.lower().startswith(start) and "/" not in name:
            model = name if name[len(start) :] else _BUILT_IN[kind].example  # "claude" alone is no model
            return f"did you mean '{kind}/{model}'?"
    examples = ", ".join(f"'{kind}/{known.example}'" for kind, known in _BUILT_IN.items())
    return (
        f"write {examples}, 'http://localhost:8000/v1#<model>' for a server of your own, or install a package that "
        f"offers it (entry points {GROUP!r})"
    )
