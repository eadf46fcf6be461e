"""From frames to physics: growth laws, scaling, domains, spectra, and what their errors are.

Functions on arrays, which need no run and no file: a quantity of S independent samples (replicas, seeds) at F times has shape
(F, S). `latticemd.analysis.runner` is what `latticemd analyze` does with the directories of runs.

===============  =================================================================================================
module           what it answers
===============  =================================================================================================
`statistics`     means, errors from sample to sample, resampling; do two groups of runs differ?
`growth`         the exponent of L(t) ~ t^n with its error, and its local slope
`collapse`       do C(r/L) of all times lie on one curve?
`domains`        how large are the regions of one sign?
`distributions`  how are displacements distributed?
`timeseries`     how long does a series remember, and what is the error of its mean?
`dynamics`       S(q, w): which waves, how fast?
`spectra`        where are the levels of the electrons, at walls and inside domains?
===============  =================================================================================================

Lengths, correlations and structure factors of single frames are in `latticemd.observables`.
"""
