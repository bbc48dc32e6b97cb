"""Typed settings: the base of every section, how they are read, overridden and digested.

Each stage has its own section in its `settings.py`; `xfel_apps.experiment` puts them together.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from xfel_apps.errors import SettingsError


class Section(BaseModel):
    """A group of settings: immutable, every key known, every field described with its unit."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the section written as JSON `text` (what a rule passes to an app)."""
        try:
            data = json.loads(text) if text.strip() else {}
        except json.JSONDecodeError as err:
            raise SettingsError(f"settings are not JSON ({err}): {text[:80]}") from err
        return cls.checked(data)

    @classmethod
    def checked(cls, data: Mapping[str, Any]) -> Self:
        """Return the section with `data`, or say in one line which key is wrong and why."""
        try:
            return cls.model_validate(data)
        except ValidationError as err:
            raise SettingsError(describe(err, cls.__name__)) from err

    def canonical(self) -> str:
        """Return the section as JSON with sorted keys: equal settings give equal text."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)


def describe(err: ValidationError, where: str) -> str:
    """Return one line that names each wrong key of a validation error and what is wrong."""
    parts = []
    for item in err.errors():
        key = ".".join(str(part) for part in item["loc"]) or where
        problem = "unknown setting" if item["type"] == "extra_forbidden" else item["msg"]
        given = "" if isinstance(item.get("input"), dict) else f" (given: {item.get('input')!r})"
        parts.append(f"{key}: {problem}{given}")
    return f"{where}: " + "; ".join(parts)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in the YAML file `path`."""
    try:
        data = yaml.safe_load(path.read_text())
    except FileNotFoundError as err:
        raise SettingsError(f"{path}: no such file; give an experiment file with --config") from err
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise SettingsError(f"{path}: not a readable YAML file ({err})") from err
    if not isinstance(data, dict):
        raise SettingsError(f"{path}: expected a mapping of sections, found {type(data).__name__}")
    return data


def override(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return `data` with `section.key=value` assignments applied (values are YAML).

    >>> override({"index": {"n": 1}}, ["index.n=2", "merge.d_min_ang=1.9"])
    {'index': {'n': 2}, 'merge': {'d_min_ang': 1.9}}
    """
    result = json.loads(json.dumps(data))
    for text in assignments:
        key, sep, value = text.partition("=")
        parts = key.strip().split(".")
        if not sep or not all(parts):
            raise SettingsError(f"--set {text!r}: expected section.key=value")
        node = result
        for part in parts[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise SettingsError(f"--set {text!r}: {part} is not a section")
        node[parts[-1]] = yaml.safe_load(value)
    return dict(result)


def digest(*parts: str) -> str:
    """Return a short, stable digest of the texts `parts` (SHA-256, 16 hex digits)."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part.encode())
        sha.update(b"\0")
    return sha.hexdigest()[:16]
