"""New trials and datasets, and changes of datasets."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from xfel_apps.catalog import edits, queries
from xfel_apps.catalog.edits import Editor as CatalogEditor
from xfel_apps.catalog.selection import Selection
from xfel_apps.dashboard.fields import form
from xfel_apps.dashboard.render import render
from xfel_apps.dashboard.room import room_of
from xfel_apps.dashboard.sessions import Editor
from xfel_apps.errors import SettingsError

router = APIRouter(prefix="/trials")
MAX_TAGS = 50


class Asked(BaseModel):
    """What an edit is asked for with; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class NewTrial(Asked):
    """A trial like `base` with other settings; `number` is what the editor was told it will be."""

    base: str = Field(max_length=64)
    number: int
    comment: str = Field(default="", max_length=240)
    changes: dict[str, dict[str, Any]] = Field(default_factory=dict)


class Rules(Asked):
    """Tags of a dataset."""

    any: list[str] = Field(default_factory=list, max_length=MAX_TAGS)
    all: list[str] = Field(default_factory=list, max_length=MAX_TAGS)
    none: list[str] = Field(default_factory=list, max_length=MAX_TAGS)

    @property
    def selection(self) -> Selection:
        """The rules as the catalog knows them."""
        return Selection(tuple(self.any), tuple(self.all), tuple(self.none))


class NewDataset(Rules):
    """A dataset of a trial."""

    name: str = Field(max_length=200)


class ChangedDataset(Rules):
    """Other tags of a dataset; `revision` is that of the dataset as the editor saw it."""

    revision: int


@router.get("/new")
def new_page(request: Request, base: str = "") -> HTMLResponse:
    """Return the form for a new trial."""
    room = room_of(request)
    trials = room.ask(queries.trials)
    if not trials:
        raise SettingsError("the catalog has no trial to start from yet; `xfelflow trial new`")
    found = next((item for item in trials if item.name == base), trials[-1])
    return render(
        request,
        "trial-new.html",
        base=found,
        number=max(item.number for item in trials) + 1,
        sections=form(found.parameters),
    )


@router.post("")
def new_trial(request: Request, asked: NewTrial, who: Editor) -> dict[str, str]:
    """Make a trial and say where it is shown."""
    if not any(asked.changes.values()):
        raise SettingsError("nothing is changed; a trial with the same settings is the same trial")

    def work(editor: CatalogEditor) -> str:
        parameters = edits.changed(editor, asked.base, asked.changes)
        return edits.new_trial(editor, parameters, asked.base, asked.comment, asked.number)

    name = room_of(request).edit(who, work)
    return {"trial": name, "go": f"/trials?trial={name}"}


@router.post("/{trial}/datasets")
def new_dataset(request: Request, trial: str, asked: NewDataset, who: Editor) -> dict[str, str]:
    """Make a dataset of a trial."""
    room_of(request).edit(who, edits.new_dataset, trial, asked.name, asked.selection)
    return {"message": f"dataset {asked.name} is made"}


@router.put("/{trial}/datasets/{name}")
def change_dataset(
    request: Request, trial: str, name: str, asked: ChangedDataset, who: Editor
) -> dict[str, int]:
    """Give a dataset other tags."""
    work = edits.change_dataset
    room = room_of(request)
    return {"revision": room.edit(who, work, trial, name, asked.selection, asked.revision)}
