"""Where training runs: the one method that a runner has."""

from typing import Protocol

from text2expert.records import Job


class Runner(Protocol):
    """Runs the stages of a job, one after another, on some machine.

    A runner may also have ``async quote(job) -> Quote``, which plans use when it is there.
    """

    async def run(self, job: Job) -> None:
        """Run *job*: on return every stage's ``done.json`` and outputs are in ``job.folder`` on this machine.

        A stage whose ``stages/<name>/done.json`` was made from the very ``job.json`` that lies beside it is done
        and is not run again.

        Raises:
            RunnerError: A stage failed; the message ends with the last lines of its log.
        """
        ...
