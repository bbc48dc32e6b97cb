"""Blocks that run a packed Python environment from their nodes' own disks."""

from pathlib import Path
from shlex import quote

MARK = b"# Made by `xfelflow pack-env`"


def activation(environment: str | None) -> tuple[str, ...]:
    """Return the shell commands that put a packed environment first on a block's PATH.

    A block whose nodes have no room for it goes on without, in the environment that it started in.

    Parameters
    ----------
    environment : the script that `xfelflow pack-env` wrote; None: nothing is to be done

    Raises
    ------
    ValueError : it is no such script
    """
    if environment is None:
        return ()
    script = Path(environment).absolute()
    if not script.is_file():
        raise ValueError(f"no environment {environment}: `xfelflow pack-env` makes one")
    with script.open("rb") as file:
        if not file.read(len(MARK)) == MARK:
            raise ValueError(
                f"environment {environment}: the script is wanted that `xfelflow pack-env` wrote "
                "beside the archive, ENVIRONMENT.sh"
            )
    return (f"source {quote(str(script))} || echo 'going on with the shared environment' >&2",)
