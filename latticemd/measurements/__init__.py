"""How far forces and trajectories are from what they promise, as numbers; `latticemd.verify` and `latticemd.testing` judge."""
