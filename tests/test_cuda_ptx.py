"""Every kernel for GPUs compiled to PTX for two generations of cards, and assembled where ptxas is at hand.

No driver is needed. A wrong kernel gives a typing error here; registers and spills are those of the assembler.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import partial

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")

from numba import cuda
from numba.cuda import dispatcher, types

from cuda_kernels import (
    cavity,
    ceiling,
    chebyshev,
    exact,
    motion,
    noise,
    observing,
    reach,
    rescaling,
    spin_motion,
    stencil,
    summing,
    window,
)
from forcefields.cavity.elimination import elimination

if hasattr(cuda, "simulator") and cuda.config.ENABLE_CUDASIM:
    pytest.skip("the simulator compiles nothing", allow_module_level=True)

GENERATIONS = [(8, 0), (9, 0)]
PTXAS = shutil.which("ptxas")

f8, i8, u8, yes = types.float64, types.int64, types.uint64, types.boolean


def rows(number, axes=2):
    return types.Array(number, axes, "C")


def kernels():
    """Name, kernel, and the types of its arguments."""
    parts = (rows(f8), rows(types.int32, 1))
    for number in (types.float64, types.float32):
        x, x1, x3 = (rows(number, axes) for axes in (2, 1, 3))
        word = (types.UniTuple(i8, 4), types.UniTuple(f8, 12), types.UniTuple(yes, 4))
        yield f"split {number}", motion.split, (*word, x, x, x, u8, u8, u8, u8, u8, f8, i8, rows(f8, 1), *parts)
        yield f"overdamped {number}", motion.overdamped, (x, x, f8, f8, f8, u8, u8, u8, u8, i8, x)
        yield f"normals {number}", noise.normals, (u8, u8, u8, u8, u8, i8, x)
        tallies = (rows(i8), rows(types.int32, 1), rows(f8, 1))
        yield f"dot {number}", exact.dot, (x, x, f8, i8, *tallies)
        yield f"total {number}", exact.total, (x, i8, *tallies)
        yield f"note_unbounded {number}", summing.note_unbounded, (x1, f8, rows(types.int32, 1))
        hops = types.UniTuple(i8, 12)
        lattice = (rows(types.int32), hops, i8, i8, i8, i8)
        yield f"neighbour_sum {number}", stencil.neighbour_sum, (*lattice, x, x, f8, f8, x)
        yield f"listed_sum {number}", stencil.listed_sum, (rows(types.int32), i8, i8, x, x, f8, f8, x)
        bath = (rows(f8, 1), *parts)
        spins = (x3, x3, f8, f8, f8, u8, u8, u8, u8, i8, x3, x3, *bath)
        yield f"first_half {number}", spin_motion.first_half, spins
        yield f"second_half {number}", spin_motion.second_half, (x3, x3, f8, f8, i8, x3, x3, *bath)
    yield "multiply_adds", ceiling.multiply_adds, (i8, types.float32, rows(types.float32, 1))
    table = rows(types.int32, 1)
    yield "cut_bonds", observing.cut_bonds, (rows(f8), table, table, i8, rows(i8, 1))
    yield "group_sums", observing.group_sums, (rows(f8), table, table, rows(f8))
    chain = (rows(f8), rows(f8), rows(f8, 1), f8, f8, f8, rows(f8, 1), rows(f8, 1))
    yield "nose_hoover", rescaling.nose_hoover, chain
    yield "resampling", rescaling.resampling, (u8, u8, u8, u8, u8, f8, f8, rows(f8, 1), rows(f8, 1))


PATCHES = [(1, np.float32), (1, np.float64)]
WINDOWS = [(5, np.float32), (9, np.float64)]
LARGE_PATCHES = [(2, np.float32), (2, np.float64)]
LARGE_WINDOWS = [(13, np.float32), (21, np.float32), (13, np.float64)]


def electronic_kernels(patches, windows):
    """Those of force fields, for patches and windows of these sizes: name, a function that makes the kernel, its arguments."""
    i4, sums = types.int32, (rows(f8, 1), rows(f8), rows(types.int32, 1))
    tables = (rows(f8, 1), rows(i4, 1), rows(f8), rows(f8, 3), rows(f8, 1))
    patch = (rows(f8, 3), f8, f8, f8, *tables, i8, rows(f8, 3), *sums)
    yield "widest", lambda: cavity.widest, (rows(f8), f8, i8, rows(f8, 1))
    for radius, precision in patches:
        yield f"cavity {radius} {precision.__name__}", partial(patches_of, radius, precision), patch
    for name, more in (("bounds", (f8, f8)), ("along_rows", (i8,))):
        yield name, partial(getattr, reach, name), (rows(f8, 3), *more, i8, rows(f8, 3))
    yield "rungs", lambda: reach.rungs, (rows(f8, 3), i8, f8, i8, rows(i4))
    series = (rows(i4), i8, rows(i4, 1), rows(f8, 1), rows(f8, 3))
    for width, precision in windows:
        name = f"window {width} {precision.__name__}"
        yield name, partial(window.windows, width, precision), (rows(f8, 3), f8, f8, *series, i8, rows(f8), *sums)
    for number in (types.float32, types.float64):
        t = rows(number, 3)
        lattice = (rows(i4), types.UniTuple(i8, 12), i8, i8, i8, i8, i8, i8)
        taken = (rows(i4, 1), rows(f8, 3))
        found = (rows(f8), rows(f8))
        fields = (rows(number), rows(number, 1), *taken, t, t, *found)
        yield f"chebyshev step {number}", lambda: chebyshev.step, (*lattice, *fields)
        tables = (rows(i4), rows(number), i8, i8, i8, i8)
        listed = (*tables, rows(number), rows(number, 1), *taken, rows(number), rows(number), *found)
        yield f"chebyshev listed step {number}", lambda: chebyshev.listed_step, listed
        yield f"chebyshev start {number}", lambda: chebyshev.start, (i8, i8, *taken, rows(number), *found)


def patches_of(radius, precision):
    program = tuple(tuple(int(n) for n in step) for step in elimination(radius)[0])
    return cavity.patches(radius, 3, precision, program)


@pytest.mark.parametrize("capability", GENERATIONS, ids=lambda c: f"sm_{c[0]}{c[1]}")
@pytest.mark.parametrize(
    ("make", "arguments"), [pytest.param(k, a, id=name) for name, k, a in electronic_kernels(PATCHES, WINDOWS)]
)
def test_kernel_of_a_force_field_compiles(make, arguments, capability, monkeypatch, tmp_path):
    """Patches and windows are straight-line code in registers, of which the card has 255 for a thread: nothing may spill."""
    registers, spilled = assembled(make(), arguments, capability, monkeypatch, tmp_path)
    print(f"{registers} registers, {spilled} bytes spilled")
    assert spilled == 0


@pytest.mark.slow
@pytest.mark.parametrize("capability", GENERATIONS, ids=lambda c: f"sm_{c[0]}{c[1]}")
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        pytest.param(k, a, id=name)
        for name, k, a in electronic_kernels(LARGE_PATCHES, LARGE_WINDOWS)
        if name.startswith(("cavity", "window"))
    ],
)
def test_large_patches_and_windows_compile(make, arguments, capability, monkeypatch, tmp_path):
    """Ten seconds each on a quiet machine."""
    registers, spilled = assembled(make(), arguments, capability, monkeypatch, tmp_path)
    print(f"{registers} registers, {spilled} bytes spilled")
    assert spilled == 0


@pytest.mark.parametrize("capability", GENERATIONS, ids=lambda c: f"sm_{c[0]}{c[1]}")
@pytest.mark.parametrize(("kernel", "arguments"), [pytest.param(k, a, id=name) for name, k, a in kernels()])
def test_kernel_compiles(kernel, arguments, capability, monkeypatch, tmp_path):
    registers, spilled = assembled(kernel, arguments, capability, monkeypatch, tmp_path)
    print(f"{registers} registers, {spilled} bytes spilled")
    assert spilled == 0
    assert registers <= 128


def assembled(kernel, arguments, capability, monkeypatch, tmp_path):
    """Registers of a thread, and bytes that are spilled, of a kernel compiled for this generation; zeros without ptxas."""
    device = type("Device", (), {"compute_capability": capability})
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    ptx, returned = cuda.compile_ptx(kernel.py_func, arguments, cc=capability)
    assert returned == types.void
    assert ".entry" in ptx
    if PTXAS is None:
        return 0, 0
    source, architecture = tmp_path / "kernel.ptx", f"sm_{capability[0]}{capability[1]}"
    source.write_text(ptx)
    done = subprocess.run(
        [PTXAS, "-v", f"-arch={architecture}", "-o", str(tmp_path / "kernel.cubin"), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    registers = int(re.findall(r"Used (\d+) registers", done.stderr)[-1])
    spilled = sum(int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr))
    return registers, spilled
