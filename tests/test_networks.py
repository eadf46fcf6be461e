"""Networks of lattice models: which symmetries they keep, smooth forces, gradients, larger lattices, and what they refuse."""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch

from forcefields.networks.gcn import PUBLISHED
from forcefields.networks.irrep_mlp import IrrepNetwork
from latticemd import Holstein, Lattice
from latticemd.config.components import block_named
from latticemd.errors import InputError
from latticemd.learning.networks import build_network
from latticemd.measurements.forces import (
    gradient_error,
    internal_symmetry_error,
    primitive_translations,
    symmetry_error,
    symmetry_generators,
)
from latticemd.models.double_exchange import DoubleExchange
from latticemd.models.jahn_teller import JahnTeller
from latticemd.models.ssh import SSH

SMALL = {
    "enn": {"scalars": 4, "directed": 2, "blocks": 2},
    "irrep_mlp": {"radius": 1.0, "hidden": (3, 2)},
    "gcn": {"widths": (6, 8)},
    "cnn": {"channels": 6, "blocks": 1},
}
SQUARE = Lattice("square", (4, 4))
MODELS = {
    "holstein chain": Holstein(Lattice("chain", (6,))),
    "holstein square": Holstein(SQUARE),
    "holstein square away from mu = 0": Holstein(SQUARE, mu=0.4),
    "holstein triangular": Holstein(Lattice("triangular", (4, 4))),
    "holstein honeycomb": Holstein(Lattice("honeycomb", (3, 3))),
    "holstein kagome": Holstein(Lattice("kagome", (3, 3))),
    "holstein cubic": Holstein(Lattice("cubic", (4, 4, 4))),
    "ssh square": SSH(SQUARE),
    "ssh honeycomb, pinned": SSH(Lattice("honeycomb", (3, 3)), pinning=0.5),
    "jahn-teller square": JahnTeller(SQUARE),
    "double exchange square": DoubleExchange(SQUARE),
}
SEVERAL = ("holstein square", "ssh square", "jahn-teller square", "double exchange square")


def positions(model, seed=0, replicas=1):
    x = np.random.default_rng(seed).normal(size=(replicas, model.lattice.sites, model.components))
    return model.admissible(x)


@functools.cache
def _network(name, model_name, settings):
    model = MODELS[model_name]
    module = build_network(name, {**SMALL[name], **dict(settings)}, model, seed=3)
    x = torch.as_tensor(positions(model, seed=1, replicas=8))
    module.initialise(x, torch.randn_like(x))
    with torch.no_grad():
        for weight in module.parameters():  # biases start at 0, and would hide what they break
            weight += 0.1 * torch.randn_like(weight) * (weight.abs() if weight.any() else 1.0)
    return module


def network(name, model_name, **settings):
    """A small network with scales from random states and weights somewhat away from where trainings start."""
    return _network(name, model_name, tuple(settings.items()))


def landscape(module, dtype=torch.float64):
    """Force and energy as measurements take them."""

    def evaluate(x):
        at = torch.as_tensor(x, dtype=dtype)
        with torch.no_grad():
            energy = module.energy(at).numpy() if module.conservative else np.full(len(x), np.nan)
            return module(at).numpy().astype(float), energy.astype(float)

    return evaluate


def largest_error(module, model, operations, internal=True, dtype=torch.float64):
    """Of the force under operations of the lattice and internal symmetries."""
    found, x = landscape(module, dtype), positions(model)
    errors = [symmetry_error(found, model, operations, x)]
    if internal:
        errors.append(internal_symmetry_error(found, model, x))
    return max(error for error in errors if error is not None)


@pytest.mark.parametrize("model_name", MODELS)
def test_enn_keeps_the_whole_group(model_name):
    model = MODELS[model_name]
    error, culprit = largest_error(network("enn", model_name), model, symmetry_generators(model))
    assert error < 1e-12, culprit


