"""One simulation on many ranks: who has which replicas and cells, and what ranks tell each other.

`comm` speaks to other ranks, through MPI or to nobody; `partition` cuts replicas and cells into shares and knows that of every
rank; `halo` exchanges the cells around shares; `share` is what one rank has and asks; `launch` starts and ends ranks together.
"""
