"""Who answers requests: the one method that a provider has."""

from typing import Protocol

from text2expert.exchange import Completion, Request


class Provider(Protocol):
    """Sends a request to a model and brings its answer.

    A provider may also have ``endpoint: str`` (the base URL that requests go to), ``dialect: str`` (its protocol and the
    version of its translation, part of every request's key) and ``overhead_tokens: int`` (input tokens that its service
    adds to a request at most); without them its class name, "" and 0 stand in.
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
