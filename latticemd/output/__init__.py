"""What a run leaves on disk: its directory, checkpoints, the H5MD trajectory and the summary.

A process killed at any moment loses at most what came after its last checkpoint:

1. `TrajectoryWriter.seal` makes the rows written so far durable and lists them in `trajectory.h5`;
2. `write_checkpoint` then replaces the checkpoint in one step and keeps the previous one;
3. a resumed run cuts the trajectory to the step of its checkpoint, so no row is missing or doubled.
"""
