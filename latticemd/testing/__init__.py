"""The conformance kit: what any force field, model or integrator must do, as plain functions that raise AssertionError.

=====================  ==============================================================================================
function               asserts
=====================  ==============================================================================================
`check_forcefield`     every promise of the `ForceField` protocol for one model; `assert_agrees` compares with a reference
`check_model`          a Hamiltonian against finite differences, its declared symmetries, its bounds, its parameters
`check_integrator`     restart, replicas, noise, energy, reversibility, exact motion in a harmonic well
=====================  ==============================================================================================

Each check is also a function of its own, listed in FORCEFIELD_CHECKS, MODEL_CHECKS and INTEGRATOR_CHECKS. It returns None
when it holds and a sentence when it does not apply, and raises AssertionError with numbers when it fails. The kit needs no
pytest: call it from a test function, a notebook or a script. `DenseElectrons` is the reference it compares with.
"""

from __future__ import annotations

from latticemd.testing.forcefields import FORCEFIELD_CHECKS, assert_agrees, check_forcefield
from latticemd.testing.integrators import INTEGRATOR_CHECKS, check_integrator
from latticemd.testing.models import MODEL_CHECKS, check_model
from latticemd.testing.reference import DenseElectrons

__all__ = [
    "FORCEFIELD_CHECKS",
    "INTEGRATOR_CHECKS",
    "MODEL_CHECKS",
    "DenseElectrons",
    "assert_agrees",
    "check_forcefield",
    "check_integrator",
    "check_model",
]
