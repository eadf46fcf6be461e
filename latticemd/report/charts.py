"""Which charts a page has, and the curves in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from latticemd.report.reading import ReportedRun

TIME = "time"
LENGTHS = {
    "length_half": ("C(L) = C(0)/2", "length L"),
    "length_moment": ("L = 2π/⟨k⟩ of S(k)", "length L"),
    "length_walls": ("L from the density of walls", "length L"),
}
PROFILES = {
    "structure_factor": ("S(q), rings around Q", "S(q)", "|q − Q|", [True, True]),
    "correlation": ("C(r), circles", "C(r)", "distance r", [False, False]),
    "pair_density": ("P(r) of pairs", "P(r)", "distance r", [False, False]),
}
ENERGIES = {
    "total_energy": ("total energy", "total energy per {}"),
    "free_energy": ("free energy", "free energy per {}"),
    "kinetic_energy": ("kinetic energy", "kinetic energy per {}"),
    "conserved_energy": ("conserved energy", "conserved energy per {}"),
    "temperature": ("kinetic temperature", "kinetic temperature"),
}
STATES = {
    "wall_fraction": ("wall fraction", [True, True]),
    "order_parameter": ("order |⟨φ⟩|", [False, False]),
    "local_amplitude": ("order inside domains ⟨|φ|⟩", [False, False]),
    "domain_size": ("sites of a site's domain", [True, True]),
}
REACH = {
    "gyration_radius": ("radius of gyration", "radius of gyration"),
    "nearest_distance": ("distance to the next particle", "distance to the next"),
}


def charts_of(runs: Sequence[ReportedRun]) -> list[dict[str, Any]]:
    """Charts with their choices and curves, for the script; those that no run has anything for are left out.

    A choice has `label`, `x`, `y` (names of the axes), `log` (of both axes), and `curves`: for each run [x, y], or [x, [y of
    every frame]] where `frames` is true, or None.
    """
    one = "particle" if all("gyration_radius" in run.facts for run in runs) else "site"
    # Domains grow by powers of time; particles go around.
    growing = [one == "site", False]
    charts = [
        ("length", "Domain size L(t)", [_over_time(runs, k, *words, fit=True) for k, words in LENGTHS.items()]),
        ("structure", "Structure now", [_profile(runs, k, *words) for k, words in PROFILES.items()]),
        ("walls", "Walls and order", [_over_time(runs, k, w, w, log=log) for k, (w, log) in STATES.items()]),
        ("reach", "Reach of the cloud", [_over_time(runs, k, *words, log=growing) for k, words in REACH.items()]),
        (
            "energy",
            "Energy and temperature",
            [_over_time(runs, k, w, y.format(one), log=growing) for k, (w, y) in ENERGIES.items()],
        ),
    ]
    known = [(name, title, [one for one in choices if any(one["curves"])]) for name, title, choices in charts]
    return [{"id": name, "title": title, "choices": choices} for name, title, choices in known if choices]


def _over_time(
    runs: Sequence[ReportedRun],
    key: str,
    label: str,
    axis: str,
    log: Sequence[bool] = (True, True),
    fit: bool = False,
) -> dict[str, Any]:
    curves = [list(run.curves[key]) if key in run.curves else None for run in runs]
    return {
        "label": label,
        "x": TIME,
        "y": axis,
        "log": list(log),
        "fit": fit,
        "frames": False,
        "curves": curves,
    }


def _profile(runs: Sequence[ReportedRun], key: str, label: str, y: str, x: str, log: Sequence[bool]) -> dict[str, Any]:
    curves = [list(run.profiles[key]) if key in run.profiles else None for run in runs]
    return {"label": label, "x": x, "y": y, "log": list(log), "fit": False, "frames": True, "curves": curves}
