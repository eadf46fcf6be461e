"""Bad input is answered with file, line, key, what was expected and the nearest valid word."""

from __future__ import annotations

from pathlib import Path

import pytest

from latticemd.config import load_input
from latticemd.errors import InputError
from latticemd.plugins import plugin_names

GOOD = """\
lattice:
  type: square
  shape: [4, 6]
model:
  name: holstein
  coupling: 1.5
  mass: 1.0
dynamics:
  integrator: overdamped
  dt: 0.1
  steps: 10
  temperature: 0.1
  friction: 0.2
initial:
  kind: normal
output:
  every: 10
"""


def message(tmp_path: Path, content: str | bytes, *overrides: str) -> str:
    """What is said about an input; fails if nothing is."""
    path = tmp_path / "input.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        load_input(path, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(f"{tmp_path}/", "")


def test_the_input_that_is_made_bad_below_is_good(tmp_path: Path) -> None:
    path = tmp_path / "input.yaml"
    path.write_text(GOOD)
    assert load_input(path).dynamics.steps == 10


RAMP = "dynamics.temperature"

# (text to replace, replacement, what the whole message is or begins with)
ONE_LINE = [
    ("  dt: 0.1", "  dt: 0", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got 0"),
    ("  dt: 0.1", "  dt: .nan", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got nan"),
    ("  dt: 0.1", "  dt: .inf", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got inf"),
    ("  dt: 0.1", "  dt: true", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got true"),
    ("  dt: 0.1", "  dt:", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got nothing"),
    ("  dt: 0.1", "  dt: 0,1", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got '0,1'"),
    (
        "  dt: 0.1",
        '  dt: "0.1"',
        "input.yaml:10: dynamics.dt: expected a number > 0 [time], got the text '0.1'; remove",
    ),
    ("  dt: 0.1", f"  dt: 1{'0' * 5000}", "input.yaml:10: dynamics.dt: expected a number > 0 [time], got '1000"),
    ("  dt: 0.1\n", "", "input.yaml:8: dynamics.dt: missing; expected a number > 0 [time] (time step dt)"),
    ("steps: 10", "steps: 1.5", "input.yaml:11: dynamics.steps: expected an integer from 0 to 2^40 - 1, got 1.5"),
    ("steps: 10", "steps: -1", "input.yaml:11: dynamics.steps: expected an integer from 0 to 2^40 - 1, got -1"),
    ("steps: 10", "steps: 1099511627776", "input.yaml:11: dynamics.steps: expected an integer from 0 to 2^40 - 1, got"),
    ("friction: 0.2", "friction: 0", "input.yaml:13: dynamics.friction: expected a number > 0 [1/time] for overdamped"),
    (
        "overdamped",
        "overdampd",
        "input.yaml:9: dynamics.integrator: unknown integrator 'overdampd'; did you mean 'overd",
    ),
    ("overdamped", "baoab", "input.yaml:9: dynamics.integrator: unknown integrator 'baoab'; did you mean 'BAOAB'?"),
    ("overdamped", "OAO", "input.yaml:9: dynamics.integrator: the word 'OAO' needs the kick B"),
    (
        "overdamped",
        "BARB",
        "input.yaml:9: dynamics.integrator: the word 'BARB' needs the kick B and either the drift A or",
    ),
    ("overdamped", "7", f"input.yaml:9: dynamics.integrator: expected one of {plugin_names('integrator')[0]}"),
    ("shape: [4, 6]", "shape: [2, 2]", "input.yaml:3: lattice.shape: lattice 2x2 is too small"),
    ("shape: [4, 6]", "shape: [4]", "input.yaml:3: lattice.shape: lattice square has 2 directions"),
    ("shape: [4, 6]", "shape: 4", "input.yaml:3: lattice.shape: expected a list of integers, such as [32, 32], got 4"),
    ("shape: [4, 6]", "shape:\n  - 4\n  - x", "input.yaml:5: lattice.shape.1: expected an integer from 1 to 2^31 - 1"),
    (
        "square",
        "sqare",
        "input.yaml:2: lattice.type: expected one of chain, ladder, square, triangular, honeycomb, kag",
    ),
    ("name: holstein", "name: holsten", "input.yaml:5: model.name: unknown model 'holsten'; did you mean 'holstein'?"),
    ("  name: holstein\n", "", f"input.yaml:4: model.name: missing; expected one of {plugin_names('model')[0]}"),
    ("mass: 1.0", "mass: -1", "input.yaml:7: model.mass: expected a number > 0 [mass], got -1"),
    ("mass: 1.0", "copling: 1", "input.yaml:7: model.copling: unknown key; did you mean 'coupling'? (keys: name, "),
    ("mass: 1.0", "kappa: 1", "input.yaml:7: model.kappa: unknown key; did you mean 'intersite'? (keys: name, "),
    ("mass: 1.0", "mu: 0\n  filling: 0.5", "input.yaml:8: model.filling: give either mu (grand canonical) or filling"),
    (
        "kind: normal",
        "kind: normel",
        "input.yaml:15: initial.kind: unknown kind 'normel'; did you mean 'normal'? (known:",
    ),
    ("kind: normal", "width: 0", "input.yaml:15: initial.width: expected a number > 0 [length], got 0"),
    (
        "kind: normal",
        "velocity: 0",
        "input.yaml:15: initial.velocity: expected 'thermal', 'zero' or a number > 0 [length",
    ),
    (
        "kind: normal",
        "velocity: termal",
        "input.yaml:15: initial.velocity: expected 'thermal', 'zero' or a number > 0 ",
    ),
    ("kind: normal", "seed: -1", "input.yaml:15: initial.seed: expected an integer from 0 to 2^64 - 1, got -1"),
    ("kind: normal", "kind: uniform", "input.yaml:14: initial.value: missing; expected a number [length]"),
    ("kind: normal", "kind: file\n  path: no.npy", "input.yaml:16: initial.path: no such file: 'no.npy'"),
    (
        "kind: normal",
        "kind: file\n  path: no.txt",
        "input.yaml:16: initial.path: expected the path of a .npy or .h5 file",
    ),
    ("every: 10", "every: 0", "input.yaml:17: output.every: expected an integer from 1 to 2^40 - 1, got 0"),
    ("every: 10", "fields: [velocity]", "input.yaml:17: output.fields.0: expected one of displacement, momentum"),
    ("every: 10", "fields: [force, force]", "input.yaml:17: output.fields.1: 'force' is listed twice"),
    ("every: 10", "figures: yes", "input.yaml:17: output.figures: expected true or false, got 'yes'"),
    (
        "every: 10",
        'directory: "a\\nb"',
        "input.yaml:17: output.directory: expected the path of a directory, got 'a\\nb'",
    ),
    ("output:\n  every: 10", "output: 3", "input.yaml:16: output: expected a mapping with keys directory, every,"),
    ("output:\n  every: 10", "replicas: 0", "input.yaml:16: replicas: expected an integer from 1 to 2^31 - 1, got 0"),
    ("output:\n  every: 10", "backend: gpu", "input.yaml:16: backend: expected 'cpu' or 'cuda', got 'gpu'"),
    ("output:\n  every: 10", "title: 3", "input.yaml:16: title: expected text on one line, got 3"),
    ("output:\n  every: 10", "ouput: {}", "input.yaml:16: ouput: unknown key; did you mean 'output'? (keys: title, "),
    (
        "temperature: 0.1",
        "temperature: 0",
        "input.yaml:4: model.electronic_temperature: missing; expected a number > 0",
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), ONE_LINE, ids=[new[:24].strip() or old for old, new, _ in ONE_LINE]
)
def test_one_mistake_is_answered_in_one_line(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert GOOD.count(old) == 1
    said = message(tmp_path, GOOD.replace(old, new))
    assert said.startswith(expected)
    assert "\n" not in said
    assert len(said) < 300


RAMPS = [
    ("{from: 1, to: 2, end: 3}", "kind: missing; expected one of linear, piecewise, exponential, constant"),
    ("{kind: lin, from: 1, to: 2, end: 3}", "kind: unknown kind 'lin'; did you mean 'linear'?"),
    ("{kind: linear, from: 1, to: -2, end: 3}", "to: expected a number >= 0 [energy], got -2"),
    ("{kind: linear, from: 1, to: 2, end: 3, begin: 0}", "begin: unknown key"),
    ("{kind: linear, from: 1, to: 2, start: 3, end: 3}", "end: expected a step after start (3), got 3"),
    ("{kind: linear, from: x, to: 2, end: 3}", "from: expected a number, got 'x'"),
    ("{kind: linear, from: 1, end: 3}", "to: missing; expected a number"),
    ("{kind: exponential, from: 1, to: 2, time_constant: 0}", "time_constant: expected a number > 0 [steps], got 0"),
    ("{kind: piecewise, points: []}", "points: expected a list of pairs [step, value], such as"),
    ("{kind: piecewise, points: [[0, 1], [5]]}", "points.1: expected a pair [step, value], got [5]"),
    (
        "{kind: piecewise, points: [[0, 1], [5, 1], [5, 2]]}",
        "points.2.0: expected a step after that of the point before",
    ),
    ("{kind: piecewise, points: [[0, 1], [5, -1]]}", "points.1.1: expected a number >= 0 [energy], got -1"),
]


@pytest.mark.parametrize(("ramp", "expected"), RAMPS, ids=[ramp for ramp, _ in RAMPS])
def test_a_bad_ramp_is_answered_with_the_place_inside_it(tmp_path: Path, ramp: str, expected: str) -> None:
    said = message(tmp_path, GOOD.replace("temperature: 0.1", f"temperature: {ramp}"))
    assert said.startswith(f"input.yaml:12: {RAMP}.{expected}")


def test_a_bath_ramp_that_reaches_zero_cannot_be_the_temperature_of_electrons(tmp_path: Path) -> None:
    said = message(tmp_path, GOOD, f"{RAMP}={{kind: linear, from: 1, to: 0, end: 5}}")
    assert said.startswith("input.yaml:4: model.electronic_temperature: missing; expected a number > 0 [energy]")


OBSERVABLES = [
    ("[{name: enrgy}]", "observables.0.name: unknown name 'enrgy'; did you mean 'energy'?"),
    ("[{every: 3}]", "observables.0.name: missing; expected one of energy"),
    ("[{name: energy, every: 1, log: 2}]", "observables.0.log: give either every (steps) or log"),
    ("[{name: energy, after: 5, before: 4}]", "observables.0.before: expected a step not before after (5), got 4"),
    ("[{name: energy, q: all}]", "observables.0.q: unknown key"),
    ("[{name: energy}, {name: energy, every: 2}]", "observables.1.name: 'energy' is listed twice"),
    ("[{name: structure_factor, q: al}]", "observables.0.q: expected 'all' or a list of wave vectors"),
    (
        "[{name: structure_factor, q: [[1, 1], [1]]}]",
        "observables.0.q.1: expected 2 components on a square lattice, got 1",
    ),
    ("energy", "observables: expected a list of observables"),
]


@pytest.mark.parametrize(("observables", "expected"), OBSERVABLES, ids=[text for text, _ in OBSERVABLES])
def test_a_bad_observable_is_answered_with_its_number(tmp_path: Path, observables: str, expected: str) -> None:
    said = message(tmp_path, f"{GOOD}observables: {observables}\n")
    assert said.startswith(f"input.yaml:18: {expected}")


OVERRIDES = [
    ("model.mu=abc", "--set model.mu=abc: model.mu: expected a number [energy], got 'abc'"),
    ("modle.mu=1", "--set modle.mu=1: modle: unknown key; did you mean 'model'?"),
    ("dynamics.timestep=1", "--set dynamics.timestep=1: dynamics.timestep: unknown key; did you mean 'dt'?"),
    ("lattice.shape.1=x", "--set lattice.shape.1=x: lattice.shape.1: expected an integer"),
    ("lattice.shape.2=3", "--set lattice.shape.2=3: lattice.shape is a list of 2; expected an index below 2"),
    ("lattice.type.x=3", "--set lattice.type.x=3: lattice.type is 'square', which has no key 'x'"),
    ("dynamics.dt=", "--set dynamics.dt=: dynamics.dt: expected a number > 0 [time], got nothing"),
    ("dynamics.dt", "--set dynamics.dt: expected key.path=value"),
    ("=3", "--set =3: expected key.path=value"),
    ("a..b=3", "--set a..b=3: expected key.path=value"),
    ("model.mu=[1", "--set model.mu=[1: not valid YAML"),
    ("model.mu=&a 1", "--set model.mu=&a 1: anchors and aliases"),
    ("model.mu=\ud800", "--set model.mu=\\ud800: "),
]


@pytest.mark.parametrize(("override", "expected"), OVERRIDES, ids=[ascii(text) for text, _ in OVERRIDES])
def test_a_bad_override_is_named_instead_of_a_line(tmp_path: Path, override: str, expected: str) -> None:
    assert message(tmp_path, GOOD, override).startswith(expected)


def test_a_value_that_replaces_an_override_is_blamed_on_the_last_one(tmp_path: Path) -> None:
    said = message(tmp_path, GOOD, "dynamics.temperature={kind: linear, from: -1, to: 2, end: 3}", "dynamics={dt: 1}")
    assert said.startswith("--set dynamics={dt: 1}: dynamics.integrator: missing")


FILES = [
    ("", "input.yaml: empty; expected keys title, system, lattice"),
    ("# only a comment\n", "input.yaml: empty; expected keys"),
    ("- 1\n- 2\n", "input.yaml:1: expected keys title, system, lattice, "),
    ("just words\n", "input.yaml:1: expected keys title, system, lattice, "),
    ("a: 1\nb: 2\na: 3\n", "input.yaml:3: a: duplicate key; first given at input.yaml:1"),
    ("model: {mu: 1,\n mu: 2}\n", "input.yaml:2: model.mu: duplicate key; first given at input.yaml:1"),
    ("a: &x 1\nb: *x\n", "input.yaml:1: anchors and aliases (& and *) are not allowed"),
    ("a: 1\nb: *x\n", "input.yaml:2: anchors and aliases (& and *) are not allowed"),
    ("a: {b: 1}\n<<: {c: 1}\n", "input.yaml:2: merge keys (<<) are not allowed"),
    ("a: !!python/object/apply:os.system [ls]\n", "input.yaml:1: tags such as tag:yaml.org,2002:python/object"),
    ("a: !!float 3\n", "input.yaml:1: tags such as"),
    ("a: 1\n---\nb: 2\n", "input.yaml:2: a second document ('---') begins"),
    ("a:\n\tb: 1\n", "input.yaml:2: not valid YAML: a tab where YAML expects spaces"),
    ("a: b: c\n", "input.yaml:1: not valid YAML: a second ': ' on the line"),
    ("a: [1, 2\n", "input.yaml:2: not valid YAML: "),
    ("? [1, 2]\n: 3\n", "input.yaml:1: a key must be a word"),
    ("[" * 100_000, "input.yaml:1: nested more than 16 levels deep"),
    ("\n".join(" " * n + "a:" for n in range(100)), "input.yaml:17: nested more than 16 levels deep"),
    ("a: 1\nb: \0\n", "input.yaml:2: contains a NUL byte"),
    ("a: 1\nb: \x07\n", "input.yaml:2: contains a control character"),
    ('a: 1\nb: "\\UFFFFFFFF"\n', "input.yaml:2: not valid YAML"),
    ('a: 1\nb: "\\uD800"\n', "input.yaml:2: an escape sequence stands for no character"),
    (b"a: 1\nb: \xff\xfe\n", "input.yaml:2: not UTF-8 text"),
    (b"\x89HDF\r\n\x1a\n" + bytes(100), "input.yaml:1: not UTF-8 text"),
    (b"#" * (2**20 + 1), "input.yaml: larger than 1 MiB"),
]


@pytest.mark.parametrize(("content", "expected"), FILES, ids=[ascii(content[:24]) for content, _ in FILES])
def test_a_file_that_is_no_input_is_answered_in_one_line(tmp_path: Path, content: str | bytes, expected: str) -> None:
    said = message(tmp_path, content)
    assert said.startswith(expected)
    assert "\n" not in said


def test_sixteen_levels_are_not_too_deep(tmp_path: Path) -> None:
    deep = "\n".join(" " * n + "a:" for n in range(16))
    assert "nested" not in message(tmp_path, deep)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load_input(tmp_path / "nowhere.yaml")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_input(tmp_path)


def test_all_problems_are_listed_unknown_keys_first_and_missing_ones_last(tmp_path: Path) -> None:
    bad = GOOD.replace("  dt: 0.1", "  timestep: 0.1").replace("mass: 1.0", "mass: 0").replace("every: 10", "evry: 1")
    lines = message(tmp_path, bad).split("\n")
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in lines] == [
        "input.yaml:10 dynamics.timestep",
        "input.yaml:17 output.evry",
        "input.yaml:7 model.mass",
        "input.yaml:10 dynamics.dt".replace(":10", ":8"),
    ]
    assert "did you mean 'dt'? (keys: integrator, dt, steps, temperature, friction, seed)" in lines[0]


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    lines = message(tmp_path, GOOD + "".join(f"x{n}: 1\n" for n in range(15))).split("\n")
    assert len(lines) == 11
    assert lines[-1] == "... and 5 more"


def test_missing_blocks_name_the_file_and_what_they_are(tmp_path: Path) -> None:
    said = message(tmp_path, "title: nothing else\n")
    for block in ("lattice", "model", "dynamics"):
        assert f"input.yaml:1: {block}: missing" in said


def test_long_values_and_control_characters_are_not_echoed(tmp_path: Path) -> None:
    said = message(tmp_path, GOOD, f"dynamics.dt={'x' * 5000}", 'title="\\e[31m"', 'model={"\\e]0;a": 1, name: "\\a"}')
    assert len(said) < 2000
    assert "\x1b" not in said
    assert "\\x1b[31m" in said
    assert "(5000 characters)" in said


def test_nothing_of_the_validation_library_shows(tmp_path: Path) -> None:
    said = "\n".join(message(tmp_path, GOOD.replace(old, new)) for old, new, _ in ONE_LINE)
    for jargon in ("pydantic", "http", "Input should", "validation error", "type=", "Extra inputs", "Traceback"):
        assert jargon not in said
