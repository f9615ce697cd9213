"""What can go wrong, as a user sees it: every message names where, what and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SnnFusionError(Exception):
    """Anything the pipeline refuses to go on with. `exit_code` is what the command exits with."""

    exit_code = 1


class BadInput(SnnFusionError):
    """Input or configuration that the user can mend: exit 2.

    `where` is a file and, if it has one, a field (`params.yaml: training.epochs`).
    """

    exit_code = 2

    def __init__(self, where: object, problem: str, remedy: str = "") -> None:
        self.where, self.problem, self.remedy = str(where), problem, remedy
        super().__init__(f"{self.where}: {problem}" + (f" ({remedy})" if remedy else ""))

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str, str]]:
        # So that it arrives whole from a worker process.
        return type(self), (self.where, self.problem, self.remedy)


class BadRecording(BadInput):
    """One recording that cannot be read or used; it can be quarantined and the run goes on."""


class BadRecordings(BadInput):
    """All damaged recordings of one import, listed at once."""

    def __init__(
        self,
        where: object,
        damaged: Sequence[BadInput],
        remedy: str = "mend or remove them, or set them aside with --quarantine",
    ) -> None:
        self.damaged = list(damaged)
        super().__init__(
            where,
            f"{len(self.damaged)} damaged\n" + "\n".join(f"  {one}" for one in self.damaged),
            remedy,
        )

    def __reduce__(self) -> tuple[type[BadInput], Any]:
        return type(self), (self.where, self.damaged, self.remedy)


class TrainingStopped(SnnFusionError):
    """Training refuses to go on: NaN, a dead or a saturated layer."""
