"""The file of a network: what it says without torch, what is refused, and when it warns."""

from __future__ import annotations

import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import random_positions
from networks import register_networks
from safetensors.torch import save_file

from latticemd import Holstein, Lattice
from latticemd.errors import InputError
from latticemd.learning.modelfile import (
    Card,
    load_network,
    read_card,
    require_kind,
    save_network,
    symmetry_of,
    warnings_outside,
)
from latticemd.learning.networks import _KEPT, Bound, build_network
from latticemd.learning.records import record_of
from latticemd.models.ssh import SSH

RANGES = {
    "x": {"min": -3.0, "max": 3.0, "rms": [0.5, 1.5]},
    "temperature": [0.1, 0.1],
    "model": {"coupling": [1.0, 1.5], "electronic_temperature": [0.1, 0.1]},
}


@pytest.fixture
def saved(tmp_path, small):
    register_networks()
    module = build_network("small", {"width": 5}, small, seed=3)
    card = Card(
        network={"name": "small", "parameters": {"width": 5}},
        model=record_of("holstein", small),
        components=1,
        dtype="float64",
        parameters=sum(p.numel() for p in module.parameters()),
        symmetry=symmetry_of(small),
        ranges=RANGES,
        data={},
        errors={"validation": {"rmse": 0.1}},
        training={},
    )
    save_network(tmp_path / "small.safetensors", card, module.state_dict())
    return tmp_path / "small.safetensors", card, module


def test_what_is_read_back_is_what_was_saved(saved, small, tmp_path):
    path, card, module = saved
    found, again = load_network(path)
    assert found == card
    x = torch.from_numpy(random_positions(small))
    assert torch.equal(again(x), module(x))
    assert not again.training
    save_network(tmp_path / "twice.safetensors", found, again.state_dict())
    assert (tmp_path / "twice.safetensors").read_bytes() == path.read_bytes()


def test_the_card_needs_no_torch(saved):
    code = "import sys; sys.modules['torch'] = sys.modules['safetensors'] = None\n"
    code += f"from latticemd.learning.modelfile import read_card\nprint(read_card({str(saved[0])!r}).symmetry['order'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "8", done.stderr  # of a 6 x 4 rectangle: four operations and particle-hole symmetry


def test_loading_draws_no_random_numbers_of_others(saved):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    load_network(saved[0])
    assert torch.equal(torch.rand(3), expected)


def test_a_square_has_the_group_of_sixteen():
    group = symmetry_of(Holstein(Lattice("square", (4, 4))))
    assert (group["point_operations"], group["internal"], group["order"]) == (8, ["particle-hole"], 16)


def test_what_is_no_network_is_refused_in_one_sentence(saved, tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "pwned"), "w"))

    others = {
        "missing": None,
        "text": b"hello, this is not a network at all",
        "empty": b"",
        "pickle": pickle.dumps(Attack()),
        "huge": (2**62).to_bytes(8, "little") + b"{}",
        "nonsense": (10).to_bytes(8, "little") + b"not json!!",
        "list": (2).to_bytes(8, "little") + b"[]",
    }
    for name, content in others.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=r"no such file|not a network of latticemd|without the card"):
            load_network(tmp_path / name)
    assert not (tmp_path / "pwned").exists()
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="without the card of a latticemd network"):
        read_card(tmp_path / "foreign.safetensors")


def test_newer_formats_and_other_weights_are_refused(saved):
    path, card, module = saved
    save_network(path, dataclasses.replace(card, format=99), module.state_dict())
    with pytest.raises(InputError, match="has format 99"):
        read_card(path)
    weights = {name: value for name, value in module.state_dict().items() if name != "first.weight"}
    save_network(path, card, weights)
    with pytest.raises(InputError, match=r"do not fit the network small.*first.weight"):
        load_network(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="do not fit the network"):
        load_network(path)
    save_network(path, dataclasses.replace(card, network={"name": "smal", "parameters": {}}), module.state_dict())
    with pytest.raises(InputError, match="did you mean 'small'"):
        load_network(path)


