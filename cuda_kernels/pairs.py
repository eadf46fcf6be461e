"""The arithmetic of one pair of particles: its energy, and how strongly it pushes them apart.

Each function takes the squared distance r^2, the product w of what the two particles carry, and two numbers of the force
law; it returns U(r) and -U'(r)/r, which times x_i - x_j is the force on i. One source for NumPy, numba and CUDA, like
`cuda_kernels.spins`.
"""

from __future__ import annotations

import math


def coulomb(r2: float, w: float, strength: float, _: float) -> tuple[float, float]:
    """U = strength w / r, with w = q_i q_j: charges of one sign repel."""
    energy = strength * w / math.sqrt(r2)
    return energy, energy / r2


def spring(r2: float, w: float, stiffness: float, length: float) -> tuple[float, float]:
    """U = stiffness/2 (r - length)^2."""
    r = math.sqrt(r2)
    stretch = r - length
    if length == 0.0:  # also where the two are at the same place
        return 0.5 * stiffness * r2, -stiffness
    return 0.5 * stiffness * stretch * stretch, -stiffness * stretch / r


def gravity(r2: float, w: float, strength: float, softening: float) -> tuple[float, float]:
    """U = -strength w / sqrt(r^2 + softening^2), with w = m_i m_j."""
    distance2 = r2 + softening * softening
    energy = -strength * w / math.sqrt(distance2)
    return energy, energy / distance2


def lennard_jones(r2: float, w: float, depth: float, diameter: float) -> tuple[float, float]:
    """U = 4 depth [(diameter/r)^12 - (diameter/r)^6]."""
    sixth = (diameter * diameter / r2) ** 3
    energy = 4.0 * depth * sixth * (sixth - 1.0)
    return energy, 24.0 * depth * sixth * (2.0 * sixth - 1.0) / r2
