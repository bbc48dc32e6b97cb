"""Write the pages and files that are made from the code: `make docs`.

docs/reference/settings.md, cli.md, products.md; config/experiment.yaml, experiment.schema.json.
A test fails when they are not what this would write.
"""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import yaml
from typer.cli import get_docs_for_click

from xfel_apps.cli import app
from xfel_apps.config import Section
from xfel_apps.containers import merge_state
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.refined import REFINED
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.rows import Rows
from xfel_apps.containers.spots import SPOTS
from xfel_apps.experiment import STAGES, Experiment
from xfel_apps.plan.settings import PlanSettings
from xfel_apps.simulate.settings import SimulateSettings

ROOT = Path(__file__).parents[1]
MADE = "<!-- made by `make docs`; change the code, not this page -->\n"


def pages() -> dict[Path, str]:
    """Return path -> text of everything that is generated."""
    return {
        Path("docs/reference/settings.md"): settings_page(),
        Path("docs/reference/cli.md"): cli_page(),
        Path("docs/reference/products.md"): products_page(),
        Path("config/experiment.yaml"): default_experiment(),
        Path("config/experiment.schema.json"): json.dumps(Experiment.model_json_schema(), indent=1)
        + "\n",
    }


def sections() -> dict[str, type[Section]]:
    """Return section name -> its class, in the order of the data flow."""
    fields = Experiment.model_fields
    names = ("worker", *STAGES, "refgeom", "diffbragg", "factors")
    named = {name: fields[name].annotation for name in names}
    return {**named, "simulate": SimulateSettings, "plan": PlanSettings}  # type: ignore[dict-item]  # all are sections


def settings_page() -> str:
    """Return the reference of all settings."""
    parts = [
        MADE,
        "# Settings\n",
        "An experiment file has these sections; every key has a default. Override one with "
        "`--set section.key=value` (xfelflow) or in the file (Snakemake). A key that is not here "
        "is refused before any work.\n",
        "## Top level\n",
        *_rows({k: v for k, v in Experiment.model_fields.items() if k not in sections()}),
    ]
    for name, section in sections().items():
        parts += [f"\n## {name}\n", (section.__doc__ or "").strip() + "\n"]
        parts += _rows(section.model_fields)
    return "\n".join(parts) + "\n"


def _rows(fields: dict[str, Any]) -> Iterator[str]:
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    yield from _row_of_each(fields, "")


def _row_of_each(fields: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, field in fields.items():
        name = prefix + key
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Section):
            yield from _row_of_each(type(default).model_fields, f"{name}.")
            continue
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | `{json.dumps(default, default=str)}` | {text} |"


def cli_page() -> str:
    """Return the reference of the command line."""
    command: Any = typer.main.get_command(app)
    context: Any = typer.Context(command, info_name="xfelflow")
    return MADE + get_docs_for_click(obj=command, ctx=context, name="xfelflow").strip() + "\n"


def products_page() -> str:
    """Return the reference of the containers' tables and columns."""
    parts = [MADE, "# Products\n", "One HDF5 file a rank; a group a table, a dataset a column.\n"]
    for product in (EVENTS, SPOTS, CRYSTALS, REFLECTIONS, REFINED):
        tables = {"shots": product.shots, **product.tables}
        title = f"{product.name} (written by {product.stage}, version {product.version})"
        parts += _tables(title, tables)
    title = f"merged.h5 (written by merge beside merged.json, version {merge_state.VERSION})"
    parts += _tables(title, merge_state.TABLES)
    return "\n".join(parts) + "\n"


def _tables(title: str, tables: Mapping[str, type[Rows]]) -> Iterator[str]:
    yield f"\n## {title}\n"
    for name, rows in tables.items():
        yield f"### {name}\n\n{inspect.getdoc(rows)}\n"
        yield from _columns(rows)
        yield ""


def _columns(rows: type[Rows]) -> Iterator[str]:
    yield "| column | type | unit | meaning |"
    yield "|---|---|---|---|"
    for name, meta in rows.schema().items():
        shape = f" {meta['shape']}" if meta["shape"] else ""
        yield f"| `{name}` | {meta['dtype'].str}{shape} | {meta['unit']} | {meta['doc']} |"


def default_experiment() -> str:
    """Return the default experiment file: every setting with its meaning."""
    lines = [
        "# Every setting with its default (made by `make docs`). Copy what you change.",
        "# yaml-language-server: $schema=experiment.schema.json",
    ]
    for name, field in Experiment.model_fields.items():
        section = sections().get(name)
        if section is None:
            lines += _entry(name, field, "")
        else:
            lines.append(f"\n{name}:")
            for key, item in section.model_fields.items():
                lines += _entry(key, item, "  ")
    return "\n".join(lines) + "\n"


def _entry(name: str, field: Any, indent: str) -> list[str]:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, Section):
        default = default.model_dump(mode="json")
    text = yaml.safe_dump(json.loads(json.dumps(default)), default_flow_style=True, width=1000)
    comment = " ".join((field.description or "").split())
    return [f"{indent}# {comment}", f"{indent}{name}: {text.removesuffix('...' + chr(10)).strip()}"]


def main() -> int:
    """Write everything that changed and say what."""
    for path, text in pages().items():
        target = ROOT / path
        if not target.exists() or target.read_text() != text:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
