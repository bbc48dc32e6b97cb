"""The parameters of a trial: settings of every stage, as canonical JSON with a digest."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from xfel_apps.config import digest
from xfel_apps.errors import SettingsError
from xfel_apps.experiment import STAGES, Experiment

SECTIONS = (*STAGES, "refgeom", "diffbragg", "factors")
"""What a trial freezes: all that changes a result."""


@dataclass(frozen=True)
class Parameters:
    """Settings of the sections, complete: what is a default today is written out.

    Attributes
    ----------
    sections : section -> its settings
    """

    sections: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, experiment: Experiment) -> "Parameters":
        """Return the parameters of an experiment."""
        return cls({name: experiment.section(name).model_dump(mode="json") for name in SECTIONS})

    @classmethod
    def checked(cls, sections: Mapping[str, Any]) -> "Parameters":
        """Return parameters from settings; what is wrong is said, what is not given is default.

        Raises
        ------
        SettingsError : a key or value is wrong, or a section is none of a trial's
        """
        if others := sorted(set(sections) - {*SECTIONS, "preset"}):
            raise SettingsError(
                f"{', '.join(others)}: no section of a trial; known: {', '.join(SECTIONS)}"
            )
        return cls.of(Experiment.checked(sections))

    @cached_property
    def text(self) -> str:
        """Canonical JSON: equal parameters have equal text."""
        return json.dumps(self.sections, sort_keys=True)

    @cached_property
    def digest(self) -> str:
        """Digest of the text."""
        return digest(self.text)


def sections_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial takes of an experiment file."""
    return {name: config[name] for name in (*SECTIONS, "preset") if name in config}
