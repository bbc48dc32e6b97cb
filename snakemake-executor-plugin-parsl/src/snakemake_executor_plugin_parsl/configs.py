"""Finding and calling the function that makes Parsl's configuration."""

import inspect
import os
import shutil
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from parsl.config import Config

from snakemake_executor_plugin_parsl.errors import RefusalError
from snakemake_executor_plugin_parsl.settings import ExecutorSettings

NOT_FOR_CONFIGS = ("config", "tries")


def load_config(settings: ExecutorSettings, folder: Path) -> Config:
    """Return Parsl's configuration for these settings.

    Parameters
    ----------
    settings : with the name of the module and what its `make_config` is called with
    folder : of the Snakefile; `parsl_configs` is looked for beside it

    Raises
    ------
    RefusalError : there is no such module, or it refuses the settings
    """
    make_config = find_config(settings.config, folder)
    try:
        config = make_config(**chosen(settings, make_config))
    except ValueError as error:
        raise RefusalError(f"--parsl-config {settings.config}: {error}") from None
    assert isinstance(config, Config)
    return config


def find_config(name: str, folder: Path) -> Any:
    """Return the function `make_config` of a module in `parsl_configs`, or of a dotted name."""
    module = name if "." in name else f"parsl_configs.{name}"
    sys.path.insert(0, str(folder))
    try:
        return import_module(module).make_config
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise RefusalError(
            f"--parsl-config {name}: no module {module}; "
            f"known in {folder / 'parsl_configs'}: {', '.join(known(folder))}"
        ) from None
    finally:
        sys.path.remove(str(folder))


def known(folder: Path) -> list[str]:
    """Return the names of the configurations beside a Snakefile."""
    names = [module.name for module in iter_modules([str(folder / "parsl_configs")])]
    return sorted(name for name in names if not name.startswith("_"))


def chosen(settings: ExecutorSettings, make_config: Any) -> dict[str, Any]:
    """Return the settings that were given; each must be one that the configuration takes."""
    given = {
        name: value
        for name, value in vars(settings).items()
        if value is not None and name not in NOT_FOR_CONFIGS
    }
    taken = list(inspect.signature(make_config).parameters)
    if unknown := sorted(set(given) - set(taken)):
        raise RefusalError(
            f"--parsl-config {settings.config} has no {', '.join(unknown)}; it takes: "
            f"{', '.join(taken) or 'nothing'}"
        )
    return given


def own_executors(config: Config) -> list[Any]:
    """Return a configuration's executors, ready to be started by a program with a terminal.

    Their interfaces say less than they have, hence Any.
    """
    _put_on_path("interchange.py")
    executors: list[Any] = [x for x in config.executors if x.label != "_parsl_internal"]
    for executor in executors:
        executor.interchange_launch_cmd = _apart(executor.interchange_launch_cmd)
    return executors


def _put_on_path(program: str) -> None:
    """Let Parsl and its blocks find programs of this environment, if it is not activated."""
    if shutil.which(program) is None:
        folder = Path(sys.executable).parent
        os.environ["PATH"] = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"


def _apart(command: list[str]) -> list[str]:
    """Return a command line for Parsl's interchange that keeps it apart from the terminal.

    Ctrl-C is for the program that uses Parsl, which then ends the blocks in order. If that one is
    killed, so is the interchange, and the blocks end by themselves when they miss it.
    """
    return ["setpriv", "--pdeathsig", "TERM", "setsid", *command]
