"""Writing the page: tables that need no script, and the numbers from which the script draws maps and charts.

page.html is the frame, page.css its looks, maps.js, particles.js, charts.js and page.js the script; all are put into the one file.
"""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from latticemd import __version__
from latticemd.errors import InputError
from latticemd.figures.style import DIVERGING, DIVERGING_DARK
from latticemd.output.directory import write_atomically
from latticemd.report.charts import charts_of
from latticemd.report.reading import ReportedRun, read_reported

MOST_RUNS = 6  # side by side
SCRIPTS = ("maps.js", "particles.js", "charts.js", "page.js")
WORDS = {"pass": ("✓", "holds"), "look": ("●", "look"), "fail": ("✕", "fails"), "skip": ("–", "does not apply")}
FACTS = {
    "wall_fraction": "wall fraction",
    "order_parameter": "order",
    "length_half": "L, half",
    "length_walls": "L, walls",
    "gyration_radius": "radius of gyration",
    "nearest_distance": "to the next",
}
STYLES = ("auto", "light", "dark")


def write_report(
    directories: Sequence[Path], target: Path | None = None, *, frames: int = 100, style: str = "auto"
) -> Path:
    """Write one HTML file about runs and return its path, RUN/report.html of a single run unless given.

    At most so many frames of each, fewer where the page would exceed 10 MB. `style` is light, dark, or auto: as the reader's
    system has it. Raises InputError without runs, with more than six, or where one has nothing to show.
    """
    if not 1 <= len(directories) <= MOST_RUNS:
        raise InputError(f"a report shows 1 to {MOST_RUNS} runs side by side, got {len(directories)}")
    if style not in STYLES:
        raise InputError(f"--style {style}: expected {', '.join(STYLES)}")
    if target is None and len(directories) > 1:
        raise InputError(f"--output FILE.html is needed: where shall the report of {len(directories)} runs go?")
    target = target or Path(directories[0]) / "report.html"
    if target.suffix != ".html":
        raise InputError(f"{target}: expected a file name that ends in .html")
    runs = [read_reported(Path(directory), len(directories), frames) for directory in directories]
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, page_of(runs, style).encode())
    return target


def page_of(runs: Sequence[ReportedRun], style: str = "auto") -> str:
    """The text of the page."""
    names = _distinct([run.name for run in runs])
    titles = list(dict.fromkeys(run.title for run in runs))
    title = titles[0] if len(titles) == 1 else f"{len(runs)} runs"
    return Template(_source("page.html")).substitute(
        style=style,
        title=html.escape(title),
        names=html.escape("  ·  ".join(names)),
        css=_source("page.css"),
        script="\n".join(_source(name) for name in SCRIPTS),
        data=_data(runs, names),
        maps="\n".join(_map(n, run, name) for n, (run, name) in enumerate(zip(runs, names, strict=True))),
        charts="\n".join(_chart(chart) for chart in charts_of(runs)),
        pills="\n".join(_pill(run, name) for run, name in zip(runs, names, strict=True)),
        verdicts=_verdicts(runs, names),
        settings=_settings(runs, names),
        provenance=_table([run.provenance for run in runs], names),
        inputs="\n".join(_input(run, name) for run, name in zip(runs, names, strict=True)),
        version=html.escape(__version__),
    )


def latex_to_html(text: str) -> str:
    r"""The few words of LaTeX in which models name their order fields, such as (n_i-1/2)\,(-1)^i, as HTML."""
    text = html.escape(text)
    for word, sign in {r"\,": " ", r"\cdot": " · ", r"\sigma": "σ", r"\phi": "φ"}.items():
        text = text.replace(word, sign)
    text = re.sub(r"\\mathbf\{(.*?)\}", r"<b>\1</b>", text)
    for sign, tag in (("_", "sub"), ("^", "sup")):
        text = re.sub(rf"\{sign}(\{{(.*?)\}}|.)", lambda found: f"<{tag}>{found[2] or found[1]}</{tag}>", text)  # noqa: B023
    return re.sub(r"(?<![<&/\w])([A-Za-z])(?![\w>])", r"<i>\1</i>", text)


def _source(name: str) -> str:
    return (files("latticemd.report") / name).read_text(encoding="utf-8")


