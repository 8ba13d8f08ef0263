"""What can go wrong, as one tree.

    Text2ExpertError
    ├── InputError(ValueError)         an argument, a file or a text that cannot be used
    │   └── RecordError                a damaged line of a JSONL file, named by file and line
    ├── NothingTaughtError             no approved pair: there is nothing to train on
    ├── RunFolderError                 not a run folder, or a folder that cannot be written
    │   └── RunFolderLockedError       another process is at work on it
    ├── RunnerError                    a stage of a training job failed
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


class MissingExtraError(Text2ExpertError, ImportError):
    """A package of an optional extra is not installed."""
