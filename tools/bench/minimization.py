"""Force calls to a minimum: FIRE beside SciPy's L-BFGS-B and, where it is installed, ASE's FIRE and FIRE2.

All start from the same positions with the same exact forces and stop when no force exceeds 1e-6. Counts do not depend on
the machine. Minima found from disordered starts may differ, so the free energy per site is printed beside each count.

Usage: python tools/bench/minimization.py [--side 12] [--seeds 3] [--most 5000]
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize as scipy_minimize

from forcefields.ed import ExactDiagonalisation
from latticemd import Holstein, Lattice, State, System
from latticemd.minimization import Fire, largest_force, minimize

TOLERANCE = 1e-6
STARTS = {  # coupling, amplitude of the checkerboard, width of the noise
    "disordered, g = 1.5": (1.5, 0.0, 1.0),
    "disordered, g = 0.75": (0.75, 0.0, 1.0),
    "noisy checkerboard, g = 1.5": (1.5, 1.0, 0.3),
}
Outcome = tuple[int, float, float]  # force calls, free energy per site, largest force


def fire(model: Holstein, x: np.ndarray, most: int) -> Outcome:
    """`latticemd.minimization`."""
    system, state = System(model, ExactDiagonalisation()), State.at_rest(x)
    minimize(state, system, Fire(TOLERANCE), most)
    return system.force_calls, float(state.potential[0]), float(largest_force(state)[0])


def lbfgs(model: Holstein, x: np.ndarray, most: int) -> Outcome:
    """SciPy's L-BFGS-B."""
    system = System(model, ExactDiagonalisation())

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        state = State.at_rest(flat.reshape(x.shape))
        system.update_forces(state, 0)
        system.update_potential(state, 0)
        return float(state.potential[0]), -state.f.ravel()

    options = {"gtol": TOLERANCE, "ftol": 0.0, "maxiter": most, "maxfun": most}
    found = scipy_minimize(energy_and_gradient, x.ravel(), jac=True, method="L-BFGS-B", options=options)
    return system.force_calls, float(found.fun), float(np.abs(found.jac).max())


def ase_optimiser(name: str) -> Callable[[Holstein, np.ndarray, int], Outcome]:
    """ASE's optimiser `name` on atoms that only move along z, with ASE's own constants but no limit on the step.

    The limit is on the length of the step of all atoms together, 0.2, and holds a lattice back; moreover FIRE2 steps back by
    its velocity, which the limit leaves alone, and diverges.
    """
    import ase.optimize
    from ase import Atoms
    from ase.calculators.calculator import Calculator, all_changes

    class Heights(Calculator):
        """Displacements as heights of atoms; ASE counts an eV and an Angstrom for our units."""

        implemented_properties = ("energy", "forces")

        def __init__(self, model: Holstein) -> None:
            super().__init__()
            self.system = System(model, ExactDiagonalisation())

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes) -> None:  # type: ignore[no-untyped-def]
            """Energy and forces of the heights."""
            super().calculate(atoms, properties, system_changes)
            state = State.at_rest(self.atoms.positions[None, :, 2:])
            self.system.update_forces(state, 0)
            self.system.update_potential(state, 0)
            forces = np.zeros((len(self.atoms), 3))
            forces[:, 2] = state.f[0, :, 0]
            self.results = {"energy": float(state.potential[0]), "forces": forces}

    def run(model: Holstein, x: np.ndarray, most: int) -> Outcome:
        atoms = Atoms("H" * model.lattice.sites, positions=np.pad(x[0], ((0, 0), (2, 0))))
        atoms.calc = Heights(model)
        getattr(ase.optimize, name)(atoms, logfile=None, maxstep=1e9).run(fmax=TOLERANCE, steps=most)
        calls = atoms.calc.system.force_calls
        return calls, float(atoms.get_potential_energy()), float(np.abs(atoms.get_forces()).max())

    return run


def main() -> int:
    """Print the table; return 1 if FIRE did not converge somewhere."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--side", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--most", type=int, default=5000, help="steps after which to give up")
    arguments = parser.parse_args()

    methods: dict[str, Callable[[Holstein, np.ndarray, int], Outcome]] = {"FIRE": fire, "SciPy L-BFGS-B": lbfgs}
    try:
        methods |= {f"ASE {name}": ase_optimiser(name) for name in ("FIRE", "FIRE2")}
    except ImportError:
        print("ASE is not installed: its columns are missing")
    failed = False
    print(
        f"{arguments.side} x {arguments.side} sites, medians over {arguments.seeds} seeds: force calls (energy per site)"
    )
    for start, (coupling, amplitude, width) in STARTS.items():
        model = Holstein(Lattice("square", (arguments.side, arguments.side)), coupling=coupling)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in methods}
        for seed in range(arguments.seeds):
            noise = np.random.default_rng(seed).normal(size=(1, model.lattice.sites, 1))
            x = model.ordered(amplitude) + width * noise
            for name, method in methods.items():
                outcomes[name].append(method(model, x, arguments.most))
        failed = failed or any(force > TOLERANCE for _, _, force in outcomes["FIRE"])
        print(start)
        for name, found in outcomes.items():
            calls = statistics.median(calls for calls, _, _ in found)
            energies = ", ".join(f"{energy / model.lattice.sites:.6f}" for _, energy, _ in found)
            late = sum(force > TOLERANCE for _, _, force in found)
            print(f"    {name:16s} {calls:6g}  ({energies}){f'  {late} not converged' if late else ''}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
