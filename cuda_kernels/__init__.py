"""Ground floor: the arithmetic of one site, written once, in functions that know arrays and scalars and nothing else.

The functions here are plain Python over NumPy arrays or scalars, so the same source is the specification (NumPy),
the CPU kernel (`numba.njit`) and the device function of the CUDA kernels. Nothing in this package imports from the
floors above it.
"""
