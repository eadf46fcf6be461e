"""Another process asks for forces over a socket, in the protocol of i-PI, and moves by them as by its own."""

from __future__ import annotations

import subprocess
import sys
import uuid

import numpy as np
import pytest

pytest.importorskip("ase")

from ase.calculators.socketio import SocketIOCalculator
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from latticemd.ase import LatticeCalculator, atoms_of
from latticemd.build import build_state
from latticemd.config import load_input

INPUTS = {
    "lattice": """
lattice: {type: square, shape: [4, 3]}
model: {name: holstein}
initial: {kind: normal, width: 0.5}
dynamics: {integrator: verlet, dt: 0.05, steps: 1, temperature: 0.1}
""",
    "particles": """
system: particles
lattice: {type: points, shape: [5]}
model: {name: particles, masses: [1, 2, 3, 4, 5], charges: positive}
forcefield: {name: lennard_jones}
initial: {kind: ordered, amplitude: 1.2, width: 0.05}
dynamics: {integrator: verlet, dt: 0.01, steps: 1, temperature: 0.1}
""",
}

CLIENT = """
import sys
from contextlib import suppress

from ase.calculators.socketio import SocketClient

from latticemd.ase import LatticeCalculator, atoms_of
from latticemd.build import build_state
from latticemd.config import load_input

path, name = sys.argv[1:]
calculator = LatticeCalculator.from_input(path)
state = build_state(load_input(path), calculator.model)
atoms = atoms_of(calculator.model, 0.9 * state.x[0])  # not where the server is: positions come over the socket
atoms.calc = calculator
with suppress(OSError):  # the server hangs up when it is done
    SocketClient(unixsocket=name, timeout=60).run(atoms)
"""


def started(path):
    """Atoms as the input starts them, momenta included, with our calculator in this process."""
    calculator = LatticeCalculator.from_input(path)
    state = build_state(load_input(path), calculator.model)
    atoms = atoms_of(calculator.model, state.x[0], state.p[0])
    atoms.calc = calculator
    return atoms


@pytest.mark.parametrize("kind", INPUTS)
def test_a_server_moves_by_the_forces_of_a_client_in_another_process(tmp_path, kind):
    path, name = tmp_path / "input.yaml", f"latticemd-{uuid.uuid4().hex[:8]}"
    path.write_text(INPUTS[kind])
    alone, served = started(path), started(path)
    dt = load_input(path).dynamics.dt
    with SocketIOCalculator(unixsocket=name, timeout=60) as server:
        client = subprocess.Popen([sys.executable, "-c", CLIENT, str(path), name], stderr=subprocess.PIPE, text=True)
        served.calc = server
        for atoms in (alone, served):
            VelocityVerlet(atoms, timestep=dt).run(20)
        np.testing.assert_allclose(served.positions, alone.positions, rtol=0, atol=1e-10)
        np.testing.assert_allclose(served.get_momenta(), alone.get_momenta(), rtol=0, atol=1e-10)
        assert served.get_potential_energy() == pytest.approx(alone.get_potential_energy(), abs=1e-10)
        before = alone.get_potential_energy()
        for atoms in (alone, served):
            BFGS(atoms, logfile=None).run(fmax=0.05, steps=15)
        assert served.get_potential_energy() == pytest.approx(alone.get_potential_energy(), abs=1e-8)
        assert served.get_potential_energy() < before
    said = client.communicate(timeout=60)[1]
    assert client.returncode == 0, said