def _data(runs: Sequence[ReportedRun], names: Sequence[str]) -> str:
    """The numbers of the page as JSON that may stand inside a script element."""
    common = {run.label: _in_common([one.field for one in runs if one.label == run.label]) for run in runs}
    content = {
        "runs": [
            {
                "name": name,
                "time": run.time,
                "step": run.step,
                "field": {**run.field, **common[run.label]},
                "facts": run.facts,
            }
            for run, name in zip(runs, names, strict=True)
        ],
        "times": np.unique(np.concatenate([run.time for run in runs])),
        "charts": charts_of(runs),
        "colours": {"light": DIVERGING, "dark": DIVERGING_DARK},
    }
    # "</script>" in a name would end the element, "<!--" begin a comment.
    return json.dumps(_short(content), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _in_common(fields: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How fields of one kind are looked at, so that they can be compared: the end of the colours; size and side of particles."""
    common: dict[str, Any] = {key: max(one[key] for one in fields) for key in ("limit", "edge") if key in fields[0]}
    return {**common, "axes": fields[0]["axes"]} if "axes" in fields[0] else common


def _short(value: Any) -> Any:
    """Plain values; numbers with six digits, null for those that are not finite."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, dict):
        return {key: _short(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _distinct(names: Sequence[str]) -> list[str]:
    """Names of runs, numbered where two directories have the same."""
    return [name if names.count(name) == 1 else f"{name} ({n + 1})" for n, name in enumerate(names)]


def _map(n: int, run: ReportedRun, name: str) -> str:
    facts = "".join(
        f'<div><dt>{label}</dt><dd data-fact="{key}">–</dd></div>' for key, label in FACTS.items() if key in run.facts
    )
    particles = run.field["kind"] == "particles"
    what, one = ("particles of", "particle") if particles else ("order field of", "site")
    notes = _notes(run)
    note = f"<p class=note>{'; '.join(notes)}</p>" if notes else ""
    return (
        f"<figure class=map data-run={n}><figcaption><span class=swatch data-series={n}></span><b>{html.escape(name)}</b> "
        f"<span class=at></span></figcaption>"
        f'<div class=field><canvas tabindex=0 role=img aria-label="{what} {html.escape(name)}; arrow keys go '
        f'from {one} to {one}"></canvas><span class=mark hidden></span></div>'
        f"<div class=bar><span class=low></span><canvas width=256 height=1 aria-hidden=true></canvas><span class=high></span></div>"
        f"<p class=readout><span class=symbol>{latex_to_html(run.label)}</span> <output>point at a {one}</output></p>"
        f"<dl>{facts}</dl>{note}</figure>"
    )


def _notes(run: ReportedRun) -> list[str]:
    """What a reader has to know of a map."""
    block = run.field["block"]
    notes = [f"means over {block} × {block} sites"] if block > 1 else []
    notes += [f"the first of {run.replicas} replicas"] if run.replicas > 1 else []
    return notes + (["drag to turn"] if run.field["kind"] == "particles" else [])


def _chart(chart: dict[str, Any]) -> str:
    options = "".join(f"<option>{html.escape(choice['label'])}</option>" for choice in chart["choices"])
    title = html.escape(chart["title"])
    return (
        f'<figure class=chart id="chart-{chart["id"]}"><figcaption><h3>{title}</h3>'
        f'<select aria-label="what {title} shows"{" hidden" if len(chart["choices"]) == 1 else ""}>{options}</select>'
        f"<span class=tools><button type=button data-do=in title='zoom in'>+</button>"
        f"<button type=button data-do=out title='zoom out'>−</button>"
        f"<button type=button data-do=all title='show all'>all</button></span></figcaption>"
        f'<svg tabindex=0 role=img aria-label="{title}; plus and minus zoom, arrow keys move, 0 shows all"></svg>'
        f"<p class=readout><output></output></p></figure>"
    )


def _pill(run: ReportedRun, name: str) -> str:
    worst = next((word for word in ("fail", "look") if any(one.verdict == word for one in run.verdicts)), "pass")
    those = ", ".join(one.name for one in run.verdicts if one.verdict == worst)
    told = {"fail": f"{those} fails", "look": f"look at {those}", "pass": "all checks hold"}[worst]
    return f'<a class="pill {worst}" href="#checks">{WORDS[worst][0]} {html.escape(name)}: {html.escape(told)}</a>'


def _verdicts(runs: Sequence[ReportedRun], names: Sequence[str]) -> str:
    rows: dict[str, list[str]] = {}
    for n, run in enumerate(runs):
        for one in run.verdicts:
            sign, word = WORDS[one.verdict]
            cell = (
                f'<td><span class="verdict {one.verdict}"><span aria-hidden=true>{sign}</span> {word}</span> '
                f"{html.escape(one.note)}</td>"
            )
            rows.setdefault(one.name, ["<td></td>"] * len(runs))[n] = cell
    return _rows(((name, cells) for name, cells in rows.items()), names)


def _settings(runs: Sequence[ReportedRun], names: Sequence[str]) -> str:
    """Of several runs, what they differ in comes first and the rest can be unfolded."""
    if len(runs) == 1:
        return _table([run.settings for run in runs], names)
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    differ = [key for key in keys if len({run.settings.get(key) for run in runs}) > 1]
    apart = _table([{key: run.settings.get(key, "") for key in differ} for run in runs], names)
    common = _table([{key: runs[0].settings[key] for key in keys if key not in differ}], ["all runs"])
    head = apart if differ else "<p>These runs have equal settings.</p>"
    return f"{head}<details><summary>What they have in common</summary>{common}</details>"


def _table(columns: Sequence[dict[str, str]], names: Sequence[str]) -> str:
    keys = list(dict.fromkeys(key for column in columns for key in column))
    return _rows(((key, [f"<td>{html.escape(column.get(key, ''))}</td>" for column in columns]) for key in keys), names)


def _rows(rows: Iterable[tuple[str, Sequence[str]]], names: Sequence[str]) -> str:
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in names)
    body = "".join(f"<tr><th scope=row>{html.escape(key)}</th>{''.join(cells)}</tr>" for key, cells in rows)
    return (
        f"<div class=wide tabindex=0><table><thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _input(run: ReportedRun, name: str) -> str:
    return f"<details><summary>Input of {html.escape(name)}</summary><pre>{html.escape(run.input)}</pre></details>"
