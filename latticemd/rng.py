"""Random numbers: who draws them, and the stateless generator they come from.

The generator is Philox-4x32-10 (`cuda_kernels.philox`). Its key is the user's 64-bit seed; its counter says who asks:
(stream, occurrence, step, replica, degree of freedom). There is no state to save, lose or repeat: the noise of a step is
the same alone or in a batch, before or after a restart, on any backend.

Reference: Salmon et al., SC'11, doi:10.1145/2063384.2063405.
"""

from __future__ import annotations

import enum


class Stream(enum.IntEnum):
    """What noise is for. A number is never given to a second purpose."""

    INITIAL_POSITIONS = 1
    INITIAL_VELOCITIES = 2
    THERMOSTAT = 3
    OVERDAMPED = 4
    VELOCITY_RESCALING = 5
    CHECKS = 6
    PROBING = 7
    DISORDER = 8
    VACANCIES = 9
    KINETIC_MONTE_CARLO = 10
    MEAN_FIELD = 16
    SPINS = 11
