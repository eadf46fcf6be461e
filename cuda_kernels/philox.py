"""Philox-4x32-10 and standard normals from it, in one source for NumPy, numba on the CPU and CUDA device code.

Every function works on unsigned 64-bit scalars or arrays and uses neither branches nor library transcendentals:
each operation is an IEEE one (or an integer one), so the same counter gives the same normal, to the last bit, on every
backend that does not contract multiply-adds.

References: Salmon et al., SC'11, doi:10.1145/2063384.2063405 (Philox); Box and Muller, doi:10.1214/aoms/1177706645.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)
_WEYL_1 = np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

_DISCARDED = np.uint64(11)  # 64 random bits -> 53, the precision of a double
_FRACTION_BITS = np.uint64(52)
_FRACTION_MASK = np.uint64(0x000FFFFFFFFFFFFF)
_EXPONENT_OF_ONE = np.uint64(0x3FF0000000000000)
_LN2_HIGH = 6.93147180369123816490e-01  # 33 bits, so exponent * _LN2_HIGH is exact
_LN2_LOW = 1.90821492927058770002e-10
_SQRT2 = 1.4142135623730951
_TWO_PI = 6.283185307179586
_ULP = 2.0**-53

# Interpolation at Chebyshev nodes: (artanh(s)/s - 1)/s^2 in z = s^2 up to (3 - 8^(1/2))^2, (sin(r)/r - 1)/r^2 and
# (cos(r) - 1 + r^2/2)/r^4 in z = r^2 up to (pi/4)^2, each to less than 2e-17 of what it is added to. The sums below pair
# terms, since a vector unit waits longer for a chain of additions than for the few multiplications more.
_LOG_0, _LOG_1, _LOG_2, _LOG_3 = 0.3333333333333335, 0.19999999999949722, 0.14285714313001635, 0.11111105565129939
_LOG_4, _LOG_5, _LOG_6 = 0.09091444727837474, 0.07665855309105386, 0.07308292712444311
_SIN_0, _SIN_1, _SIN_2 = -0.16666666666666666, 0.008333333333330948, -0.00019841269836756774
_SIN_3, _SIN_4, _SIN_5 = 2.7557316101617874e-06, -2.505113165023518e-08, 1.5918115263265974e-10
_COS_0, _COS_1, _COS_2 = 0.041666666666666664, -0.0013888888888887398, 2.480158729876456e-05
_COS_3, _COS_4, _COS_5 = -2.7557317271145144e-07, 2.087614614655861e-09, -1.1382623647474604e-11


def philox_round(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """One round: two 32 x 32 -> 64 bit products, whose high words are mixed with the key and the other counter words."""
    product_0 = c0 * _MULTIPLIER_0
    product_1 = c2 * _MULTIPLIER_1
    return (product_1 >> _SHIFT) ^ c1 ^ k0, product_1 & _LOW, (product_0 >> _SHIFT) ^ c3 ^ k1, product_0 & _LOW


def philox4x32(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Ten rounds of Philox-4x32: the counter words c0..c3 under the key words k0, k1, all uint64 below 2^32."""
    # Written out, because compilers vectorise over sites only when no inner loop is left.
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    c0, c1, c2, c3 = philox_round(c0, c1, c2, c3, k0, k1)
    return c0, c1, c2, c3


def uniform(high: Any, low: Any) -> Any:
    """A double strictly inside (0, 1) from two random words: the midpoints of 2^53 equal intervals."""
    return (((high << _SHIFT) | low) >> _DISCARDED) * 1.0 * _ULP + 0.5 * _ULP


