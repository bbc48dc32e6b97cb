# The compiled module, built from kernels/. The twins in xfel_apps.compute carry the types.
from typing import Any

def __getattr__(name: str) -> Any: ...
