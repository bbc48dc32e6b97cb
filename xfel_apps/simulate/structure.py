"""Structure factors: of a model, of a data set, or of a structure made up for the occasion."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.errors import SettingsError, SourceError
from xfel_apps.simulate.globule import globule
from xfel_apps.simulate.settings import CrystalSettings

SOLVENT_DENSITY_E_ANG3 = 0.35
"""Mean electron density of the bulk solvent (Fokine & Urzhumtsev 2002, Acta D58, 1387)."""
SOLVENT_B_ANG2 = 46.0
"""Displacement parameter of the bulk solvent's edge (the same)."""


@dataclass(frozen=True)
class StructureFactors:
    """Amplitudes of every reflection of the asymmetric unit to a resolution.

    Attributes
    ----------
    cell, space_group : of the crystal
    hkl : (n, 3) Miller indices in gemmi's asymmetric unit
    plus, minus : (n,) |F| of each, and of its Friedel mate [electrons]
    """

    cell: gemmi.UnitCell
    space_group: gemmi.SpaceGroup
    hkl: NDArray[np.int64]
    plus: NDArray[np.float64]
    minus: NDArray[np.float64]

    @property
    def amplitudes(self) -> NDArray[np.float64]:
        """Root (n,) of the mean |F|^2 of the Friedel mates [electrons]."""
        return np.sqrt((self.plus**2 + self.minus**2) / 2.0)

    def dense(self) -> DenseIntensities:
        """Return |F|^2 of every reflection of the sphere."""
        operations = self.space_group.operations().sym_ops
        rotated = [self.hkl @ (np.array(op.rot) // gemmi.Op.DEN) for op in operations]
        indices = [sign * hkl for sign in (1, -1) for hkl in rotated]
        both = np.concatenate([np.tile(self.plus, len(rotated)), np.tile(self.minus, len(rotated))])
        return DenseIntensities.from_reflections(np.concatenate(indices), both)


def structure_factors(
    model: Path | None, settings: CrystalSettings, seed: int, energy_ev: float
) -> StructureFactors:
    """Return the structure factors of `model`: coordinates, an MTZ, or None for the built-in one.

    Parameters
    ----------
    model : PDB, mmCIF or MTZ file (coordinates may be gzipped)
    settings : resolution, what a built-in structure needs, and whether atoms scatter anomalously
    seed : of the built-in structure
    energy_ev : at which they do [eV]
    """
    anomalous_ev = energy_ev if settings.anomalous else None
    if model is None:
        return of_model(_built_in(settings, seed), settings.d_min_ang, anomalous_ev)
    if not model.is_file():
        raise SourceError(f"{model}: no such file; give a PDB, mmCIF or MTZ file, or no model")
    if model.suffix.lower() == ".mtz":
        if settings.anomalous:
            raise SettingsError("crystal.anomalous needs atoms: give coordinates, not an MTZ")
        return _guarded(model, lambda: of_mtz(model, settings))
    return _guarded(model, lambda: of_model(_read(model), settings.d_min_ang, anomalous_ev))


def _built_in(settings: CrystalSettings, seed: int) -> gemmi.Structure:
    heavy = (settings.heavy_element, settings.heavy_sites) if settings.heavy_element else None
    return globule(_cell(settings), _space_group(settings), seed, heavy)


def _guarded(model: Path, read: Callable[[], StructureFactors]) -> StructureFactors:
    """Return what `read` gives; what gemmi cannot read becomes an error that names the file."""
    try:
        return read()
    except (RuntimeError, ValueError, OSError) as err:
        raise SourceError(f"{model}: not a readable model or MTZ ({err})") from err


def _cell(settings: CrystalSettings) -> gemmi.UnitCell:
    cell = gemmi.UnitCell(*settings.cell)
    if not cell.is_compatible_with_spacegroup(_space_group(settings)):
        raise SettingsError(
            f"crystal.cell {settings.cell} does not fit crystal.space_group {settings.space_group}"
        )
    return cell


def _space_group(settings: CrystalSettings) -> gemmi.SpaceGroup:
    group = gemmi.find_spacegroup_by_name(settings.space_group)
    if group is None:
        raise SettingsError(
            f"crystal.space_group {settings.space_group!r}: not a Hermann-Mauguin symbol"
        )
    return group


def _read(path: Path) -> gemmi.Structure:
    """Return the structure in a coordinate file, with a cell, a space group and atoms."""
    structure = gemmi.read_structure(str(path))
    structure.setup_entities()
    if not structure.cell.is_crystal() or structure.find_spacegroup() is None:
        raise SourceError(f"{path}: no unit cell or space group; a crystal structure is needed")
    if not len(structure) or not structure[0].count_atom_sites():
        raise SourceError(f"{path}: no atoms in it; give coordinates or an MTZ")
    return structure


def of_model(
    structure: gemmi.Structure, d_min_ang: float, anomalous_ev: float | None = None
) -> StructureFactors:
    """Return amplitudes of atoms and flat bulk solvent, to `d_min_ang` [Angstrom].

    Atoms through a density map (Ten Eyck 1977, Acta A33, 486), solvent through its mask. At
    `anomalous_ev` [eV] atoms have f' and f'' (Cromer & Liberman 1981, Acta A37, 267): with F of all
    but f'' and F'' of f'' alone, the Friedel mates are |F + i F''| and |F - i F''|.
    """
    group = structure.find_spacegroup()
    resonance = _resonance(structure, anomalous_ev)
    real = {element: f1 for element, (f1, _) in resonance.items()}
    calculated = _of_atoms(structure, d_min_ang, real)
    imaginary = np.zeros(len(calculated.value_array), complex)
    if resonance:
        both = {element: f1 + f2 for element, (f1, f2) in resonance.items()}
        imaginary = _of_atoms(structure, d_min_ang, both).value_array - calculated.value_array
    solvent = gemmi.Scaling(structure.cell, group)
    solvent.use_solvent = True
    solvent.k_sol, solvent.b_sol = SOLVENT_DENSITY_E_ANG3, SOLVENT_B_ANG2
    solvent.scale_data(calculated, _solvent_mask(structure, d_min_ang))
    return StructureFactors(
        structure.cell,
        group,
        np.array(calculated.miller_array, dtype=np.int64),
        np.abs(calculated.value_array + 1j * imaginary).astype(float),
        np.abs(calculated.value_array - 1j * imaginary).astype(float),
    )


def _resonance(
    structure: gemmi.Structure, energy_ev: float | None
) -> dict[str, tuple[float, float]]:
    """Return f' and f'' of each element of the structure [electrons]; nothing at no energy."""
    if energy_ev is None:
        return {}
    names = sorted({site.atom.element.name for site in structure[0].all()})
    return {
        name: gemmi.cromer_liberman(z=gemmi.Element(name).atomic_number, energy=energy_ev)
        for name in names
    }


def _of_atoms(
    structure: gemmi.Structure, d_min_ang: float, added: dict[str, float]
) -> gemmi.ComplexAsuData:
    """Return structure factors of the atoms with `added` to each element's form factor."""
    density = gemmi.DensityCalculatorX()
    density.d_min = d_min_ang
    for name, value in added.items():
        density.addends.set(gemmi.Element(name), value)
    density.grid.setup_from(structure)
    density.set_refmac_compatible_blur(structure[0])
    density.put_model_density_on_grid(structure[0])
    grid = gemmi.transform_map_to_f_phi(density.grid)
    return grid.prepare_asu_data(dmin=d_min_ang, unblur=density.blur)


def _solvent_mask(structure: gemmi.Structure, d_min_ang: float) -> gemmi.ComplexAsuData:
    """Return the structure factors of the region between the molecules, of density 1."""
    mask = gemmi.FloatGrid()
    mask.setup_from(structure, spacing=min(0.6, d_min_ang / 3.0))
    masker = gemmi.SolventMasker(gemmi.AtomicRadiiSet.Cctbx)
    masker.put_mask_on_float_grid(mask, structure[0])
    return gemmi.transform_map_to_f_phi(mask).prepare_asu_data(dmin=d_min_ang)


def of_mtz(path: Path, settings: CrystalSettings) -> StructureFactors:
    """Return the amplitudes in an MTZ, reduced to the asymmetric unit; unmeasured ones are 0."""
    mtz = gemmi.read_mtz_file(str(path))
    column = _mtz_column(path, mtz, settings.mtz_label)
    hkl = np.array(mtz.make_miller_array(), dtype=np.int64)
    values = np.array(column.array, dtype=float)
    if column.type in "JKM":
        values = np.sqrt(np.maximum(values, 0.0))
    keep = np.isfinite(values) & (mtz.make_d_array() >= settings.d_min_ang)
    asu, operations = gemmi.ReciprocalAsu(mtz.spacegroup), mtz.spacegroup.operations()
    reduced = np.array([asu.to_asu(list(index), operations)[0] for index in hkl[keep].tolist()])
    unique, first = np.unique(reduced.reshape(-1, 3), axis=0, return_index=True)
    if not len(unique):
        raise SourceError(f"{path}: column {column.label} has nothing to {settings.d_min_ang} A")
    amplitudes = values[keep][first]
    return StructureFactors(mtz.cell, mtz.spacegroup, unique, amplitudes, amplitudes)


def _mtz_column(path: Path, mtz: gemmi.Mtz, label: str) -> gemmi.Mtz.Column:
    """Return the column named `label`, or the first with amplitudes, else intensities."""
    if label:
        column = mtz.column_with_label(label)
        found = [column] if column is not None else []
    else:
        found = [column for kind in "FJ" for column in mtz.columns_with_type(kind)]
    if not found:
        labels = ", ".join(str(column.label) for column in mtz.columns)
        raise SourceError(
            f"{path}: no column {label or 'of type F or J'}; it has {labels}; set crystal.mtz_label"
        )
    return found[0]
