"""The Python environment in one archive, for jobs that run from their nodes' own disks.

Tools that exist do not fit: venv-pack 0.2 refuses editable installations (`make install` makes
one) and leaves the interpreter out; conda-pack packs conda environments.
"""

from xfel_apps.pack_env.measure import measure_start
from xfel_apps.pack_env.pack import PackedEnvironment, pack_env

__all__ = ["PackedEnvironment", "measure_start", "pack_env"]
