"""Several orbitals per site, hops that follow x, complex numbers: every force field answers as dense matrices do."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
from electrons import electrons
from scipy import sparse

from latticemd import DensityMatrix, Hops, Lattice, Model, load_plugin
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.testing import DenseElectrons, assert_agrees, check_forcefield, check_model
from latticemd.testing.reference import hamiltonian_matrix

KPM, CAVITY, WINDOW = (load_plugin("forcefield", name) for name in ("kpm", "cavity", "window"))
PAULI = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
EXACT = ("ed", "poles")


def joined(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Sites that hops join: neighbours, or those of the tree that the class of the model names."""
    child = np.arange(1, model.lattice.sites)
    if isinstance(model, Chain):
        return child - 1, child
    if isinstance(model, Bethe):
        return np.maximum(child - 2, 0) // 2, child
    return model.lattice.bonds().i, model.lattice.bonds().j


class Chain:
    """Sites along an open chain; with two orbitals, the rungs of a ladder."""


class Bethe:
    """A cluster in which every inner site has three neighbours."""


@dataclasses.dataclass(frozen=True)
class Pseudospin(Model):
    """Two orbitals that x mixes as a vector of Pauli matrices, with hops that mix them too: H_i = -x.tau."""

    components: ClassVar[int] = 3
    orbitals: ClassVar[int] = 2
    hop: ClassVar[np.ndarray] = np.array([[-1.0, 0.3j], [0.2, -0.5]])

    def hops(self) -> Hops:
        i, j = joined(self)
        return Hops(i, j, np.broadcast_to(self.hop, (len(i), 2, 2)))

    def onsite(self, x):
        return -np.einsum("rnk,kac->rnac", x, PAULI)

    def electronic_force(self, rho, x, out):
        out[...] = np.einsum("rnac,kca->rnk", rho.onsite, PAULI).real

    def springs(self):
        return sparse.identity(3 * self.lattice.sites, format="csr")

    def ordered(self, amplitude):
        return amplitude * np.outer(self.lattice.staggered, [0.0, 0.0, 1.0])

    def order_field(self, x, density):
        return x[..., 2] * self.lattice.staggered

    def representation(self, operation):
        return None


@dataclasses.dataclass(frozen=True)
class Alike(Pseudospin):
    """The same with orbitals that hop alike."""

    def hops(self) -> Hops:
        i, j = joined(self)
        return Hops(i, j, np.full(len(i), -1.0))


@dataclasses.dataclass(frozen=True)
class Modulated(Model):
    """One orbital, hops -exp(i phi) (1 - 0.2 (x_i + x_j)) on every bond and levels x_i."""

    components: ClassVar[int] = 1
    needs_bonds: ClassVar[bool] = True
    phase: ClassVar[complex] = np.exp(0.4j)

    def hops(self) -> Hops:
        i, j = joined(self)
        return Hops(i, j, np.full(len(i), -self.phase))

    def amplitudes(self, x):
        hops = self.hops()
        return hops.amplitude * (1.0 - 0.2 * (x[:, hops.i, 0] + x[:, hops.j, 0]))

    def onsite(self, x):
        return x[..., 0].copy()

    def electronic_force(self, rho, x, out):
        hops = self.hops()
        pull = 0.4 * (np.conj(rho.bonds) * hops.amplitude).real
        out[..., 0] = -rho.onsite
        for r in range(len(x)):
            np.add.at(out[r, :, 0], hops.i, pull[r])
            np.add.at(out[r, :, 0], hops.j, pull[r])

    def springs(self):
        return sparse.identity(self.lattice.sites, format="csr")

    def ordered(self, amplitude):
        return amplitude * self.lattice.staggered[:, None]


@dataclasses.dataclass(frozen=True)
class ModulatedReal(Modulated):
    """The same without phases."""

    phase: ClassVar[complex] = 1.0


MODELS = [Pseudospin, Alike, Modulated, ModulatedReal]
TREES = [type(f"{model.__name__}{tree.__name__}", (model, tree), {}) for model in MODELS for tree in (Chain, Bethe)]


