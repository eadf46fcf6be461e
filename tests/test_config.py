"""The input layer: what a valid input means. What is said about invalid ones is in test_bad_input.py."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from latticemd import plugins
from latticemd.config import RunInput, input_template, json_schema, load_input, template_names
from latticemd.config.ramp_input import Exponential, Linear, Piecewise
from latticemd.errors import InputError
from latticemd.parameters import parameter

INPUTS = Path(__file__).parents[1] / "inputs"
MINIMAL = """\
lattice: {type: square, shape: [4, 6]}
model: {name: holstein}
dynamics: {integrator: langevin, dt: 0.1, steps: 10, temperature: 0.1}
"""

Load = Callable[..., RunInput]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Load:
    """Write text to a file and load it, with overrides."""
    path = tmp_path_factory.mktemp("config") / "input.yaml"

    def write_and_load(text: str | bytes, *overrides: str) -> RunInput:
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return load_input(path, overrides)

    return write_and_load


@dataclass(frozen=True)
class Shaken:
    """An integrator with parameters of its own."""

    positive: ClassVar[tuple[str, ...]] = ()
    amplitude: float = parameter(doc="amplitude of the shaking", dimension="length", gt=0)
    rate: float = parameter(1.0, doc="rate nu of the shaking", dimension="1/time", ge=0, rampable=True)
    mode: Literal["soft", "hard"] = parameter("soft", doc="how it shakes")
    kicks: int = parameter(2, doc="kicks per step", ge=1)
    quiet: bool = parameter(False, doc="whether it is silent")
    friction: float = parameter(0.3, doc="a common key, which the common rules govern", dimension="1/time")


@pytest.fixture
def shaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in of somebody else's, and one whose module does not exist."""
    monkeypatch.setitem(plugins._registered, ("integrator", "shaken"), Shaken)
    broken = EntryPoint("broken", "no_such_module:Model", plugins.KINDS["model"])
    known = {kind: plugins._entry_points(kind) for kind in plugins.KINDS}
    known["model"] = {**known["model"], "broken": broken}
    monkeypatch.setattr(plugins, "_entry_points", known.__getitem__)


# Defaults


def test_a_minimal_input_resolves_every_default(load: Load) -> None:
    run = load(MINIMAL)
    assert run.lattice.shape == (4, 6)
    assert run.model.parameters == {
        "electronic_temperature": 0.1,
        "next_hopping": 0.0,
        "disorder": 0.0,
        "vacancies": 0.0,
        "disorder_seed": 0,
        "mu": 0.0,
        "hopping": 1.0,
        "anisotropy": 0.0,
        "coupling": 1.5,
        "stiffness": 1.0,
        "intersite": 0.18,
        "mass": 1.0,
    }
    assert run.forcefield.name == "ed"
    assert (run.initial.kind, run.initial.width, run.initial.velocity, run.initial.seed) == (
        "normal",
        1.0,
        "thermal",
        0,
    )
    assert (run.dynamics.friction, run.dynamics.seed, run.dynamics.parameters) == (0.2, 0, {})
    assert (run.output.directory, run.output.every, run.output.checkpoint_every) == ("runs/input", 10, 100)
    assert run.output.fields == ("displacement", "momentum", "density")
    assert run.output.figures is True
    assert run.observables is None
    assert (run.replicas.count, run.replicas.first) == (1, 0)
    assert run.backend == "cpu"


def test_given_filling_leaves_mu_out(load: Load) -> None:
    parameters = load(MINIMAL, "model.filling=0.5").model.parameters
    assert parameters["filling"] == 0.5
    assert "mu" not in parameters


def test_electrons_have_the_temperature_of_the_bath_unless_they_have_their_own(load: Load) -> None:
    assert load(MINIMAL, "dynamics.temperature=0.3").model.parameters["electronic_temperature"] == 0.3
    run = load(MINIMAL, "dynamics.temperature=0", "model.electronic_temperature=0.05")
    assert run.model.parameters["electronic_temperature"] == 0.05
    ramp = load(MINIMAL, "dynamics.temperature={kind: linear, from: 1, to: 0.1, end: 8}").model.parameters
    assert ramp["electronic_temperature"].first == 1.0


def test_replicas_may_be_a_number(load: Load) -> None:
    assert load(MINIMAL, "replicas=4").replicas == load(MINIMAL, "replicas={count: 4, first: 0}").replicas


