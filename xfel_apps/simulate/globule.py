"""A made-up protein: atoms packed as densely as in one, for runs that need no model file."""

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Array = NDArray[np.float64]

ELEMENTS = ("C", "N", "O", "S")
COMPOSITION = (0.63, 0.17, 0.19, 0.01)
"""Shares of the atoms of a protein without hydrogen (lysozyme: 0.61, 0.19, 0.19, 0.01)."""
ATOM_VOLUME_ANG3 = 17.0
"""Volume of protein a non-hydrogen atom (Matthews 1968, J. Mol. Biol. 33, 491: 1.23 A^3 a Da)."""
SOLVENT_FRACTION = 0.45
"""Share of a protein crystal's volume filled with solvent (the same)."""
NEAREST_ANG = 1.4
"""No two atoms are closer: a short covalent bond."""
B_MEAN_ANG2, B_SPREAD_ANG2 = 25.0, 7.0
"""Displacement parameters: of a good room-temperature structure."""
TRIES = 64
"""Places tried for the molecule; the one farthest from its symmetry mates is taken."""


def globule(
    cell: gemmi.UnitCell,
    group: gemmi.SpaceGroup,
    seed: int,
    heavy: tuple[str, int] | None = None,
) -> gemmi.Structure:
    """Return a ball of atoms with a protein's composition, density and solvent content.

    Parameters
    ----------
    cell, group : of the crystal, one molecule an asymmetric unit
    seed : equal seeds give equal structures
    heavy : element and number of heavy atoms that take the place of others
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0x676C6F62)))
    volume_ang3 = cell.volume / len(group.operations()) * (1.0 - SOLVENT_FRACTION)
    n_atoms = max(1, round(volume_ang3 / ATOM_VOLUME_ANG3))
    atoms = _ball(n_atoms, rng) + _centre(cell, group, rng)
    names = rng.choice(ELEMENTS, size=n_atoms, p=COMPOSITION)
    if heavy is not None:
        names = _exchange(names, *heavy, seed)
    b_iso = np.clip(rng.normal(B_MEAN_ANG2, B_SPREAD_ANG2, n_atoms), 8.0, None)
    structure = gemmi.Structure()
    structure.cell = cell
    structure.spacegroup_hm = group.xhm()
    structure.add_model(gemmi.Model(1))
    structure[0].add_chain(_chain(atoms, names, b_iso))
    structure.setup_cell_images()
    structure.setup_entities()
    return structure


def _exchange(names: NDArray[np.str_], element: str, n: int, seed: int) -> NDArray[np.str_]:
    """Return the elements of the atoms with `n` of them exchanged for a heavy one."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 0x68656176)))
    result = names.astype("<U2")
    result[rng.permutation(len(names))[:n]] = element
    return result


def _ball(n_atoms: int, rng: np.random.Generator) -> Array:
    """Return positions (n, 3) in a ball about 0, none nearer to another than a bond [Angstrom].

    Each round keeps of the new positions those that clash with no earlier one: the packing of
    random sequential addition, far below where it jams.
    """
    radius = (3.0 * n_atoms * ATOM_VOLUME_ANG3 / (4.0 * np.pi)) ** (1.0 / 3.0)
    kept = np.empty((0, 3))
    while len(kept) < n_atoms:
        new = rng.uniform(-radius, radius, (4 * n_atoms, 3))
        both = np.concatenate([kept, new[np.linalg.norm(new, axis=1) < radius]])
        pairs = cKDTree(both).query_pairs(NEAREST_ANG, output_type="ndarray")
        later = np.unique(pairs.max(axis=1)) if len(pairs) else np.empty(0, dtype=int)
        kept = np.delete(both, later, axis=0)
    return kept[:n_atoms]


def _centre(cell: gemmi.UnitCell, group: gemmi.SpaceGroup, rng: np.random.Generator) -> Array:
    """Return where the molecule's middle lies (3,) [Angstrom], away from its mates."""
    orthogonal = np.array(cell.orth.mat.tolist())
    fractional = rng.uniform(size=(TRIES, 3))
    nearest = np.full(TRIES, np.inf)
    shifts = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    for op in list(group.operations())[1:]:
        image = fractional @ (np.array(op.rot) / op.DEN).T + np.array(op.tran) / op.DEN
        offset = image - fractional
        offset -= np.round(offset)
        apart = (offset[:, None, :] + shifts) @ orthogonal.T
        nearest = np.minimum(nearest, np.linalg.norm(apart, axis=2).min(axis=1))
    return np.asarray(orthogonal @ fractional[int(np.argmax(nearest))])


def _chain(atoms: Array, names: NDArray[np.str_], b_iso: Array) -> gemmi.Chain:
    """Return a chain of one residue with all the atoms."""
    residue = gemmi.Residue()
    residue.name, residue.seqid = "UNK", gemmi.SeqId("1")
    for position, name, b in zip(atoms, names, b_iso, strict=True):
        atom = gemmi.Atom()
        atom.name, atom.element = str(name), gemmi.Element(str(name))
        atom.pos, atom.b_iso, atom.occ = gemmi.Position(*position), float(b), 1.0
        residue.add_atom(atom)
    chain = gemmi.Chain("A")
    chain.add_residue(residue)
    return chain
