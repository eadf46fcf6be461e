"""Every kernel for GPUs compiled to PTX for two generations of cards, and assembled where ptxas is at hand.

No driver is needed. A wrong kernel gives a typing error here; registers and spills are those of the assembler.
"""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

pytest.importorskip("numba_cuda", reason="needs numba-cuda")

from numba import cuda
from numba.cuda import dispatcher, types

from cuda_kernels import motion, noise, rescaling, spin_motion, stencil, summing

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
        yield f"dot {number}", summing.dot, (x, x, f8, i8, *parts, rows(f8, 1))
        yield f"note_unbounded {number}", summing.note_unbounded, (x1, f8, rows(types.int32, 1))
        hops = types.UniTuple(i8, 12)
        lattice = (rows(types.int32), hops, i8, i8, i8, i8)
        yield f"neighbour_sum {number}", stencil.neighbour_sum, (*lattice, x, x, f8, f8, x)
        bath = (rows(f8, 1), *parts)
        spins = (x3, x3, f8, f8, f8, u8, u8, u8, u8, i8, x3, x3, *bath)
        yield f"first_half {number}", spin_motion.first_half, spins
        yield f"second_half {number}", spin_motion.second_half, (x3, x3, f8, f8, i8, x3, x3, *bath)
    chain = (rows(f8), rows(f8), rows(f8, 1), f8, f8, f8, rows(f8, 1), rows(f8, 1))
    yield "nose_hoover", rescaling.nose_hoover, chain
    yield "resampling", rescaling.resampling, (u8, u8, u8, u8, u8, f8, f8, rows(f8, 1), rows(f8, 1))


@pytest.mark.parametrize("capability", GENERATIONS, ids=lambda c: f"sm_{c[0]}{c[1]}")
@pytest.mark.parametrize(("kernel", "arguments"), [pytest.param(k, a, id=name) for name, k, a in kernels()])
def test_kernel_compiles(kernel, arguments, capability, monkeypatch, tmp_path):
    device = type("Device", (), {"compute_capability": capability})
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    ptx, returned = cuda.compile_ptx(kernel.py_func, arguments, cc=capability)
    assert returned == types.void
    assert ".entry" in ptx
    if PTXAS is None:
        return
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
    print(f"{registers} registers, {spilled} bytes spilled")
    assert spilled == 0, done.stderr
    assert registers <= 128