def test_another_kind_of_model_or_lattice_is_refused(saved, small):
    path, card, _ = saved
    require_kind(card, Holstein(Lattice("square", (12, 8)), coupling=2.0), path)
    with pytest.raises(InputError, match="is for the model holstein, not for SSH"):
        require_kind(card, SSH(small.lattice), path)
    for lattice in (Lattice("triangular", (6, 6)), Lattice("square", (6, 6), boundary="open")):
        with pytest.raises(InputError, match="is for the lattice square"):
            require_kind(card, Holstein(lattice), path)


def test_warnings_have_numbers_and_only_about_what_matters(saved, small):
    _, card, _ = saved
    x = random_positions(small)
    assert warnings_outside(card, small, x) == []
    assert warnings_outside(card, dataclasses.replace(small, mass=7.0, stiffness=2.0, coupling=1.2), x) == []
    sentences = warnings_outside(card, dataclasses.replace(small, coupling=3.5, electronic_temperature=0.2), 4.0 * x)
    assert sentences[0] == "electronic_temperature is 0.2, and the network was trained between 0.1 and 0.1"
    assert sentences[1] == "coupling is 3.5, and the network was trained between 1 and 1.5"
    assert "and the network has seen -3 to 3" in sentences[2]
    assert "and states of the training had 0.5 to 1.5" in sentences[3]
    assert len(sentences) == 4


def test_a_module_is_built_anew_only_for_other_electrons(saved, small):
    _, _, module = saved
    built = []
    bound = Bound("small", {"width": 5}, small, module, built.append)
    for step in range(200):  # a ramp of the springs
        assert bound.to(dataclasses.replace(small, stiffness=1.0 + 0.01 * step)) is module
    assert built == []
    other = bound.to(dataclasses.replace(small, coupling=small.coupling + 0.5))
    assert built == [other]
    assert bound.to(dataclasses.replace(small, coupling=small.coupling + 0.5, stiffness=3.0)) is other


def test_of_the_models_of_a_ramp_only_a_few_are_kept(saved, small):
    _, _, module = saved
    bound = Bound("small", {"width": 5}, small, module)
    for step in range(100):
        bound.to(dataclasses.replace(small, coupling=1.0 + 0.01 * step))
    assert len(bound._built) == len(bound._bound) == _KEPT
    assert bound.to(small) is module


def test_weights_are_shared_between_lattices_and_models(saved, small):
    _, _, module = saved
    bound = Bound("small", {"width": 5}, small, module)
    large = bound.to(Holstein(Lattice("square", (8, 10)), coupling=2.0))
    x = random_positions(small)
    with torch.no_grad():
        next(module.parameters()).mul_(2.0)
    assert next(large.parameters()) is next(module.parameters())
    # Twice the 6 x 4 lattice in each direction: periodic convolutions cannot tell.
    tiled = np.tile(x.reshape(6, 4), (2, 2)).reshape(1, 96, 1)
    found = bound.to(Holstein(Lattice("square", (12, 8))))(torch.from_numpy(tiled))
    one = module(torch.from_numpy(x))
    np.testing.assert_allclose(found.detach().reshape(12, 8)[:6, :4].ravel(), one.detach().ravel(), rtol=1e-12)


def test_constants_have_all_digits_in_either_precision(saved, small):
    _, double = load_network(saved[0])
    _, single = load_network(saved[0], "float32")
    x = torch.from_numpy(random_positions(small))
    assert next(single.parameters()).dtype == torch.float32
    error = (single(x.float()).double() - double(x)).abs().max() / double(x).abs().max()
    assert 1e-9 < error < 1e-6
    assert build_network("linear", {}, small).coefficients.dtype == torch.float64
    assert torch.get_default_dtype() == torch.float32


def test_the_card_is_json(saved):
    raw = saved[0].read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    card = json.loads(header["__metadata__"]["latticemd"])
    assert card["format"] == 1
    assert card["model"]["lattice"] == {"type": "square", "shape": [6, 4]}
