"""Structure factors against a direct sum over atoms, and against what was put in a file."""

from pathlib import Path

import gemmi
import numpy as np
import pytest

from xfel_apps.errors import SettingsError, SourceError
from xfel_apps.simulate.globule import NEAREST_ANG, globule
from xfel_apps.simulate.settings import CrystalSettings
from xfel_apps.simulate.structure import structure_factors

TRIGONAL = CrystalSettings(cell=(45, 45, 60, 90, 90, 120), space_group="P 63", d_min_ang=2.2)


@pytest.fixture(scope="module")
def structure() -> gemmi.Structure:
    cell = gemmi.UnitCell(*TRIGONAL.cell)
    return globule(cell, gemmi.SpaceGroup(TRIGONAL.space_group), seed=5)


@pytest.fixture(scope="module")
def factors():
    return structure_factors(None, TRIGONAL, seed=5)


def test_amplitudes_are_the_direct_sum_over_atoms_where_solvent_does_not_reach(structure, factors):
    """In P63 a wrong transposition of the symmetry operators would exchange other reflections."""
    rng = np.random.default_rng(0)
    d_ang = factors.cell.calculate_d_array(factors.hkl)
    chosen = rng.choice(np.flatnonzero(d_ang < 2.6), 100, replace=False)
    direct = gemmi.StructureFactorCalculatorX(structure.cell)
    dense = factors.dense()
    rotations = [np.array(op.rot) // op.DEN for op in factors.space_group.operations()]
    for hkl in factors.hkl[chosen]:
        mate = rng.choice([-1, 1]) * hkl @ rotations[rng.integers(len(rotations))]
        expected = abs(direct.calculate_sf_from_model(structure[0], mate.tolist()))
        found = np.sqrt(dense.at(mate[None])[0])
        assert found == pytest.approx(expected, rel=0.05, abs=8.0)


def test_solvent_weakens_low_orders(structure, factors):
    """A protein in solvent of 0.35 e/A^3 has less contrast than in vacuum."""
    d_ang = factors.cell.calculate_d_array(factors.hkl)
    direct = gemmi.StructureFactorCalculatorX(structure.cell)
    low = factors.hkl[d_ang > 12.0]
    vacuum = [abs(direct.calculate_sf_from_model(structure[0], hkl.tolist())) for hkl in low]
    assert np.mean(factors.amplitudes[d_ang > 12.0] ** 2) < 0.5 * np.mean(np.square(vacuum))


def test_globule_has_the_density_of_a_protein_and_no_clashes(structure):
    atoms = np.array([site.atom.pos.tolist() for site in structure[0].all()])
    apart = np.linalg.norm(atoms[:, None] - atoms[None], axis=2)
    assert apart[np.triu_indices(len(atoms), 1)].min() >= NEAREST_ANG
    assert len(atoms) == pytest.approx(structure.cell.volume / 6 * 0.55 / 17.0, abs=1)


def test_same_seed_same_structure(structure):
    again = globule(structure.cell, gemmi.SpaceGroup("P 63"), seed=5)
    other = globule(structure.cell, gemmi.SpaceGroup("P 63"), seed=6)
    assert again.make_pdb_string() == structure.make_pdb_string() != other.make_pdb_string()


def test_coordinates_and_mtz_give_the_same_amplitudes(tmp_path: Path, structure, factors):
    structure.write_pdb(str(tmp_path / "model.pdb"))
    mtz = gemmi.Mtz(with_base=True)
    mtz.spacegroup, mtz.cell = factors.space_group, factors.cell
    mtz.add_dataset("simulated")
    mtz.add_column("I", "J")
    mtz.set_data(np.column_stack([factors.hkl, factors.amplitudes**2]).astype(np.float32))
    mtz.write_to_file(str(tmp_path / "data.mtz"))
    from_model = structure_factors(tmp_path / "model.pdb", TRIGONAL, seed=0)
    from_mtz = structure_factors(tmp_path / "data.mtz", TRIGONAL, seed=0)
    np.testing.assert_allclose(from_model.amplitudes, factors.amplitudes, rtol=0.1, atol=10.0)
    probe = factors.hkl[::7]
    np.testing.assert_allclose(from_mtz.dense().at(probe), factors.amplitudes[::7] ** 2, rtol=1e-4)


def test_what_cannot_be_used_is_named(tmp_path: Path):
    (tmp_path / "model.pdb").write_text("no atoms here\n")
    with pytest.raises(SourceError, match=r"model\.pdb"):
        structure_factors(tmp_path / "model.pdb", TRIGONAL, 1)
    with pytest.raises(SourceError, match=r"absent\.cif: no such file"):
        structure_factors(tmp_path / "absent.cif", TRIGONAL, 1)
    with pytest.raises(SettingsError, match="does not fit"):
        structure_factors(None, TRIGONAL.model_copy(update={"cell": (40, 45, 60, 90, 90, 90)}), 1)
    with pytest.raises(SettingsError, match="P 9"):
        structure_factors(None, TRIGONAL.model_copy(update={"space_group": "P 9"}), 1)
