"""The motion of one unit spin under its field, its damping and its noise, in two halves of a step.

One source for NumPy, numba on the CPU and CUDA device code, like `cuda_kernels.philox`. Vectors are three scalars, or three
arrays, so that nothing is allocated per site.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def cross(ax: Any, ay: Any, az: Any, bx: Any, by: Any, bz: Any) -> Any:
    """a x b."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


def rotated(sx: Any, sy: Any, sz: Any, wx: Any, wy: Any, wz: Any) -> Any:
    """The solution of S' = S + (S + S')/2 x w: S turned by w, up to the third order in |w|, at its length to rounding."""
    hx, hy, hz = 0.5 * wx, 0.5 * wy, 0.5 * wz
    square = hx * hx + hy * hy + hz * hz
    along = 2.0 * (sx * hx + sy * hy + sz * hz)
    keep = 1.0 - square
    scale = 1.0 / (1.0 + square)
    cx, cy, cz = cross(sx, sy, sz, hx, hy, hz)
    return (
        scale * (keep * sx + 2.0 * cx + along * hx),
        scale * (keep * sy + 2.0 * cy + along * hy),
        scale * (keep * sz + 2.0 * cz + along * hz),
    )


def turned(
    sx: Any, sy: Any, sz: Any, px: Any, py: Any, pz: Any, fx: Any, fy: Any, fz: Any, time: float, damping: float
) -> Any:
    """S turned for `time` at the angular velocity F - damping p x F."""
    tx, ty, tz = cross(px, py, pz, fx, fy, fz)
    return rotated(sx, sy, sz, time * (fx - damping * tx), time * (fy - damping * ty), time * (fz - damping * tz))


def first_half(
    sx: Any,
    sy: Any,
    sz: Any,
    fx: Any,
    fy: Any,
    fz: Any,
    bx: Any,
    by: Any,
    bz: Any,
    time: float,
    damping: float,
) -> Any:
    """Half a step along the field F at S, the thermal rotation b, and a guess of the other half.

    Returns the spin after the thermal rotation, how far that moved it, the guess, and the work of F along the way: that of
    the first half, and half of that of the thermal rotation by the trapezoidal rule. `time` is dt/2.

    The component of F along S is left out. It turns no spin that stays where it is, and would only turn what the noise has
    moved away from S, about a field that follows the spin in reality, as that of electrons does.
    """
    along = sx * fx + sy * fy + sz * fz
    fx, fy, fz = fx - along * sx, fy - along * sy, fz - along * sz
    ax, ay, az = turned(sx, sy, sz, sx, sy, sz, fx, fy, fz, time, damping)
    mx, my, mz = rotated(ax, ay, az, bx, by, bz)
    gx, gy, gz = turned(mx, my, mz, mx, my, mz, fx, fy, fz, time, damping)
    dx, dy, dz = mx - ax, my - ay, mz - az
    work = fx * (ax - sx + 0.5 * dx) + fy * (ay - sy + 0.5 * dy) + fz * (az - sz + 0.5 * dz)
    return mx, my, mz, dx, dy, dz, gx, gy, gz, work


def second_half(
    mx: Any,
    my: Any,
    mz: Any,
    dx: Any,
    dy: Any,
    dz: Any,
    gx: Any,
    gy: Any,
    gz: Any,
    fx: Any,
    fy: Any,
    fz: Any,
    time: float,
    damping: float,
) -> Any:
    """The other half of the step along the field F at the guess g: the spin, of length 1, and the work of F along the way."""
    along = gx * fx + gy * fy + gz * fz
    fx, fy, fz = fx - along * gx, fy - along * gy, fz - along * gz
    sx, sy, sz = turned(mx, my, mz, gx, gy, gz, fx, fy, fz, time, damping)
    work = fx * (sx - mx + 0.5 * dx) + fy * (sy - my + 0.5 * dy) + fz * (sz - mz + 0.5 * dz)
    # Rotations keep the length to rounding, which would add up over many steps.
    scale = 1.0 / np.sqrt(sx * sx + sy * sy + sz * sz)
    return scale * sx, scale * sy, scale * sz, work
