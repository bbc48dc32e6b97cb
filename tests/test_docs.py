"""Pages and files made from the code are what the code makes; links in the docs lead somewhere."""

import re
from pathlib import Path

import pytest

from docs.generate import pages

ROOT = Path(__file__).parents[1]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", pages(), ids=str)
def test_generated_files_are_up_to_date(path):
    assert (ROOT / path).read_text() == pages()[path], "run `make docs`"


@pytest.mark.parametrize("page", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page}: {target}"
