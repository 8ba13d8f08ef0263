"""What can go wrong, as one tree.

    Text2ExpertError
    ├── InputError(ValueError)         an argument, a file or a text that cannot be used
    │   └── RecordError                a damaged line of a JSONL file, named by file and line
    ├── NothingTaughtError             no approved pair: there is nothing to train on
    ├── RunFolderError                 not a run folder, or a folder that cannot be written
    │   └── RunFolderLockedError       another process is at work on it
    ├── RunnerError                    a stage of a training job failed
    │   └── NoGPUError                 a large base, and no GPU where it is to be trained
    ├── StarvedRunError                a training that would cost money and teach next to nothing
    ├── ProviderError                  a model's provider said no, and would say it again
    │   ├── AuthenticationFailed       the key is missing or was not accepted
    │   └── OutOfBalance               the account is empty or at its own spending limit
    ├── ProviderUnavailable            it cannot answer now: overloaded, rate limited, unreachable
    ├── AnswerLost                     a request that was perhaps served, and billed, but whose answer did not arrive
    ├── BatchUnfinished                a batch is under way, and cannot be asked for its results now
    ├── BudgetExhausted                the next request could cross a budget
    ├── LedgerError                    the ledger cannot be read or written, or another process has it
    └── MissingExtraError(ImportError) an optional part of the package is not installed

Every message says what was wrong, where, and what to do next.
"""


class Text2ExpertError(Exception):
    """The root: ``except Text2ExpertError`` catches everything that this package raises on purpose."""


class InputError(Text2ExpertError, ValueError):
    """An argument, a file or a text that cannot be used."""


class RecordError(InputError):
    """A line of a JSONL file that is not the record it should be."""


class NothingTaughtError(Text2ExpertError):
    """No pair was approved, so there is nothing to train on."""


class RunFolderError(Text2ExpertError):
    """A folder that is not a run folder, or that cannot be read or written."""


class RunFolderLockedError(RunFolderError):
    """Another living process holds the run folder."""


class RunnerError(Text2ExpertError):
    """A stage of a job failed; the message names the stage and ends with the last lines of its log."""


class NoGPUError(RunnerError):
    """A base that is too large for the processors of this machine, which has no GPU; nothing was started."""


class StarvedRunError(Text2ExpertError):
    """A training that would cost money and teach next to nothing; the message has the reasons. Nothing was started."""


class ProviderError(Text2ExpertError):
    """A provider refused a request for good: sent again as it is, it would be refused again."""


class AuthenticationFailed(ProviderError):  # noqa: N818 - as providers call it
    """The key is missing or was not accepted. It stops the run."""


class OutOfBalance(ProviderError):  # noqa: N818
    """The account is empty or has reached its own spending limit. It stops the run."""


class ProviderUnavailable(Text2ExpertError):  # noqa: N818
    """A provider cannot answer now and bills nothing: sent again later, the request may pass."""

    def __init__(
        self, message: str, *, retry_after: float | None = None, overloaded: bool = False, unreached: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds that the provider asks to wait; None where it does not say."""
        self.overloaded = overloaded
        """Whether fewer requests at a time would help (429, 503, 529)."""
        self.unreached = unreached
        """Whether the connection was refused where nothing has answered since this process began."""


class AnswerLost(Text2ExpertError):  # noqa: N818
    """A request went out and no whole answer came back: it was perhaps billed, so its whole hold is booked."""


class BatchUnfinished(Text2ExpertError):  # noqa: N818
    """A batch was sent and its results cannot be had now: its holds stay, and the next run collects it."""


class BudgetExhausted(Text2ExpertError):  # noqa: N818
    """The next request could cross a budget, and nothing that is still under way can change that."""


class LedgerError(Text2ExpertError):
    """The ledger cannot be read or written, or another process has it."""


class MissingExtraError(Text2ExpertError, ImportError):
    """A package of an optional extra is not installed."""