def test_observables_take_their_interval_from_the_output_unless_they_have_a_schedule(load: Load) -> None:
    blocks = (
        "[{name: energy}, {name: wall_fraction, every: 2}, {name: structure_factor, log: 5, q: [[1, 1]], after: 3}]"
    )
    run = load(MINIMAL, f"observables={blocks}", "output.every=7")
    assert run.observables is not None
    energy, walls, peak = run.observables
    assert [(item.every, item.log) for item in (energy, walls, peak)] == [(7, None), (2, None), (None, 5)]
    assert peak.q == ((1.0, 1.0),)
    assert peak.after == 3


@pytest.mark.parametrize("word", ["BAOAB", "OBABO", "BAB", "BRORB", "BA"])
def test_an_integrator_may_be_a_splitting_word(load: Load, word: str) -> None:
    assert load(MINIMAL, f"dynamics.integrator={word}").dynamics.integrator == word


def test_a_start_may_be_a_file_that_exists(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "start.npy"
    path.write_bytes(b"")
    start = load(MINIMAL, f"initial={{kind: file, path: {json.dumps(str(path))}}}").initial
    assert (start.path, start.frame) == (str(path), -1)


# Ramps


def test_ramps_keep_their_kind_and_numbers(load: Load) -> None:
    run = load(
        MINIMAL,
        "model.hopping={kind: exponential, from: 2, to: 0.1, time_constant: 50}",
        "model.coupling={kind: piecewise, points: [[0, 1.0], [100, 0.5]]}",
        "model.stiffness={kind: linear, from: 1.0, to: 0.5, start: 2, end: 400}",
        "model.intersite={kind: constant, value: 1}",
    )
    parameters = run.model.parameters
    assert parameters["hopping"] == Exponential.model_validate(
        {"kind": "exponential", "from": 2.0, "to": 0.1, "start": 0, "time_constant": 50.0}
    )
    assert isinstance(parameters["coupling"], Piecewise)
    assert parameters["coupling"].points == ((0, 1.0), (100, 0.5))
    assert isinstance(parameters["stiffness"], Linear)
    assert (parameters["stiffness"].start, parameters["stiffness"].end) == (2, 400)
    assert parameters["intersite"].value == 1.0


def test_only_parameters_that_say_so_may_be_ramps(load: Load) -> None:
    with pytest.raises(InputError, match=r"dynamics\.dt: expected a number > 0 \[time\], got a mapping"):
        load(MINIMAL, "dynamics.dt={kind: constant, value: 1}")


# Overrides


def test_overrides_change_values_items_and_whole_blocks_in_order(load: Load) -> None:
    run = load(
        MINIMAL, "lattice.shape.0=16", "dynamics.dt=0.2", "dynamics.dt=5e-2", "initial={kind: uniform, value: 2}"
    )
    assert run.lattice.shape == (16, 6)
    assert run.dynamics.dt == 0.05
    assert run.initial.value == 2.0


def test_an_override_may_add_a_block_and_contain_an_equals_sign(load: Load) -> None:
    run = load(MINIMAL, "output.directory=runs/dt=0.1")
    assert run.output.directory == "runs/dt=0.1"


def test_an_override_may_build_the_input_from_nothing(load: Load) -> None:
    from_nothing = load("", *(line.replace(": ", "=", 1) for line in MINIMAL.splitlines()))
    assert from_nothing == load(MINIMAL)


# YAML


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5), ("+2", 2.0), ("012", 12.0), ("0x10", 16.0), ("3", 3.0)],
)
def test_numbers_are_those_of_yaml_1_2(load: Load, text: str, value: float) -> None:
    dt = load(MINIMAL, f"dynamics.dt={text}").dynamics.dt
    assert dt == value
    assert type(dt) is float


@pytest.mark.parametrize("text", ["on", "yes", "No", "1:30", "2024-01-01", "1_000", "nan", "=", "1e", "e5", "0o8"])
def test_words_that_yaml_1_1_converted_stay_text(load: Load, text: str) -> None:
    assert load(f"{MINIMAL}title: {text}\n").title == text


@pytest.mark.parametrize("text", ["12", "1e-3", "true", "null", "~", ".inf", "0x10", "0o17", "on", "<<", "a: b", "# x"])
def test_text_that_looks_like_something_else_survives_the_resolved_input(load: Load, text: str) -> None:
    run = load(f"{MINIMAL}title: {json.dumps(text)}\n")
    assert run.title == text
    assert load(run.to_yaml()) == run


def test_a_byte_order_mark_and_windows_line_ends_are_no_matter(load: Load) -> None:
    assert load(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode()) == load(MINIMAL)