def log(u: Any) -> Any:
    """Natural logarithm of a positive normal double: exponent * ln 2 + 2 artanh((m - 1)/(m + 1)), error below 1 ulp or so."""
    bits = np.float64(u).view(np.uint64)
    mantissa = np.uint64((bits & _FRACTION_MASK) | _EXPONENT_OF_ONE).view(np.float64)
    large = (mantissa > _SQRT2) * 1.0
    mantissa = mantissa * (1.0 - 0.5 * large)
    exponent = (bits >> _FRACTION_BITS) * 1.0 - 1023.0 + large
    s = (mantissa - 1.0) / (mantissa + 1.0)
    z = s * s
    z2 = z * z
    low = (_LOG_0 + _LOG_1 * z) + z2 * (_LOG_2 + _LOG_3 * z)
    series = low + (z2 * z2) * ((_LOG_4 + _LOG_5 * z) + z2 * _LOG_6)
    return exponent * _LN2_HIGH + (2.0 * s + (2.0 * s * z * series + exponent * _LN2_LOW))


def sincos_turn(u: Any) -> Any:
    """(sin 2 pi u, cos 2 pi u) for u in [0, 1): the quarter turn is taken off exactly, the rest is a polynomial."""
    quarter = np.floor(4.0 * u + 0.5)
    r = (u - 0.25 * quarter) * _TWO_PI
    z = r * r
    z2 = z * z
    s = (_SIN_0 + _SIN_1 * z) + z2 * ((_SIN_2 + _SIN_3 * z) + z2 * (_SIN_4 + _SIN_5 * z))
    s = r + r * z * s
    c = (_COS_0 + _COS_1 * z) + z2 * ((_COS_2 + _COS_3 * z) + z2 * (_COS_4 + _COS_5 * z))
    c = 1.0 - 0.5 * z + z2 * c
    # Arithmetic in place of branches, so that compilers keep whole vectors: the factors below are 0, 1 or -1.
    half = np.floor(0.5 * quarter)
    odd = quarter - 2.0 * half
    sign_sin = 1.0 - 2.0 * (half - 2.0 * np.floor(0.5 * half))
    sign_cos = sign_sin * (1.0 - 2.0 * odd)
    return sign_sin * (s * (1.0 - odd) + c * odd), sign_cos * (c * (1.0 - odd) + s * odd)


def counter(stream: Any, occurrence: Any, step: Any, replica: Any, pair: Any) -> Any:
    """Pack who asks for noise into the 128-bit counter; all arguments uint64.

    ==========  ====  ==========================================================
    field       bits  meaning
    ==========  ====  ==========================================================
    pair        48    index of the pair of degrees of freedom on the whole lattice
    replica     24    independent copy
    step        40    time step
    stream      8     purpose (`latticemd.rng.Stream`)
    occurrence  8     how many times the same purpose has drawn in this step
    ==========  ====  ==========================================================
    """
    c0 = pair & _LOW
    c1 = ((pair >> _SHIFT) & np.uint64(0xFFFF)) | ((replica & np.uint64(0xFFFF)) << np.uint64(16))
    c2 = step & _LOW
    c3 = (
        ((step >> _SHIFT) & np.uint64(0xFF))
        | (stream << np.uint64(8))
        | (occurrence << np.uint64(16))
        | ((replica >> np.uint64(16)) << np.uint64(24))
    )
    return c0, c1, c2, c3


def uniform_pair(key: Any, stream: Any, occurrence: Any, step: Any, replica: Any, pair: Any) -> Any:
    """Two independent numbers, uniform in (0, 1), for the degrees of freedom 2 pair and 2 pair + 1; 53 bits each."""
    c0, c1, c2, c3 = counter(stream, occurrence, step, replica, pair)
    w0, w1, w2, w3 = philox4x32(c0, c1, c2, c3, key & _LOW, key >> _SHIFT)
    return uniform(w0, w1), uniform(w2, w3)


def normal_pair(key: Any, stream: Any, occurrence: Any, step: Any, replica: Any, pair: Any) -> Any:
    """Two independent standard normals for the degrees of freedom 2 pair and 2 pair + 1 (Box-Muller, 53-bit uniforms)."""
    u, v = uniform_pair(key, stream, occurrence, step, replica, pair)
    radius = np.sqrt(-2.0 * log(u))
    sine, cosine = sincos_turn(v)
    return radius * cosine, radius * sine
