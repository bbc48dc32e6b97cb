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
    return structure_factors(None, TRIGONAL, seed=5, energy_ev=9500.0)


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
    from_model = structure_factors(tmp_path / "model.pdb", TRIGONAL, seed=0, energy_ev=9500.0)
    from_mtz = structure_factors(tmp_path / "data.mtz", TRIGONAL, seed=0, energy_ev=9500.0)
    np.testing.assert_allclose(from_model.amplitudes, factors.amplitudes, rtol=0.1, atol=10.0)
    probe = factors.hkl[::7]
    np.testing.assert_allclose(from_mtz.dense().at(probe), factors.amplitudes[::7] ** 2, rtol=1e-4)


def test_what_cannot_be_used_is_named(tmp_path: Path):
    (tmp_path / "model.pdb").write_text("no atoms here\n")
    with pytest.raises(SourceError, match=r"model\.pdb"):
        structure_factors(tmp_path / "model.pdb", TRIGONAL, 1, 9500.0)
    with pytest.raises(SourceError, match=r"absent\.cif: no such file"):
        structure_factors(tmp_path / "absent.cif", TRIGONAL, 1, 9500.0)
    with pytest.raises(SettingsError, match="does not fit"):
        structure_factors(
            None, TRIGONAL.model_copy(update={"cell": (40, 45, 60, 90, 90, 90)}), 1, 9500.0
        )
    with pytest.raises(SettingsError, match="P 9"):
        structure_factors(None, TRIGONAL.model_copy(update={"space_group": "P 9"}), 1, 9500.0)


GADOLINIUM = TRIGONAL.model_copy(update={"heavy_element": "Gd", "anomalous": True})


@pytest.fixture(scope="module")
def anomalous():
    return structure_factors(None, GADOLINIUM, seed=5, energy_ev=9500.0)


def _direct(structure: gemmi.Structure, hkl: np.ndarray) -> complex:
    """Return the sum over atoms of (f0 + f' + i f'') exp(2 pi i h x) exp(-B s^2)."""
    stol2 = structure.cell.calculate_1_d2(hkl.tolist()) / 4.0
    total = 0j
    for site in structure[0].all():
        atom = site.atom
        f1, f2 = gemmi.cromer_liberman(z=atom.element.atomic_number, energy=9500.0)
        factor = atom.element.it92.calculate_sf(stol2) + f1 + 1j * f2
        x = np.array(structure.cell.fractionalize(atom.pos).tolist())
        for op in structure.find_spacegroup().operations():
            mate = np.array(op.rot) / op.DEN @ x + np.array(op.tran) / op.DEN
            total += factor * np.exp(2j * np.pi * hkl @ mate - atom.b_iso * stol2)
    return total


def test_friedel_mates_are_the_direct_sum_over_atoms_with_resonance(anomalous):
    heavy = globule(anomalous.cell, anomalous.space_group, 5, heavy=("Gd", 2))
    d_ang = anomalous.cell.calculate_d_array(anomalous.hkl)
    chosen = np.random.default_rng(0).choice(np.flatnonzero(d_ang < 2.6), 8, replace=False)
    dense = anomalous.dense()
    for row in chosen:
        hkl = anomalous.hkl[row]
        plus, minus = abs(_direct(heavy, hkl)), abs(_direct(heavy, -hkl))
        found = np.sqrt(dense.at(np.array([hkl, -hkl])))
        np.testing.assert_array_equal(found, [anomalous.plus[row], anomalous.minus[row]])
        np.testing.assert_allclose(found, [plus, minus], rtol=0.05, atol=8.0)
        assert found[0] - found[1] == pytest.approx(plus - minus, rel=0.05, abs=0.5)


def test_friedel_mates_differ_only_where_symmetry_lets_them(anomalous, factors):
    group = anomalous.space_group.operations()
    is_centric = np.array([group.is_reflection_centric(hkl) for hkl in anomalous.hkl.tolist()])
    differ = np.abs(anomalous.plus - anomalous.minus)
    assert differ[is_centric].max() < 1e-4 * anomalous.amplitudes.mean()
    # two Gd of f'' = 10.6 an asymmetric unit among 1,020 light atoms
    assert 0.05 < differ[~is_centric].mean() / anomalous.amplitudes.mean() < 0.2
    np.testing.assert_array_equal(factors.plus, factors.minus)


def test_an_mtz_has_no_atoms_that_scatter_anomalously(tmp_path: Path):
    (tmp_path / "data.mtz").touch()
    with pytest.raises(SettingsError, match="needs atoms"):
        structure_factors(tmp_path / "data.mtz", GADOLINIUM, 1, 9500.0)