def test_an_input_may_be_json_with_all_of_unicode(load: Load) -> None:
    run = load(f'{MINIMAL}title: "\\ud83c\\udf00 \\u00e9"\n')
    assert run.title == "\U0001f300 \u00e9"
    assert load(run.to_yaml()) == run


# The resolved input

finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
steps = st.integers(0, 2**39)
seeds = st.integers(0, 2**64 - 1)
titles = st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable() and text.strip() != "")


def ramps(values: st.SearchStrategy[float]) -> st.SearchStrategy[Any]:
    """A number or any ramp with these values."""
    ends = {"from": values, "to": values, "start": steps}
    linear = st.fixed_dictionaries({"kind": st.just("linear"), **ends, "end": st.integers(2**39 + 1, 2**40 - 1)})
    exponential = st.fixed_dictionaries({"kind": st.just("exponential"), **ends, "time_constant": positive})
    points = st.dictionaries(steps, values, min_size=1).map(lambda d: [[s, d[s]] for s in sorted(d)])
    piecewise = st.fixed_dictionaries({"kind": st.just("piecewise"), "points": points})
    constant = st.fixed_dictionaries({"kind": st.just("constant"), "value": values})
    return st.one_of(values, linear, exponential, piecewise, constant)


velocities = st.one_of(st.sampled_from(["thermal", "zero"]), positive)
starts = st.one_of(
    st.fixed_dictionaries({}, optional={"width": positive, "velocity": velocities, "seed": seeds}),
    st.fixed_dictionaries({"kind": st.just("checkerboard")}, optional={"amplitude": finite, "velocity": velocities}),
    st.fixed_dictionaries({"kind": st.just("uniform"), "value": finite}, optional={"width": positive}),
)
observables = st.lists(
    st.one_of(
        st.fixed_dictionaries({"name": st.sampled_from(["energy", "correlation"])}, optional={"after": steps}),
        st.fixed_dictionaries({"name": st.just("wall_fraction"), "log": st.integers(1, 100)}),
        st.fixed_dictionaries(
            {"name": st.just("structure_factor"), "every": st.integers(1, 100)},
            optional={"q": st.lists(st.tuples(finite, finite), min_size=1, max_size=3)},
        ),
    ),
    unique_by=lambda block: block["name"],
)
runs = st.fixed_dictionaries(
    {
        "lattice": st.fixed_dictionaries(
            {"type": st.just("square"), "shape": st.lists(st.integers(3, 1000), min_size=2, max_size=2)}
        ),
        "model": st.fixed_dictionaries(
            {"name": st.just("holstein")},
            optional={
                "hopping": ramps(finite),
                "stiffness": ramps(positive),
                "mass": ramps(positive),
                "mu": ramps(finite),
            },
        ),
        "dynamics": st.fixed_dictionaries(
            {
                "integrator": st.sampled_from(["overdamped", "langevin", "verlet", "BRORB"]),
                "dt": positive,
                "steps": steps,
                "temperature": ramps(positive),
            },
            optional={"friction": positive, "seed": seeds},
        ),
    },
    optional={
        "title": titles,
        "initial": starts,
        "observables": observables,
        "replicas": st.integers(1, 100),
        "output": st.fixed_dictionaries({}, optional={"directory": titles, "figures": st.booleans()}),
    },
)


@given(run=runs)
@settings(max_examples=60, deadline=None)
def test_a_resolved_input_loads_to_itself(load: Load, run: dict[str, Any]) -> None:
    once = load(json.dumps(run))
    text = once.to_yaml()
    again = load(text)
    assert again == once
    assert again.to_yaml() == text
    assert once.dynamics.dt == run["dynamics"]["dt"]
    assert once.title == run.get("title")


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda s: s.encode("utf-8", "replace"))))
@settings(max_examples=150, deadline=None)
def test_no_bytes_raise_anything_but_an_input_error(load: Load, content: bytes) -> None:
    with pytest.raises(InputError) as caught:
        load(content)
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


KEYS = ["lattice", "lattice.shape", "model", "model.mu", "forcefield", "initial", "initial.velocity", "dynamics"]
KEYS += ["dynamics.temperature", "dynamics.integrator", "observables", "replicas", "output.fields", "title", "backend"]
plain = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(["kind", "file"])
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["kind", "name", "points", "q", "from", "to", "every", "path"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)


