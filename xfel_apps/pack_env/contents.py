"""What of an environment is needed where jobs run: distributions, packages, files."""

import importlib.metadata as metadata
import importlib.util
import json
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import iter_modules

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from xfel_apps.errors import PackError

ROOTS = ("xfelflow", "snakemake-executor-plugin-parsl")
"""Distributions that are packed with all that they need."""
OWN_PACKAGES = ("xfel_apps", "snakemake_executor_plugin_parsl")
"""Packages of ours, which are importable also where they are not installed (PYTHONPATH)."""
NOT_RUN = {".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pyi", ".pyx"}
"""Endings of files that only compilers and type checkers read."""
NOT_PACKAGES = {"benchmarks", "conftest", "docs", "examples", "setup", "test", "tests"}
"""Folders that lie beside packages in a checkout."""


@dataclass(frozen=True)
class Entry:
    """A file and its name in the archive."""

    source: Path
    name: str


def distributions(roots: Iterable[str]) -> dict[str, metadata.Distribution]:
    """Return name -> distribution of the roots and of all that they require here.

    Raises
    ------
    PackError : a root is not installed, or conda installed one of the distributions
    """
    found: dict[str, metadata.Distribution] = {}
    done: set[tuple[str, str]] = set()
    wanted = [Requirement(root) for root in roots]
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        found[name] = _installed(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in done if n == name}:
            done.add((name, extra))
            needs = map(Requirement, found[name].requires or ())
            wanted += [r for r in needs if not r.marker or r.marker.evaluate({"extra": extra})]
    return found


def _installed(name: str) -> metadata.Distribution:
    try:
        found = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        raise PackError(f"{name} is not installed in {sys.prefix}: `pip install {name}`") from None
    if (found.read_text("INSTALLER") or "").strip() == "conda" or found.files is None:
        raise PackError(
            f"{name} in {sys.prefix} was not installed by pip or uv, so its libraries are not known"
            ": make an environment with `make install`, or pack this one with conda-pack"
        )
    return found


def roots() -> list[str]:
    """Return what to start from: our distributions, or what the checkout's pyproject.toml asks for.

    The latter where the checkout is on PYTHONPATH and not installed.
    """
    installed = [name for name in ROOTS if _is_installed(name)]
    if ROOTS[0] in installed:
        return installed
    checkout = Path(__file__).parents[2] / "pyproject.toml"
    if not checkout.is_file():
        raise PackError(f"xfelflow is not installed in {sys.prefix}: run `make install`")
    needed: list[str] = tomllib.loads(checkout.read_text())["project"]["dependencies"]
    return [*installed, *needed]


def _is_installed(name: str) -> bool:
    return bool(list(metadata.distributions(name=name)))


def installed_files(distribution: metadata.Distribution, site: str) -> Iterator[Entry]:
    """Yield what an installed distribution needs when it runs, without links to its sources.

    Parameters
    ----------
    distribution : with a RECORD
    site : site-packages in the archive, relative to the environment
    """
    root = Path(str(distribution.locate_file(""))).resolve()
    prefix = Path(*root.parts[: -len(Path(site).parts)])
    hooks = {".pth", ".py"} if is_editable(distribution) else set()
    for file in distribution.files or ():
        path = Path(str(distribution.locate_file(file)))
        is_hook = len(file.parts) == 1 and file.suffix in hooks
        if is_hook or not is_needed(Path(file)) or not path.is_file():
            continue
        if ".." not in file.parts:
            yield Entry(path, f"{site}/{file}")
        elif (inside := path.parent.resolve() / path.name).is_relative_to(prefix):
            yield Entry(path, str(inside.relative_to(prefix)))


def is_needed(file: Path) -> bool:
    """Return whether a file may be read when jobs run.

    >>> [is_needed(Path(x)) for x in ("a/b.py", "a/tests/b.py", "a/b.pyi", "../share/man/a.1")]
    [True, False, False, False]
    """
    is_manual = "share" in file.parts and not {"man", "doc"}.isdisjoint(file.parts)
    is_cache = file.suffix == ".pyc" or "__pycache__" in file.parts
    return file.suffix not in NOT_RUN and "tests" not in file.parts[:-1] and not (
        is_manual or is_cache
    )  # fmt: skip


def is_editable(distribution: metadata.Distribution) -> bool:
    """Return whether a distribution is installed as a link to its sources (pip install -e)."""
    origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable", False))


def editable_packages(distribution: metadata.Distribution) -> set[str]:
    """Return the names of the packages that an editable installation makes importable.

    They are in top_level.txt, among its installed files (compiled modules), or in the folders
    that its .pth file adds to Python's path.
    """
    names = set((distribution.read_text("top_level.txt") or "").split())
    for file in distribution.files or ():
        if len(file.parts) > 1 and ".." not in file.parts and file.parts[0].isidentifier():
            names.add(file.parts[0])
        if file.suffix == ".pth":
            names |= _packages_of_path_file(Path(str(distribution.locate_file(file))))
    return names - NOT_PACKAGES - {"__pycache__"}


def _packages_of_path_file(path: Path) -> set[str]:
    lines = path.read_text().splitlines()
    folders = [line for line in lines if line and not line.startswith(("#", "import "))]
    return {module.name for module in iter_modules(folders)}


def package_files(name: str, site: str) -> Iterator[Entry]:
    """Yield the files of an importable package or module, wherever they lie.

    Parameters
    ----------
    name : that it is imported by
    site : site-packages in the archive
    """
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise PackError(f"no package {name} in {sys.prefix} nor on PYTHONPATH: is it misspelt?")
    if not spec.submodule_search_locations:
        yield Entry(Path(str(spec.origin)), f"{site}/{Path(str(spec.origin)).name}")
    for folder in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and is_needed(path.relative_to(folder)):
                yield Entry(path, f"{site}/{name}/{path.relative_to(folder)}")


def environment_files(site: str, extra: Sequence[str]) -> tuple[list[Entry], list[str]]:
    """Return the files of the environment that runs this, and the packages taken from elsewhere.

    Parameters
    ----------
    site : site-packages in the archive
    extra : more packages, by the names they are imported by
    """
    found = distributions(roots())
    editable = [each for each in found.values() if is_editable(each)]
    packages = set(extra).union(*map(editable_packages, editable))
    packages |= {name for name in OWN_PACKAGES if importlib.util.find_spec(name)}
    entries = [entry for each in found.values() for entry in installed_files(each, site)]
    entries += [entry for name in sorted(packages) for entry in package_files(name, site)]
    # A file of a package is in its installed distribution as well: one of them is enough.
    return list({entry.name: entry for entry in entries}.values()), sorted(packages)
