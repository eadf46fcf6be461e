"""The command line: quick help, honest exit codes, and one clear message for each way to go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_run import QUENCH, latticemd

DEEP = "[" * 20_000


@pytest.fixture
def workplace(tmp_path):
    (tmp_path / "input.yaml").write_text(QUENCH)
    return tmp_path


def assert_refused(done: subprocess.CompletedProcess[str], *fragments: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for fragment in fragments:
        assert fragment in done.stderr
    assert len(done.stderr) < 2000


@pytest.mark.parametrize(
    ("setting", "fragments"),
    [
        ("dynamics.temperature=-1", ["dynamics.temperature", ">= 0", "-1"]),
        ("dynamics.dt=0", ["dynamics.dt", "> 0"]),
        ("lattice.shape=[2, 2]", ["lattice.shape", "use shape: [3, 3]"]),
        ("model.filling=1.3", ["model.filling", "< 1", "1.3"]),
        ("model.filling=0.5", []),
        ("model.copling=1", ["model.copling", "'coupling'"]),
        ("dynamics.steps=many", ["dynamics.steps", "integer"]),
        ("forcefield.name=edd", ["'ed'"]),
        ("initial={kind: file, path: nowhere.npy}", ["nowhere.npy"]),
        ("dynamics.integrator=BAAB0", ["dynamics.integrator"]),
    ],
)
def test_impossible_values_name_the_key_and_what_was_expected(workplace, setting, fragments):
    done = latticemd("run", "input.yaml", "--set", setting, cwd=workplace)
    if not fragments:  # a valid change, so that this table can tell refusal from failure
        assert done.returncode == 0, done.stderr
        return
    assert_refused(done, f"--set {setting.split('=')[0]}", *fragments)
    assert not (workplace / "out").exists()


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (QUENCH.replace("coupling", "cuopling"), ["input.yaml:2", "'coupling'"]),
        (QUENCH.replace("dt: 0.1", "dt: soon"), ["input.yaml:5", "dynamics.dt", "number > 0"]),
        (QUENCH.replace("[6, 4]", "[6, 4"), ["input.yaml:", "YAML"]),
        (QUENCH + "lattice: {type: square, shape: [8, 8]}\n", ["input.yaml:7", "duplicate"]),
        (DEEP, ["nested"]),
        ("a: &a [x]\nb: [*a, *a]\n", ["anchors"]),
        ("x" * (2**20 + 1), ["larger than 1 MiB"]),
        ("", ["empty"]),
        ("just text", ["expected keys"]),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", ["UTF-8"]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_unusable_files_are_refused_in_one_message(workplace, content, fragments):
    raw = content if isinstance(content, bytes) else content.encode()
    (workplace / "input.yaml").write_bytes(raw)
    for command in ("run", "validate"):
        assert_refused(latticemd(command, "input.yaml", cwd=workplace), *fragments)
    assert {path.name for path in workplace.iterdir()} == {"input.yaml"}
    assert (workplace / "input.yaml").read_bytes() == raw


def test_a_missing_input_is_named(tmp_path):
    assert_refused(latticemd("run", "nothing.yaml", cwd=tmp_path), "nothing.yaml")


def test_output_that_cannot_be_written_is_refused(workplace):
    (workplace / "taken").write_text("precious")
    for place in ("taken", "taken/below"):
        assert_refused(latticemd("run", "input.yaml", "--output", place, cwd=workplace), "--output")
    assert (workplace / "taken").read_text() == "precious"
    (workplace / "foreign").mkdir()
    (workplace / "foreign/notes.txt").write_text("precious")
    assert_refused(latticemd("run", "input.yaml", "--output", "foreign", cwd=workplace), "not empty")
    assert_refused(latticemd("run", "input.yaml", "--resume", cwd=workplace), "no run to resume")
    assert_refused(latticemd("resume", "foreign", cwd=workplace), "no run")
    assert (workplace / "foreign/notes.txt").read_text() == "precious"


@pytest.mark.parametrize(
    ("array", "fragments"),
    [
        (np.zeros(23), ["(23,)", "(24,)", "(R, 24, 1)"]),
        (np.zeros((24, 2)), ["(24, 2)"]),
        (np.zeros((0, 24, 1)), ["(0, 24, 1)"]),
        (np.where(np.arange(24) == 5, np.nan, 0.0), ["site 5", "not finite"]),
        (np.array(["a"] * 24), ["real numbers"]),
        (np.zeros(24, dtype=complex), ["real numbers"]),
    ],
    ids=lambda value: str(getattr(value, "shape", ""))[:12],
)
def test_positions_that_do_not_fit_are_refused(workplace, array, fragments):
    np.save(workplace / "q.npy", array)
    done = latticemd("forces", "input.yaml", "--positions", "q.npy", "--output", "f.npz", cwd=workplace)
    assert_refused(done, "q.npy", *fragments)
    assert not (workplace / "f.npz").exists()


def test_pickled_positions_are_not_loaded(workplace):
    np.save(workplace / "q.npy", np.array([{"a": 1}] * 24, dtype=object), allow_pickle=True)
    done = latticemd("forces", "input.yaml", "--positions", "q.npy", "--output", "f.npz", cwd=workplace)
    assert_refused(done, "q.npy")


def test_templates_are_written_once_and_run(tmp_path):
    for name in ("quench", "langevin", "nve"):
        assert latticemd("init", name, cwd=tmp_path).returncode == 0
        assert latticemd("validate", f"{name}.yaml", cwd=tmp_path).returncode == 0
    assert_refused(latticemd("init", "quench", cwd=tmp_path), "not overwritten")
    assert_refused(latticemd("init", "qwench", cwd=tmp_path), "'quench'")


def test_the_schema_describes_the_keys(tmp_path):
    done = latticemd("schema", cwd=tmp_path)
    schema = json.loads(done.stdout)
    assert {"lattice", "model", "forcefield", "initial", "dynamics", "output"} <= schema["properties"].keys()
    assert "electron-lattice coupling" in done.stdout


def test_info_lists_plugins(tmp_path):
    done = latticemd("info", cwd=tmp_path)
    assert done.returncode == 0
    for word in ("holstein", "ed", "overdamped", "numpy"):
        assert word in done.stdout


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import latticemd; latticemd.Lattice", ["numba", "scipy", "h5py", "pydantic", "matplotlib", "typer"]),
        ("import latticemd.cli", ["numba", "scipy", "h5py", "numpy", "matplotlib", "pydantic"]),
        ("import latticemd.config", ["numba", "h5py", "matplotlib"]),
    ],
)
def test_what_is_not_needed_is_not_imported(statement, absent):
    code = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_reference_of_input_keys_is_up_to_date():
    script = Path(__file__).parent.parent / "tools" / "input_reference.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run python tools/input_reference.py"
