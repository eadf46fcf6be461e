"""Equivariant layers: kernels that commute with every operation, as many as characters say, products that keep the group."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch

from forcefields.equivariant import (
    Convolution,
    Fields,
    GatedBlock,
    LatticeGroup,
    PairProducts,
    TensorProduct,
    convolved,
    intertwiners,
    representation,
)
from latticemd import Holstein, Lattice
from latticemd.errors import InputError
from latticemd.lattice import UNIT_CELLS
from latticemd.models.double_exchange import DoubleExchange
from latticemd.models.ssh import SSH

KINDS = ("chain", "ladder", "square", "triangular", "honeycomb", "kagome", "cubic")
ORDER = {"chain": 2, "ladder": 4, "square": 8, "triangular": 12, "honeycomb": 12, "kagome": 12, "cubic": 48}
CELLS = 4


@functools.cache
def group_of(kind):
    """The whole point group of a lattice, with x a vector in space."""
    return LatticeGroup.of(SSH(lattice_of(kind)))


def lattice_of(kind):
    return Lattice(kind, (CELLS,) * len(UNIT_CELLS[kind].vectors))


def names_of(group):
    """All kinds of representations; of the cubic group without the regular one, whose kernels would fill the memory."""
    regular = [] if group.order > 12 else ["regular"]
    return ["scalar", "directed", "diagonal", *regular, "x", *(irrep.name for irrep in group.lattice.irreps())]


def irreps_of(group, copies=1):
    return Fields.of(group, [(irrep.name, copies) for irrep in group.lattice.irreps()])


def random_features(fields, batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    cells = (CELLS,) * fields.group.lattice.directions
    return torch.randn(batch, fields.channels, *cells, generator=generator, dtype=torch.float64)


@pytest.fixture(autouse=True)
def double_precision():
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(usual)


def assert_commutes(group, function, inputs, target):
    """function(g x) = g function(x) for every operation g; `inputs` are pairs of fields and tensors."""
    with torch.no_grad():
        found = function(*(x for _, x in inputs))
        scale = found.abs().max()
        assert scale > 1e-3
        for g in range(group.order):
            turned = function(*(fields.turned(x, g) for fields, x in inputs))
            error = (turned - target.turned(found, g)).abs().max() / scale
            assert error < 1e-12, f"operation {g}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_group_is_that_of_the_textbook_and_its_products_are_in_it(kind):
    group = group_of(kind)
    assert group.order == ORDER[kind]
    table = np.array([[group.product(g, h) for h in range(group.order)] for g in range(group.order)])
    assert all(sorted(row) == list(range(group.order)) for row in table)


@pytest.mark.parametrize("kind", KINDS)
def test_representations_multiply_as_operations_do(kind):
    """rho(g h) = rho(g on the image) rho(h), site by site of the basis, and all are orthogonal."""
    group = group_of(kind)
    for name in names_of(group):
        matrices = representation(group, name).matrices
        for g, h in itertools.islice(itertools.product(range(group.order), repeat=2), 0, None, 5):
            for b in range(group.basis):
                product = matrices[g, group.image[h, b]] @ matrices[h, b]
                np.testing.assert_allclose(product, matrices[group.product(g, h), b], atol=1e-12, err_msg=name)
        identity = np.eye(matrices.shape[-1])
        np.testing.assert_allclose(
            matrices @ matrices.swapaxes(2, 3), np.broadcast_to(identity, matrices.shape), atol=1e-12
        )


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_commute_with_every_operation_between_all_representations(kind):
    group = group_of(kind)
    fields = Fields.of(group, [(name, 1) for name in names_of(group)])
    convolution = Convolution(fields, fields, 1.0)
    assert_commutes(group, convolution, [(fields, random_features(fields))], fields)


def pairs_within(group, radius):
    """(source, target, offset) of all pairs of sites with the target in the first cell."""
    vectors, basis = np.array(group.lattice.cell.vectors), np.array(group.lattice.cell.basis)
    sites = itertools.product(range(group.basis), repeat=2)
    offsets = list(itertools.product(range(-3, 4), repeat=group.lattice.directions))
    return [
        (source, target, offset)
        for (source, target), offset in itertools.product(sites, offsets)
        if np.linalg.norm(np.array(offset) @ vectors + basis[source] - basis[target]) < radius + 1e-6
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_there_are_as_many_kernels_as_characters_say(kind):
    """(1/G) sum_g sum over pairs of sites that g keeps of Tr rho_out(g) Tr rho_in(g)."""
    group = group_of(kind)
    kept = [
        (g, s, t)
        for s, t, offset in pairs_within(group, 1.0)
        for g in range(group.order)
        if group.moved(g, s, t, offset) == (s, t, offset)
    ]
    names = [name for name in names_of(group) if name != "regular"]
    for of, to in itertools.combinations_with_replacement(names, 2):
        source, target = representation(group, of), representation(group, to)
        count = sum(np.trace(target.matrices[g, t]) * np.trace(source.matrices[g, s]) for g, s, t in kept) / group.order
        found = intertwiners(group, source, target, 1.0)
        assert found.count == pytest.approx(count, abs=1e-9), (of, to)
        flat = found.kernels.reshape(found.count, found.kernels[0].size if found.count else 0)
        np.testing.assert_allclose(flat @ flat.T, np.eye(found.count), atol=1e-12)


def test_forty_five_neighbours_fall_into_nine_three_six_five_and_eleven():
    group = group_of("square")
    scalar = representation(group, "scalar")
    counts = {
        irrep.name: intertwiners(group, scalar, representation(group, irrep.name), 13**0.5).count
        for irrep in group.lattice.irreps()
    }
    assert counts == {"A1": 9, "A2": 3, "B1": 6, "B2": 5, "E": 11}


def test_the_same_question_gets_the_same_bytes():
    """Coefficients in files are about this basis."""
    first, second = (
        intertwiners(LatticeGroup.of(SSH(lattice_of("kagome"))), *two, 2.0).kernels.tobytes()
        for two in [[representation(group_of("kagome"), name) for name in ("directed", "E1")]] * 2
    )
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("product", ["copy by copy", "all pairs"])
def test_clebsch_gordan_products_commute_with_every_operation(kind, product):
    group = group_of(kind)
    source, target = (
        irreps_of(group, 2),
        Fields.of(group, [("x", 1), ("directed", 1)]),
    )
    target = target + irreps_of(group)
    if product == "copy by copy":
        module = TensorProduct(source, target)
        inputs = [(source, random_features(source, seed=seed)) for seed in (0, 1)]
    else:
        module = PairProducts(source, target)
        inputs = [(source, random_features(source))]
    assert_commutes(group, module, inputs, target)


@pytest.mark.parametrize(
    ("kind", "copies"), [("square", [9, 3, 6, 5, 11]), ("triangular", [3, 1, 2, 1, 2, 3]), ("ladder", [2, 3, 1, 4])]
)
def test_pair_products_are_all_quadratic_forms_that_keep_the_group(kind, copies):
    """Their number is that of the irreps in the symmetric square: chi(g) of it is (chi(g)^2 + chi(g^2))/2."""
    group = group_of(kind)
    irreps = group.lattice.irreps()
    source = Fields.of(group, [(irrep.name, n) for irrep, n in zip(irreps, copies, strict=True)])
    target = irreps_of(group, 3)
    character = sum(n * np.trace(one.matrices[:, 0], axis1=1, axis2=2) for one, n in source.parts)
    squares = [group.product(g, g) for g in range(group.order)]
    symmetric = 0.5 * (character**2 + character[squares])
    kept = np.array(
        [np.array_equal(image, np.arange(group.basis)) for image in group.image]
    )  # operations that keep a site
    stabiliser = kept if group.basis > 1 else np.ones(group.order, dtype=bool)
    expected = sum(
        3 * np.mean((symmetric * np.trace(one.matrices[:, 0], axis1=1, axis2=2))[stabiliser]) for one, _ in target.parts
    )
    assert sum(weight.numel() for weight in PairProducts(source, target).weights) == pytest.approx(expected)


def test_a_pair_product_of_irreps_of_the_square_lattice_is_the_textbook_one():
    """E x E holds x^2 + y^2 and x^2 - y^2 and 2 x y, and of one copy no A2."""
    group = group_of("square")
    vector = Fields.of(group, [("x", 1)])
    x = random_features(vector)
    X, Y = x[:, 0], x[:, 1]
    expected = {"A1": (X**2 + Y**2), "B1": (X**2 - Y**2), "B2": 2 * X * Y, "A2": torch.zeros_like(X)}
    for name, value in expected.items():
        target = Fields.of(group, [(name, 1)])
        module = PairProducts(vector, target)
        with torch.no_grad():
            for weight in module.weights:
                weight.fill_(2**0.5)
            found = module(x)[:, 0]
        sign = torch.sign((found * value).sum()) if name != "A2" else 1.0
        torch.testing.assert_close(found, sign * value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", ["square", "honeycomb"])
def test_gated_blocks_keep_the_lattice_and_turn_odd_features_along(kind):
    """even(even, odd R) = even(even, odd), odd(even, odd R) = odd(even, odd) R for rotations and reflections R of spins."""
    group = LatticeGroup.of(DoubleExchange(lattice_of(kind)))
    assert group.internal == "rotation"
    hidden = Fields.of(group, [("scalar", 2), ("directed", 1), ("regular", 1)])
    block = GatedBlock(hidden, 3, 1.0, 0.5)
    even, odd = random_features(hidden), random_features(hidden, batch=3, seed=1)
    assert_commutes(group, lambda a, b: block((a, b), True)[0], [(hidden, even), (hidden, odd)], hidden)
    assert_commutes(group, lambda a, b: block((a, b), True)[1], [(hidden, even), (hidden, odd)], hidden)
    rotation = torch.as_tensor(np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0])
    turned = torch.einsum("ij,j...->i...", rotation, odd)
    with torch.no_grad():
        (a, u), (b, v) = block((even, odd), True), block((even, turned), True)
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.einsum("ij,j...->i...", rotation, u), v, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_start_with_the_variance_that_they_are_asked_for(kind):
    group = group_of(kind)
    source, target = (
        Fields.of(group, [("scalar", 12), ("directed", 3), ("x", 6)]),
        Fields.of(group, [("scalar", 12), ("directed", 4)]),
    )
    for gain in (1.0, 0.25):
        with torch.no_grad():
            found = Convolution(source, target, 1.0, gain=gain)(random_features(source, batch=8))
        assert float(found.std()) == pytest.approx(gain, rel=0.2)


@pytest.mark.parametrize("internal", ["none", "reversal", "rotation"])
def test_a_deep_stack_of_blocks_keeps_the_variance_within_a_factor_of_two(internal):
    model = {"none": Holstein(lattice_of("square"), mu=0.3), "reversal": Holstein(lattice_of("square"))}.get(internal)
    group = LatticeGroup.of(model or DoubleExchange(lattice_of("square")))
    assert group.internal == internal
    components = {"none": 0, "reversal": 1, "rotation": 3}[internal]
    hidden = Fields.of(group, [("scalar", 16), ("directed", 4)])
    depth = 12
    even = random_features(hidden, batch=4)
    odd = random_features(hidden, batch=4 * components, seed=1) if components else None
    first = float(even.square().mean()), None if odd is None else float(odd.square().mean())
    with torch.no_grad():
        features = even, odd
        for _ in range(depth):
            features = GatedBlock(hidden, components, 1.5, 0.3 * depth**-0.5)(features, True)
    for before, after in zip(first, features, strict=True):
        if after is not None:
            assert 0.5 < float(after.square().mean()) / before < 2.0


@pytest.mark.parametrize("kind", ["chain", "honeycomb", "cubic"])
def test_a_tile_that_ends_in_zeros_is_right_where_its_rim_does_not_reach(kind):
    group = group_of(kind)
    fields = Fields.of(group, [("scalar", 2), ("x", 1)])
    convolution = Convolution(fields, fields, 1.0)
    x = random_features(fields)
    inside = (slice(None), slice(None), *(slice(convolution.reach, CELLS - convolution.reach),) * (x.ndim - 2))
    with torch.no_grad():
        wrapped, tile = convolution(x, True), convolution(x, False)
    torch.testing.assert_close(wrapped[inside], tile[inside], rtol=1e-12, atol=1e-12)
    assert (wrapped - tile).abs().max() > 1e-3


def test_what_no_representation_is_called_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match=r"unknown representation 'A3'; on this lattice there are .*directed.*A1.*E"):
        representation(group_of("square"), "A3")


@pytest.mark.parametrize(("model", "sentence"), [
    (Holstein(Lattice("square", (4, 4), "open")), "periodic lattice, not boundary"),
    (Holstein(Lattice("square", (4, 4), 0.25)), "periodic lattice, not boundary"),
    (Holstein(Lattice("square", (4, 4)), disorder=0.5), "differs from site to site"),
])  # fmt: skip
def test_lattices_whose_sites_are_not_all_alike_are_refused(model, sentence):
    with pytest.raises(InputError, match=sentence):
        LatticeGroup.of(model)


@pytest.mark.parametrize(("kind", "radius"), [("square", 1.5), ("square", 2.0), ("triangular", 1.0), ("cubic", 1.0)])
def test_sums_over_shells_are_the_convolution_that_they_stand_for(kind, radius):
    """Also where cells do not go on, and in first and second derivatives."""
    group = group_of(kind)
    source, target = Fields.of(group, [("scalar", 2), ("scalar", 1)]), Fields.of(group, [("scalar", 2)])
    convolution = Convolution(source, target + target, radius, bias=True)
    x = random_features(source).requires_grad_()
    for wrap in (True, False):
        by_shells, (kernel, bias) = convolution(x, wrap), (convolution.kernel(), convolution.offset())
        dense = convolved(x, kernel, bias, wrap)
        torch.testing.assert_close(by_shells, dense, rtol=1e-12, atol=1e-12)
        for tensors in (x, convolution.coefficients[1]):
            slopes = [torch.autograd.grad(y.pow(3).sum(), tensors, create_graph=True)[0] for y in (by_shells, dense)]
            torch.testing.assert_close(*slopes, rtol=1e-12, atol=1e-10)
            curvatures = [torch.autograd.grad(slope.pow(2).sum(), x, retain_graph=True)[0] for slope in slopes]
            torch.testing.assert_close(*curvatures, rtol=1e-12, atol=1e-8)
    assert convolution._shells is not None


def test_what_is_turned_has_no_shells():
    group = group_of("square")
    for parts in ([("directed", 1)], [("x", 1)], [("scalar", 1), ("regular", 1)]):
        fields = Fields.of(group, parts)
        assert Convolution(fields, fields, 1.5)._shells is None
