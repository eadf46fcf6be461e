"""From frames to physics: growth laws, scaling, domains, spectra, and what their errors are.

Functions on arrays, which need no run and no file: a quantity of S independent samples (replicas, seeds) at F times has shape
(F, S). `latticemd.analysis.runner` is what `latticemd analyze` does with the directories of runs.

==============  ==================================================================================================
module          what it answers
==============  ==================================================================================================
`statistics`    means, errors from sample to sample, resampling; do two groups of runs differ?
`growth`        the exponent of L(t) ~ t^n with its error, and its local slope
`domains`       how large are the regions of one sign?
`distributions` how are displacements distributed?
`collapse`      do C(r/L) of all times lie on one curve?
==============  ==================================================================================================
"""
