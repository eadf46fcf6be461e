"""Networks for points in space: equivariant and plain ones, and the charged particles on which they are compared.

===============  =======================================================================================
`nbody`          the benchmark: trajectories of five charged particles, made from a seed
===============  =======================================================================================
"""
