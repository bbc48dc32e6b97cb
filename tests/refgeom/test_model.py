from dataclasses import replace

import gemmi
import numpy as np
import pytest

from tests.refgeom.simulated import TARGET, WAVELENGTH_ANG, design, displaced, take_stills
from xfel_apps.refgeom.lattice import Target
from xfel_apps.refgeom.model import Crystals, Found, Poses, residuals
from xfel_apps.refgeom.normal import Scatter, crystal_blocks, crystal_steps, equations

KNOWN = Target(TARGET.cell, TARGET.space_group, True)
SCATTER = Scatter(0.2, 0.3, 50.0)
CELL_SIGMA = 0.002


@pytest.fixture(scope="module")
def small():
    """Three crystals in two runs on slightly displaced panels."""
    rng = np.random.default_rng(3)
    wrong = design()
    stills = take_stills(displaced(wrong, rng, 0.5, 2.0, 0.1), 3, rng)
    turns, strains = KNOWN.split(np.array(stills.lattices))
    crystal, panel, hkl, px = [], [], [], []
    for number, (indices, where, fast, slow) in enumerate(stills.spots):
        order = np.argsort(where, kind="stable")
        crystal.append(np.full(len(order), number))
        panel.append(where[order])
        hkl.append(indices[order])
        px.append(np.column_stack([fast, slow])[order])
    columns = [np.concatenate(part) for part in (crystal, panel, hkl, px)]
    angle = rng.uniform(0, 2 * np.pi, len(columns[0]))
    found = Found(*columns, np.column_stack([np.cos(angle), np.sin(angle)]))
    s0 = np.tile([0.0, 0.0, -1.0 / WAVELENGTH_ANG], (3, 1))
    crystals = Crystals(turns, strains, s0, np.array([0, 1, 0]))
    return Poses.of([wrong, displaced(wrong, rng, 1.0, 5.0, 0.0)]), crystals, found


@pytest.mark.parametrize("column", range(5))
def test_derivatives_by_the_crystal_are_the_numerical_ones(small, column):
    poses, crystals, found = small
    step = np.zeros((3, 5))
    step[:, column] = 1e-6
    ends = [
        residuals(poses, crystals.moved(sign * step), KNOWN, found).values for sign in (1.0, -1.0)
    ]
    numerical = (ends[0] - ends[1]) / 2e-6
    by_crystal = residuals(poses, crystals, KNOWN, found).by_crystal[:, :, column]
    np.testing.assert_allclose(by_crystal, numerical, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("column", range(6))
def test_derivatives_by_the_panel_are_the_numerical_ones(small, column):
    poses, crystals, found = small
    motion = np.zeros((2, 32, 6))
    motion[..., column] = 1e-5
    ends = [residuals(poses.moved(sign * motion), crystals, KNOWN, found) for sign in (1.0, -1.0)]
    numerical = (ends[0].values - ends[1].values)[:, :2] / 2e-5
    by_panel = residuals(poses, crystals, KNOWN, found).by_panel[:, :, column]
    np.testing.assert_allclose(by_panel, numerical, rtol=1e-5, atol=1e-4)


def test_elimination_solves_the_whole_system(small):
    """The slow direct way: one dense system of all panels, runs and crystals."""
    poses, crystals, found = small
    all_of = residuals(poses, crystals, KNOWN, found)
    weights = SCATTER.weights(all_of.values, found.crystal, 3)
    n_panel, n = 6 * 32 + 3 * 2, 6 * 32 + 3 * 2 + 15
    jacobian = np.zeros((len(found), 3, n))
    for i in range(len(found)):
        panel, crystal = found.panel[i], found.crystal[i]
        run = crystals.run[crystal]
        jacobian[i, :2, 6 * panel : 6 * panel + 6] = all_of.by_panel[i]
        jacobian[i, :2, 192 + 3 * run : 195 + 3 * run] = all_of.by_panel[i, :, :3]
        jacobian[i, :, n_panel + 5 * crystal : n_panel + 5 * crystal + 5] = all_of.by_crystal[i]
    flat, weight = jacobian.reshape(-1, n), weights.ravel()
    normal = flat.T @ (weight[:, None] * flat)
    right = -flat.T @ (weight * all_of.values.ravel())
    own, _ = crystal_blocks(all_of, weights, crystals, found.crystal, CELL_SIGMA)
    for i in range(3):
        part = slice(n_panel + 5 * i, n_panel + 5 * i + 5)
        right[part][3:] -= crystals.strains[i] / CELL_SIGMA**2
        normal[part, part] = own[i]
    restraint = np.diag(np.r_[np.full(n_panel, 1e2), np.zeros(15)])
    whole = np.linalg.solve(normal + restraint, right)
    made = equations(poses, crystals, found, KNOWN, (SCATTER, CELL_SIGMA))
    panels = np.linalg.solve(made.matrix + 1e2 * np.eye(n_panel), made.right)
    np.testing.assert_allclose(panels, whole[:n_panel], rtol=1e-6, atol=1e-9)
    motion = np.tile(panels[:192].reshape(1, 32, 6), (2, 1, 1))
    motion[:, :, :3] += panels[192:].reshape(2, 1, 3)
    steps = crystal_steps(poses, crystals, found, KNOWN, (SCATTER, motion, CELL_SIGMA))
    np.testing.assert_allclose(steps.ravel(), whole[n_panel:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("cell", "group", "n_free"),
    [
        ((50, 60, 70, 80, 95, 100), "P 1", 6),
        ((50, 60, 70, 90, 95, 90), "P 1 21 1", 4),
        ((50, 60, 70, 90, 90, 90), "P 21 21 21", 3),
        ((79, 79, 38, 90, 90, 90), "P 43 21 2", 2),
        ((93, 93, 130, 90, 90, 120), "P 61 2 2", 2),
        ((96, 96, 96, 90, 90, 90), "P 21 3", 1),
    ],
)
def test_strains_are_those_that_symmetry_leaves(cell, group, n_free):
    target = Target(cell, group, True)
    assert len(target.strains) == n_free
    for strain in target.strains:
        real = np.linalg.inv((np.eye(3) + 1e-3 * strain) @ target.b_matrix)
        lengths = np.linalg.norm(real, axis=1)
        angles = np.degrees(
            [
                np.arccos(real[i] @ real[j] / lengths[i] / lengths[j])
                for i, j in ((1, 2), (0, 2), (0, 1))
            ]
        )
        made = gemmi.UnitCell(*lengths, *angles)
        assert made.is_compatible_with_spacegroup(gemmi.SpaceGroup(group), 1e-6)


def test_a_lattice_is_split_and_put_together(small):
    _, crystals, _ = small
    strain = np.einsum("ns,sij->nij", crystals.strains, KNOWN.strains)
    again = crystals.turns @ (np.eye(3) + strain) @ KNOWN.b_matrix
    turns, strains = KNOWN.split(again)
    np.testing.assert_allclose(turns, crystals.turns, atol=1e-12)
    np.testing.assert_allclose(strains, crystals.strains, atol=1e-12)


def test_a_crystal_without_spots_holds_nothing_up(small):
    poses, crystals, found = small
    some = found.crystal != 1
    fewer = replace(
        found,
        **{
            name: getattr(found, name)[some] for name in ("crystal", "panel", "hkl", "px", "radial")
        },
    )
    steps = crystal_steps(
        poses, crystals, fewer, KNOWN, (SCATTER, np.zeros((2, 32, 6)), CELL_SIGMA)
    )
    assert np.all(steps[1, :3] == 0.0)
    assert np.all(np.isfinite(steps))
