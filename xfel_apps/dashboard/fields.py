"""Fields of a form, made from the JSON schema of the settings: type, unit, help, bounds."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from xfel_apps.catalog.parameters import SECTIONS
from xfel_apps.experiment import Experiment

BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
UNIT = re.compile(r"\[([^\]\d][^\]]*)\]")


@dataclass(frozen=True)
class FormField:
    """One setting as a field of a form.

    Attributes
    ----------
    key : `section.name`
    kind : `number`, `integer`, `boolean`, `choice`, `text`, or `json` for lists and the like
    unit, help : from the setting's description
    bounds : in words, such as "> 0, ≤ 1"
    minimum, maximum : that a browser can check; None: none
    choices : of a `choice`
    value : as text, as the field shows it
    default : likewise
    optional : whether it may be left empty, which is `null`
    """

    key: str
    kind: str
    unit: str
    help: str
    bounds: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    value: str
    default: str
    optional: bool

    @property
    def name(self) -> str:
        """Name of the setting in its section."""
        return self.key.partition(".")[2]


def form(parameters: Mapping[str, Mapping[str, Any]]) -> dict[str, list[FormField]]:
    """Return section -> fields of a form that shows a trial's parameters."""
    return {section: fields_of(section, parameters.get(section, {})) for section in SECTIONS}


@cache
def _schema() -> dict[str, Any]:
    return Experiment.model_json_schema()


def fields_of(section: str, values: Mapping[str, Any]) -> list[FormField]:
    """Return the fields of a section with these values; settings not given have their defaults."""
    schema = _schema()["$defs"][f"{section.capitalize()}Settings"]
    return [
        _field(f"{section}.{name}", entry, values.get(name, entry.get("default")))
        for name, entry in schema["properties"].items()
    ]


def _field(key: str, entry: Mapping[str, Any], value: Any) -> FormField:
    given = [item for item in entry.get("anyOf", [entry]) if item.get("type") != "null"]
    optional = len(given) < len(entry.get("anyOf", [entry]))
    kind = _kind(given)
    limits = given[0]
    text = " ".join(entry.get("description", "").split())
    unit = UNIT.findall(text)
    return FormField(
        key=key,
        kind=kind,
        unit=unit[-1] if unit else "",
        help=text,
        bounds=", ".join(f"{sign} {limits[name]:g}" for name, sign in BOUNDS.items()
                         if name in limits),
        minimum=limits.get("minimum", limits.get("exclusiveMinimum")),
        maximum=limits.get("maximum", limits.get("exclusiveMaximum")),
        choices=tuple(map(str, limits.get("enum", ()))),
        value=as_text(value, kind),
        default=as_text(entry.get("default"), kind),
        optional=optional,
    )  # fmt: skip


def _kind(given: list[Mapping[str, Any]]) -> str:
    if len(given) != 1:
        return "json"
    if "enum" in given[0]:
        return "choice"
    kinds = {"number": "number", "integer": "integer", "boolean": "boolean", "string": "text"}
    return kinds.get(str(given[0].get("type")), "json")


def as_text(value: Any, kind: str) -> str:
    """Return a setting's value as a field of this kind shows it; null is empty.

    >>> as_text(0.5, "number"), as_text(None, "text"), as_text([1, 2], "json")
    ('0.5', '', '[1, 2]')
    """
    if value is None:
        return ""
    if kind in ("json", "boolean"):
        return json.dumps(value)
    return f"{value:.12g}" if isinstance(value, float) else str(value)