@given(key=st.sampled_from(KEYS), value=plain)
@example(key="dynamics.temperature", value=0)  # refused for what another block takes from it
@settings(max_examples=200, deadline=None)
def test_any_value_anywhere_is_accepted_or_answered_with_its_key(load: Load, key: str, value: Any) -> None:
    override = f"{key}={json.dumps(value)}"
    run, said = None, ""
    try:
        run = load(MINIMAL, override)
    except InputError as error:
        said = str(error)
    if run is not None:
        assert load(run.to_yaml()) == run
    else:
        assert key.split(".")[0] in said
        assert all(line.startswith("--set") or "input.yaml" in line for line in said.split("\n"))


# Plug-ins


@pytest.mark.usefixtures("shaken")
def test_the_keys_of_a_plug_in_are_its_parameters(load: Load) -> None:
    dynamics = load(MINIMAL, "dynamics.integrator=shaken", "dynamics.amplitude=2").dynamics
    assert dynamics.parameters == {"amplitude": 2.0, "rate": 1.0, "mode": "soft", "kicks": 2, "quiet": False}
    assert dynamics.friction == 0.2


@pytest.mark.usefixtures("shaken")
@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "dynamics.dt=1",
            r"input.yaml:3: dynamics.amplitude: missing; expected a number > 0 \[length\] \(amplitude of",
        ),
        (
            "dynamics.amplitude=0",
            r"--set dynamics.amplitude=0: dynamics.amplitude: expected a number > 0 \[length\], got 0",
        ),
        ("dynamics.nu=1", r"dynamics.nu: unknown key; did you mean 'rate'\?"),
        ("dynamics.mode=sofd", r"dynamics.mode: expected 'soft' or 'hard', got 'sofd'; did you mean 'soft'\?"),
        ("dynamics.kicks=1.5", r"dynamics.kicks: expected an integer >= 1, got 1.5"),
        ("dynamics.quiet=yes", r"dynamics.quiet: expected true or false, got 'yes'"),
        (
            "dynamics.rate={kind: constant, value: -1}",
            r"dynamics.rate.value: expected a number >= 0 \[1/time\], got -1",
        ),
        ("model.name=broken", r"model.name: model 'broken' cannot be loaded: No module named 'no_such_module'"),
    ],
)
def test_messages_about_a_plug_in_come_from_its_parameters(load: Load, override: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(MINIMAL, "dynamics.integrator=shaken", override)


@pytest.mark.usefixtures("shaken")
def test_the_schema_documents_the_plug_ins_that_load() -> None:
    schema = json_schema()
    assert schema["required"] == ["lattice", "model", "dynamics"]
    blocks = schema["$defs"]
    rate = blocks["integrator_shaken"]["properties"]["rate"]
    assert rate["description"] == "rate nu of the shaking [1/time]"
    assert rate["anyOf"][0] == {"type": "number", "minimum": 0}
    assert blocks["integrator_shaken"]["required"] == ["integrator", "dt", "steps", "temperature", "amplitude"]
    assert blocks["model_holstein"]["properties"]["name"]["const"] == "holstein"
    assert "broken" not in json.dumps(schema)


def test_every_reference_in_the_schema_resolves_and_every_key_is_described() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    references = {part.split('"')[0] for part in text.split('"#/$defs/')[1:]}
    assert references
    assert references <= schema["$defs"].keys()
    for block in (schema, *schema["$defs"].values()):
        assert block["additionalProperties"] is False
        for key, about in block["properties"].items():
            assert about.get("description"), key


# What is shipped


@pytest.mark.parametrize("path", sorted(INPUTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_inputs_load(path: Path) -> None:
    assert load_input(path).output.directory == f"runs/{path.stem}"


def test_the_demo_says_what_the_documentation_says() -> None:
    run = load_input(INPUTS / "holstein_quench.yaml")
    assert (run.lattice.type, run.lattice.shape) == ("square", (32, 32))
    assert (run.dynamics.integrator, run.dynamics.dt, run.dynamics.steps, run.dynamics.seed) == (
        "overdamped",
        0.1,
        400,
        7,
    )
    assert (run.initial.kind, run.initial.seed) == ("normal", 1)


@pytest.mark.parametrize("name", ["langevin", "nve", "quench"])
def test_templates_are_runnable_and_commented(load: Load, name: str) -> None:
    text = input_template(name)
    assert "#" in text
    assert load(text).model.name == "holstein"
    assert name in template_names()


def test_an_unknown_template_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'quench'"):
        input_template("qench")


def test_importing_the_input_layer_does_not_import_the_engine() -> None:
    code = (
        "import sys, latticemd.config; print([m for m in ('numba', 'scipy', 'h5py', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
