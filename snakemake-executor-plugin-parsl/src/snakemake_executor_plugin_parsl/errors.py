"""Errors that are for the user, not for a developer."""

from typing import Any

from snakemake_interface_common.exceptions import WorkflowError


class RefusalError(WorkflowError):
    """Settings or a rule cannot work; the text says why and what is valid.

    Snakemake prints where in a plugin's code an error was raised; of this one only the text.
    """

    @property
    def __traceback__(self) -> None:
        return None

    @__traceback__.setter
    def __traceback__(self, _: Any) -> None:
        pass
