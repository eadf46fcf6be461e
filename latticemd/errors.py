"""The errors a user can cause or meet, each with the exit code its command ends with."""

from __future__ import annotations


class LatticeMDError(Exception):
    """Base of all errors that are answered with one message instead of a traceback."""

    exit_code = 2


class InputError(LatticeMDError):
    """Something the user wrote cannot be used: what it is, where it stands, what was expected."""


class OutputError(LatticeMDError):
    """The output directory cannot be used (exists, is locked, is not writable)."""


class Diverged(LatticeMDError):
    """The trajectory left the range where the equations make sense."""

    exit_code = 3


class StoppedEarly(LatticeMDError):
    """The run ended before its last step and can be resumed (signal, wall-clock limit, full disk)."""

    exit_code = 75


class TooUncertain(StoppedEarly):
    """The force field was less sure of its forces than the input demands; a higher limit lets the run go on."""
