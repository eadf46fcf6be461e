"""# Phonons and barriers with ASE

Every lattice model is a calculator of [ASE](https://ase-lib.org), so its minimisers, vibrations and bands of images work on
lattices too. Here: how electrons soften a phonon until the lattice orders by itself, and what it costs to flip a whole domain.
It needs `pip install 'latticemd[ase]'`. What stands for what is on [the page about ASE](../ase.md).
"""

import numpy as np
from ase.mep import NEB
from ase.optimize import BFGS, FIRE

from latticemd import Holstein, Lattice, load_plugin
from latticemd.ase import LatticeCalculator, atoms_of, configuration_of

# ## A phonon softens
#
# The staggered phonon of 4 x 4 sites without electrons has the frequency (k - 4 kappa)^(1/2) = 0.529. Electrons pull it down; where
# its square becomes negative, the lattice distorts. A finite displacement along the mode and its force tell:

lattice = Lattice("square", (4, 4))


def calculator(coupling):
    """The Holstein model with this coupling, solved exactly, at a temperature where sixteen levels look like a band."""
    model = Holstein(lattice, coupling=coupling, electronic_temperature=0.3)
    return LatticeCalculator(model, load_plugin("forcefield", "ed")())


for coupling in (0.0, 0.4, 0.8, 1.2):
    calc = calculator(coupling)
    small = calc.model.ordered(1e-3)
    atoms = atoms_of(calc.model, small)
    atoms.calc = calc
    stiffness = -float((atoms.get_forces()[:, 2] * small[:, 0]).sum() / (small**2).sum())
    told = f"frequency {stiffness**0.5:.3f}" if stiffness > 0 else "unstable: the lattice orders"
    print(f"g = {coupling:.1f}: omega^2 = {stiffness:+.3f}, {told}")

# ## It orders
#
# From a random start, ASE's minimiser finds the charge-density wave:

calc = calculator(1.2)
atoms = atoms_of(calc.model, np.random.default_rng(3).normal(size=(16, 1)))
atoms.calc = calc
BFGS(atoms, logfile=None).run(fmax=1e-5)
order = float(atoms.calc.get_property("order_parameter", atoms))
print(f"order parameter {order:.3f}, energy {atoms.get_potential_energy():.4f}")

# ## And how it would turn over
#
# There are two such states, Q and -Q. A band of images between them, relaxed by ASE, has its top where a nucleus of the other state
# is just large enough, or, on so small a lattice, where all of it passes through a flat state:

ends = [atoms_of(calc.model, sign * configuration_of(calc.model, atoms)[0]) for sign in (1, -1)]
band = [ends[0], *(ends[0].copy() for _ in range(5)), ends[1]]
for image in band:
    image.calc = calculator(1.2)
chain = NEB(band, k=0.2, climb=True, method="improvedtangent")
chain.interpolate()
rng = np.random.default_rng(0)
for image in band[1:-1]:  # off the symmetric line, on which every force is symmetric too
    image.positions[:, 2] += 0.05 * rng.normal(size=16)
FIRE(chain, logfile=None).run(fmax=0.02, steps=300)
energies = np.array([image.get_potential_energy() for image in band])
print("energy along the band:", " ".join(f"{energy:.2f}" for energy in energies - energies[0]))
