"""Every registered force field, model and integrator passes the conformance kit; a new plug-in is covered by its entry point."""

from __future__ import annotations

import pytest

from latticemd import Lattice, load_plugin
from latticemd.errors import InputError
from latticemd.integrators import load_integrator
from latticemd.lattice import UNIT_CELLS
from latticemd.parallel.choosing import rim_of
from latticemd.plugins import plugin_names
from latticemd.testing import DenseElectrons, assert_agrees, check_forcefield, check_integrator, check_model
from latticemd.testing.forcefields import assert_blocks, assert_halo

WORDS = ["BAB", "ABA", "RBR", "BRB", "BABAB", "BAOAB", "ABOBA", "OBABO", "OBRBO", "BRORB", "OBAB", "BAOA"]
ENSEMBLES = [{"mu": 0.0}, {"mu": -0.7}, {"filling": 0.5}, {"filling": 0.3}]

# What approximate methods say about themselves; those that are not named here pass as exact.
TOLERANCES: dict[str, dict[str, float]] = {}
ERRORS: dict[str, float] = {
    "cavity": 0.03,
    "window": 5e-3,
    "kpm": 1e-5,
}  # root mean square of the force error at g = 1.5 on random positions [energy/length]


def made(name):
    """A force field with its default parameters."""
    try:
        return load_plugin("forcefield", name)()
    except TypeError:
        pytest.skip(f"{name} needs parameters that have no default")


def served(name, shape, **parameters):
    """The Holstein model on the smallest lattice of this shape, or of even multiples of it, that the force field serves."""
    for factor in (1, 2, 4):
        model = load_plugin("model", "holstein")(Lattice("square", tuple(factor * n for n in shape)), **parameters)
        forcefield = made(name)
        try:
            forcefield.prepare(model, 1)
        except InputError:
            continue
        forcefield.close()
        return model
    pytest.skip(f"{name} serves no such model")


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3)], ids=str)
@pytest.mark.parametrize("name", plugin_names("forcefield"))
def test_force_fields_keep_their_promises(name, shape, ensemble):
    model = served(name, shape, **ensemble)
    check_forcefield(lambda: made(name), model, **TOLERANCES.get(name, {}))
    assert_agrees(lambda: made(name), DenseElectrons, model, rms=ERRORS.get(name, 1e-9))


@pytest.mark.parametrize("name", plugin_names("forcefield"))
def test_local_force_fields_depend_on_their_halo_alone(name):
    model = served(name, (4, 4))
    halo = made(name).capabilities(model, 1).halo
    if halo is None:
        pytest.skip(f"{name} depends on all sites")
    side = 2 * halo + 4
    model = load_plugin("model", "holstein")(Lattice("square", (side, side)))
    assert assert_halo(lambda: made(name), model) is None


@pytest.mark.parametrize("name", plugin_names("forcefield"))
def test_local_force_fields_ask_the_lattice_about_what_concerns_all_of_it(name):
    model = served(name, (4, 4))
    rim = rim_of(model, made(name))
    if rim is None:
        pytest.skip(f"{name} depends on all sites")
    model = load_plugin("model", "holstein")(Lattice("square", (4 * rim + 4, max(2 * rim + 2, 4))))
    assert assert_blocks(lambda: made(name), model) is None


@pytest.mark.parametrize("ensemble", ENSEMBLES, ids=str)
@pytest.mark.parametrize("extents", [(4, 4, 4), (6, 4, 5)], ids=str)
@pytest.mark.parametrize("lattice", sorted(UNIT_CELLS))
@pytest.mark.parametrize("name", plugin_names("model"))
def test_models_are_the_hamiltonians_they_claim_to_be(name, lattice, extents, ensemble):
    dimensions, made = len(UNIT_CELLS[lattice].vectors), load_plugin("model", name)
    if not made.electronic:
        pytest.skip(f"{name} has no electrons, whose ensembles these are")
    # The work grows with the cube of all orbitals, and each operation of the space group is a diagonalisation.
    extents = [n - 1 for n in extents] if made.orbitals > 1 and dimensions == 3 else extents
    shape = tuple(max(n, UNIT_CELLS[lattice].smallest) for n in extents[:dimensions])
    try:
        model = made(Lattice(lattice, shape), **ensemble)
    except InputError as error:
        pytest.skip(str(error))
    check_model(model)


@pytest.mark.parametrize("name", [*plugin_names("integrator"), *WORDS])
def test_integrators_keep_their_promises(name):
    check_integrator(load_integrator(name))


def test_the_reference_of_the_kit_passes_it():
    check_forcefield(DenseElectrons, served("ed", (4, 4)))