@pytest.mark.parametrize("settings", [
    {"features": "raw"}, {"features": "cavity"}, {"base": "atomic"}, {"features": "cavity", "base": "cavity"},
    {"regular": 1}, {"nonlinearity": "regular", "regular": 1}, {"conservative": True},
    {"conservative": True, "base": "atomic", "features": "cavity"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("model_name", ["holstein square", "holstein honeycomb"])
def test_enn_keeps_the_whole_group_whatever_it_is_shown_and_need_not_learn(model_name, settings):
    model = MODELS[model_name]
    error, culprit = largest_error(network("enn", model_name, **settings), model, symmetry_generators(model))
    assert error < 1e-12, culprit


@pytest.mark.parametrize("model_name", [name for name in MODELS if "cubic" not in name])
@pytest.mark.parametrize("name", ["irrep_mlp", "gcn"])
def test_published_networks_keep_the_lattice(name, model_name):
    model = MODELS[model_name]
    error, culprit = largest_error(network(name, model_name), model, symmetry_generators(model), internal=False)
    assert error < 1e-12, culprit


@pytest.mark.parametrize("settings", [
    {"features": "saturated"}, {"features": "cavity", "base": "cavity"}, {"base": "atomic"}, {"conservative": True},
    {"parity": True}, {"parity": True, "conservative": True, "features": "saturated"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["irrep_mlp", "gcn"])
def test_published_networks_keep_particle_hole_symmetry_with_parity_only(name, settings):
    model = MODELS["holstein square"]
    module, parity = network(name, "holstein square", **settings), "parity" in settings
    error, culprit = largest_error(module, model, symmetry_generators(model), internal=parity)
    assert error < 1e-12, culprit
    if not parity:
        error, _ = internal_symmetry_error(landscape(module), model, positions(model))
        assert error > 1e-3


@pytest.mark.parametrize("model_name", [name for name in MODELS if "cubic" not in name])
def test_a_plain_convolution_keeps_translations_alone(model_name):
    model = MODELS[model_name]
    module = network("cnn", model_name)
    error, culprit = largest_error(module, model, primitive_translations(model), internal=False)
    assert error < 1e-12, culprit
    error, _ = symmetry_error(landscape(module), model, symmetry_generators(model), positions(model))
    assert error > 1e-2


def test_a_plain_convolution_is_odd_with_parity():
    model = MODELS["holstein square"]
    module = network("cnn", "holstein square", parity=True)
    error, _ = internal_symmetry_error(landscape(module), model, positions(model))
    assert error < 1e-12


@pytest.mark.parametrize("model_name", SEVERAL)
@pytest.mark.parametrize("name", ["enn", "irrep_mlp", "gcn"])
def test_symmetries_hold_to_rounding_in_single_precision(name, model_name):
    model = MODELS[model_name]
    module = copy.deepcopy(network(name, model_name)).to(torch.float32)
    operations, internal = symmetry_generators(model), name == "enn"
    error, culprit = largest_error(module, model, operations, internal, torch.float32)
    assert error < 1e-6, culprit


@pytest.mark.parametrize("model_name", SEVERAL)
def test_forces_are_the_same_with_and_without_a_gradient(model_name):
    # Without one, blocks work in place and in another order of memory.
    module, x = network("enn", model_name), torch.as_tensor(positions(MODELS[model_name]))
    with torch.no_grad():
        found = module(x)
    np.testing.assert_allclose(module(x).detach(), found, atol=1e-12 * float(found.abs().max()))


@pytest.mark.parametrize("model_name", SEVERAL)
@pytest.mark.parametrize("name", SMALL)
def test_forces_are_smooth(name, model_name):
    """Five-point differences of the force along a direction agree with its derivative."""
    model, module = MODELS[model_name], network(name, model_name)
    x, direction = (torch.as_tensor(positions(model, seed)) for seed in (0, 5))
    _, exact = torch.autograd.functional.jvp(module, x, direction)
    h = 1e-3
    with torch.no_grad():
        two, one, minus_one, minus_two = (module(x + n * h * direction) for n in (2, 1, -1, -2))
    found = (-two + 8 * one - 8 * minus_one + minus_two) / (12 * h)
    assert (found - exact).abs().max() < 1e-6 * exact.abs().max()


@pytest.mark.parametrize("model_name", SEVERAL)
@pytest.mark.parametrize("name", SMALL)
def test_conservative_forces_are_minus_the_gradient_of_the_energy(name, model_name):
    model, module = MODELS[model_name], network(name, model_name, conservative=True)
    x, direction = positions(model), positions(model, seed=5)
    assert gradient_error(landscape(module), x, direction) < 1e-7
    jacobian = torch.autograd.functional.jacobian(module, torch.as_tensor(x)).reshape(x.size, x.size)
    assert (jacobian - jacobian.T).norm() < 1e-12 * 2 * jacobian.norm()
    jacobian = torch.autograd.functional.jacobian(network(name, model_name), torch.as_tensor(x)).reshape(x.size, x.size)
    assert (jacobian - jacobian.T).norm() > 0.01 * 2 * jacobian.norm()


@pytest.mark.parametrize("model_name", SEVERAL)
@pytest.mark.parametrize("name", SMALL)
def test_a_pattern_that_is_repeated_on_a_larger_lattice_feels_the_same_forces(name, model_name):
    model, module = MODELS[model_name], network(name, model_name)
    grid = torch.as_tensor(positions(model)).reshape(1, 4, 4, -1)
    with torch.no_grad():
        small = module(grid.reshape(1, 16, -1)).reshape(1, 4, 4, -1)
        large = module.on(Lattice("square", (8, 12)))(grid.repeat(1, 2, 3, 1).reshape(1, 96, -1)).reshape(1, 8, 12, -1)
    assert (large - small.repeat(1, 2, 3, 1)).abs().max() < 1e-12 * small.abs().max()


@pytest.mark.parametrize("model_name", SEVERAL)
@pytest.mark.parametrize("name", SMALL)
def test_a_state_feels_the_same_forces_alone_and_among_others(name, model_name):
    model, module = MODELS[model_name], network(name, model_name)
    x = torch.as_tensor(positions(model, replicas=3))
    with torch.no_grad():
        together, alone = module(x), torch.cat([module(one[None]) for one in x])
    assert (together - alone).abs().max() < 1e-12 * alone.abs().max()


@pytest.mark.parametrize("conservative", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_forces_depend_on_nothing_beyond_the_halo(name, conservative):
    """And, if direct, on something at its edge: the halo is not longer than it need be."""
    model = Holstein(Lattice("chain", (32,)))
    module = build_network(name, SMALL[name] | {"conservative": conservative}, model, seed=3)
    x = torch.as_tensor(positions(model)).requires_grad_()
    (derivative,) = torch.autograd.grad(module(x)[0, 16, 0], x)
    far = np.abs(np.arange(32) - 16) > module.halo
    assert not derivative[0, far].any()
    # A gradient may lack the mixed derivative of two sites at the two ends of what an energy sees.
    assert conservative or derivative[0, [16 - module.halo, 16 + module.halo]].all()


@pytest.mark.parametrize("name", ["irrep_mlp", "gcn"])
def test_published_sizes(name):
    """143 thousand and 10.75 million in the publications; 144 160 weights are those of the products of irreps."""
    settings = {"widths": PUBLISHED} if name == "gcn" else {}
    module = build_network(name, settings, MODELS["holstein square"])
    sizes = {key: weight.numel() for key, weight in module.named_parameters()}
    assert sum(sizes.values()) == {"irrep_mlp": 146_957, "gcn": 10_753_793}[name]
    if name == "irrep_mlp":
        assert sum(n for key, n in sizes.items() if ".products." in key) == 144_160
        assert module.halo == 3
    else:
        assert module.halo == 8


@pytest.mark.parametrize("smooth", [False, True])
def test_the_published_activation_jumps_at_zero_and_its_mended_form_does_not(smooth):
    """tanh(|v| + c) v/|v| goes from -tanh c to tanh c."""
    model = MODELS["holstein square"]
    module = build_network("irrep_mlp", {"smooth": smooth, "radius": 1.0, "hidden": (32,)}, model)
    activation = module.trunk.network.layers[0].activation
    with torch.no_grad():
        activation.shift.fill_(0.5)
        z = torch.zeros(1, activation.fields.channels, 1, 1, dtype=torch.float64)
        z[:, 0] = 1e-9
        jump = activation(z, torch.zeros(32)) - activation(-z, torch.zeros(32))
    assert float(jump[0, 0, 0, 0]) == pytest.approx(0.0 if smooth else 2 * np.tanh(0.5), abs=1e-6)
    assert not jump[0, 1:].any()


def test_the_first_layer_of_irreps_is_fixed_for_one_number_per_site_and_learned_for_more():
    fixed, learned = (
        build_network("irrep_mlp", {"features": features, "hidden": (2,)}, MODELS["holstein square"])
        for features in ("raw", "saturated")
    )
    assert not list(fixed.trunk.network.project.parameters())
    # 9^2 + 3^2 + 6^2 + 5^2 + 11^2 kernels for each of 14 features
    assert sum(weight.numel() for weight in learned.trunk.network.project.parameters()) == 272 * 14
    x = torch.randn(2, 1, 7, 7, dtype=torch.float64)
    projected = fixed.trunk.network.project(x, True)
    assert projected.shape[1] == 9 + 3 + 6 + 5 + 2 * 11
    # Every combination has length one, and they are orthogonal: on 7 x 7 sites 45 sites are seen once each.
    kernel = fixed.trunk.network.project.kernel.reshape(45, 49)
    torch.testing.assert_close(kernel @ kernel.T, torch.eye(45, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "settings", "model", "sentence"), [
    ("enn", {}, Holstein(SQUARE, filling=0.5), "networks need a fixed mu"),
    ("cnn", {}, Holstein(SQUARE, disorder=1.0), "differs from site to site"),
    ("gcn", {}, Holstein(Lattice("square", (4, 4), "open")), "periodic lattice, not boundary"),
    ("enn", {"nonlinearity": "regular"}, DoubleExchange(SQUARE), "variables at most change sign"),
    ("gcn", {"widths": ()}, Holstein(SQUARE), r"widths must be one or more numbers > 0, got \[\]"),
    ("gcn", {"widths": (8, 0)}, Holstein(SQUARE), r"numbers > 0, got \[8, 0\]"),
    ("irrep_mlp", {"hidden": (-1,)}, Holstein(SQUARE), r"hidden must be one or more numbers > 0, got \[-1\]"),
    ("irrep_mlp", {"parity": True}, Holstein(SQUARE, mu=0.5), "needs a model with the symmetry x -> -x"),
    ("cnn", {"parity": True}, Holstein(Lattice("triangular", (4, 4))), "needs a model with the symmetry x -> -x"),
    ("cnn", {"base": "atomic"}, SSH(SQUARE), "base: atomic is for models of one orbital"),
    ("gcn", {"base": "cavity", "conservative": True}, Holstein(SQUARE), "base: cavity has no energy"),
    ("irrep_mlp", {"features": "cavity"}, JahnTeller(SQUARE), "use features: saturated"),
])  # fmt: skip
def test_what_networks_cannot_do_is_refused_in_a_sentence(name, settings, model, sentence):
    with pytest.raises(InputError, match=sentence):
        build_network(name, settings, model)


def test_lists_of_an_input_become_the_layers():
    given = block_named("network", "irrep_mlp").model_validate({"name": "irrep_mlp", "hidden": [8, 4], "smooth": False})
    assert IrrepNetwork(**given.parameters).hidden == (8, 4)
    with pytest.raises(ValueError, match="expected a list of copies of every irrep"):
        block_named("network", "irrep_mlp").model_validate({"name": "irrep_mlp", "hidden": "wide"})
