"""Structure factors as a dense box, so that a kernel finds one by index arithmetic."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xfel_apps import _kernels


@dataclass(frozen=True)
class DenseIntensities:
    """|F|^2 of every Miller index between two corners; the box is not to be changed afterwards.

    Attributes
    ----------
    box : (n_h, n_k, n_l) |F|^2 [electrons^2]; 0 where none is known
    lowest : Miller index of ``box[0, 0, 0]``
    """

    box: NDArray[np.float64]
    lowest: tuple[int, int, int]

    @classmethod
    def from_reflections(
        cls, hkl: NDArray[np.int64], amplitudes: NDArray[np.float64]
    ) -> "DenseIntensities":
        """Return the box that holds `hkl` (n, 3), every symmetry and Friedel mate listed.

        >>> dense = DenseIntensities.from_reflections(np.array([[1, 0, -2]]), np.array([3.0]))
        >>> dense.at(np.array([[1, 0, -2], [7, 0, 0]]))
        array([9., 0.])
        """
        lowest = hkl.min(axis=0)
        box = np.zeros(hkl.max(axis=0) - lowest + 1)
        box[tuple((hkl - lowest).T)] = np.square(amplitudes)
        h, k, l = (int(index) for index in lowest)  # noqa: E741 - as crystallographers write it
        return cls(box, (h, k, l))

    def at(self, hkl: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return |F|^2 (n,) of `hkl` (n, 3), 0 outside the box."""
        index = hkl - np.array(self.lowest)
        inside = np.all((index >= 0) & (index < self.box.shape), axis=1)
        values = np.zeros(len(hkl))
        values[inside] = self.box[tuple(index[inside].T)]
        return values

    @cached_property
    def on_device(self) -> _kernels.ResidentTable:
        """|F|^2 where the kernels run: taken there once, and kept there between shots."""
        return _kernels.ResidentTable(np.ascontiguousarray(self.box, np.float64), self.lowest)

    @cached_property
    def amplitudes_on_device(self) -> _kernels.ResidentTable:
        """|F| where the kernels run, to be interpolated."""
        return _kernels.ResidentTable(np.sqrt(self.box), self.lowest)

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs: not what lies on this one's device."""
        return {"box": self.box, "lowest": self.lowest}
