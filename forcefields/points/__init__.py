"""Networks for points in space: equivariant and plain ones, and the charged particles on which they are compared.

==================  =======================================================================================
`nbody`             the benchmark: trajectories of five charged particles, made from a seed
`frames`            frames of a cloud of points, and `FrameAveraged`, which makes any network equivariant
`graph`             plain networks: `GraphNetwork`, `DeepSets`
`frame_graph`       `FrameGraph`: a graph network of vectors, averaged layer by layer
`egnn`              `EGNN`: numbers on points, and points that move along lines between them
`tensor_products`   `TensorProducts`: scalars, vectors and quadrupoles coupled by e3nn
`graphs`            all graphs of up to eight nodes, each once
`graph_frames`      frames of graphs: networks that see no labels, yet tell graphs apart
`predictors`        `Force` and `Dynamics`: what networks are asked; the networks by name
==================  =======================================================================================

Networks take positions x, velocities v (B, N, 3) and charges q (B, N), and return vectors (B, N, 3). Give x in double precision:
frames are found in it, whatever the precision of the weights.
"""