@pytest.mark.parametrize("ensemble", [{"mu": 0.2}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_the_terms_make_a_hamiltonian(model, ensemble):
    check_model(model(Lattice("square", (4, 3)), **ensemble))


@pytest.mark.parametrize("ensemble", [{"mu": 0.2}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", EXACT)
def test_exact_force_fields_serve_every_hamiltonian(name, model, ensemble):
    made = model(Lattice("square", (4, 3)), **ensemble)
    forcefield = load_plugin("forcefield", name)
    check_forcefield(forcefield, made)
    x = np.random.default_rng(3).normal(size=(2, 12, made.components))
    assert_agrees(forcefield, DenseElectrons, made, x, rms=1e-9)


@pytest.mark.parametrize("ensemble", [{"mu": 0.2}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_kpm_with_a_colour_for_each_site_serves_every_hamiltonian(model, ensemble):
    made = model(Lattice("square", (4, 3)), **ensemble)
    x = np.random.default_rng(3).normal(size=(2, 12, made.components))
    check_forcefield(lambda: KPM(colours=4), made, density=2e-5)
    assert_agrees(lambda: KPM(colours=4, tolerance=1e-11), DenseElectrons, made, x, rms=1e-9)


@pytest.mark.parametrize("ensemble", [{"mu": 0.2}, {"filling": 0.3}], ids=str)
@pytest.mark.parametrize("model", TREES)
def test_cavity_is_exact_on_trees_and_a_window_that_covers_the_graph_too(model, ensemble):
    made = model(Lattice("square", (4, 3)), **ensemble)
    x = np.random.default_rng(6).normal(size=(2, 12, made.components))
    exact = electrons(DenseElectrons(), made, x)
    for forcefield in (CAVITY(radius=1, sweeps=12, tolerance=1e-12), WINDOW(width=25, tolerance=1e-11)):
        found = electrons(forcefield, made, x)
        np.testing.assert_allclose(found.force, exact.force, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.density, exact.density, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found.mu, exact.mu, rtol=0, atol=1e-9)
        np.testing.assert_allclose(found.energy, exact.energy, rtol=0, atol=12 * made.orbitals * 1e-5)
    wrong = electrons(CAVITY(radius=1, sweeps=1), made, x).force - exact.force
    assert np.abs(wrong).max() > 1e-5


@pytest.mark.parametrize("make", [CAVITY, WINDOW], ids=["cavity", "window"])
@pytest.mark.parametrize("model", [*MODELS, TREES[0], TREES[-1]])
def test_local_force_fields_keep_their_promises_for_every_hamiltonian(make, model):
    made = model(Lattice("square", (6, 7)), mu=0.2)
    check_forcefield(lambda: make(radius=1) if make is CAVITY else make(width=5), made)


# Limits: a third more than the largest error on ten states of each model; factors: below the smallest.
@pytest.mark.parametrize(
    ("coarse", "fine", "limits", "factor"),
    [
        (CAVITY(radius=1), CAVITY(radius=3), (0.04, 0.01), 2.0),
        (WINDOW(width=5), WINDOW(width=9), (0.04, 0.01), 2.0),
        (KPM(colours=4), KPM(colours=6), (0.05, 0.022), 1.3),
    ],
    ids=["cavity", "window", "kpm"],
)
@pytest.mark.parametrize("model", MODELS)
def test_errors_fall_for_every_hamiltonian(model, coarse, fine, limits, factor):
    made = model(Lattice("square", (12, 12)))
    x = np.random.default_rng(7).normal(size=(1, 144, made.components))
    exact = electrons(load_plugin("forcefield", "ed")(), made, x).force
    errors = [float(np.sqrt(np.mean((electrons(each, made, x).force - exact) ** 2))) for each in (coarse, fine)]
    assert errors[1] < errors[0] / factor
    assert errors[0] < limits[0]
    assert errors[1] < limits[1]


@pytest.mark.parametrize(
    "forcefield",
    [load_plugin("forcefield", "poles")(), CAVITY(radius=1), WINDOW(width=5), KPM(colours=4)],
    ids=["poles", "cavity", "window", "kpm"],
)
def test_turning_all_orbitals_turns_the_force(forcefield):
    # Orbitals that hop alike: a rotation of x is one of the orbitals, which no energy depends on.
    made = Alike(Lattice("square", (6, 8)))
    x = np.random.default_rng(8).normal(size=(1, 48, 3))
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    one, other = electrons(forcefield, made, x), electrons(forcefield, made, x @ turn.T)
    np.testing.assert_allclose(other.force, one.force @ turn.T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.density, one.density, rtol=0, atol=1e-12)
    np.testing.assert_allclose(other.energy, one.energy, rtol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_the_list_of_orbitals_and_pairs_is_the_matrix(model):
    made = model(Lattice("square", (3, 4)))
    x = np.random.default_rng(4).normal(size=(2, 12, made.components))
    whole = Hamiltonian.of(made, x)
    for r in range(2):
        one = whole.replica(r)
        matrix = np.diag(one.levels[0]).astype(complex)
        np.add.at(matrix, (one.i, one.j), one.amplitude)
        np.add.at(matrix, (one.j, one.i), np.conj(one.amplitude))
        np.testing.assert_allclose(matrix, hamiltonian_matrix(made, x[r : r + 1]), atol=1e-15)


@pytest.mark.parametrize("model", MODELS)
def test_entries_of_a_matrix_go_where_they_belong(model):
    made = model(Lattice("square", (3, 4)))
    o, hops, rng = made.orbitals, made.hops(), np.random.default_rng(5)
    whole = Hamiltonian.of(made, np.zeros((1, 12, made.components)))
    rho = rng.normal(size=(12 * o, 12 * o)) + 1j * rng.normal(size=(12 * o, 12 * o))
    rho += rho.conj().T
    found = whole.density_matrix(np.diag(rho).real[None], rho[whole.i, whole.j][None])
    assert isinstance(found, DensityMatrix)
    blocks = rho.reshape(12, o, 12, o)
    np.testing.assert_array_equal(found.onsite.reshape(12, o, o), blocks[np.arange(12), :, np.arange(12)])
    np.testing.assert_array_equal(found.density[0], np.diag(rho).real.reshape(12, o).sum(axis=1))
    bonds = blocks[hops.i, :, hops.j]
    if model is Alike:  # orbitals that never meet in a hop
        bonds = bonds * np.eye(2)
    np.testing.assert_array_equal(found.bonds.reshape(-1, o, o), bonds)
