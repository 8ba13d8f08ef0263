"""Stand-ins for users' own tests, docs and notebooks: a provider that answers from a script."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence

from text2expert.errors import InputError
from text2expert.exchange import Completion, Request, Usage

Scripted = str | Completion | Exception
"""A text that the model answers, a whole completion, or what goes wrong."""


class ScriptedProvider:
    """A provider on this machine that answers as told; ``LLM("any-name", provider=ScriptedProvider(["Yes."]))``.

    It costs nothing, unless the model's name is one of the price table or ``LLM(price=...)`` says otherwise.

    Args:
        answer: What to answer: a function of the request, or one answer after another in the order of requests.
        latency_s: Seconds that each answer takes.
    """

    endpoint = "http://localhost/scripted"
    dialect = "scripted/1"
    overhead_tokens = 0

    def __init__(self, answer: Callable[[Request], Scripted] | Sequence[Scripted], *, latency_s: float = 0.0) -> None:
        self.requests: list[Request] = []
        """All that arrived, in their order."""
        self.latency_s = latency_s
        self._answer: Callable[[Request], Scripted]
        if callable(answer):
            self._answer = answer
        elif isinstance(answer, str):
            msg = f"answer={answer!r}: give a list of answers, or a function of the request"
            raise InputError(msg)
        else:
            script = list(answer)
            left = iter(script)
            self._answer = lambda request: self._next(left, len(script), request)

    def _next(self, left: Iterator[Scripted], answers: int, request: Request) -> Scripted:
        for answer in left:
            return answer
        msg = f"the script's {answers} answer(s) are used up; request {len(self.requests)} is one more: {request.prompt[:200]!r}"
        raise InputError(msg)

    async def complete(self, request: Request) -> Completion:
        """What the script says. A text is counted as a token for every four bytes, as an English text about is.

        Raises:
            Exception: Where the script says so.
            InputError: The script is at its end.
        """
        self.requests.append(request)
        answer = self._answer(request)
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Completion):
            return answer
        usage = Usage(
            input_tokens=_tokens(request.system + request.prompt),
            output_tokens=min(_tokens(answer), request.max_tokens),
        )
        return Completion(text=answer, usage=usage, finish="stop", model=request.model, raw=answer)


def _tokens(text: str) -> int:
    return max(math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4), 1)
