"""All small graphs, each once; frames make a network blind to labels without making it blind to graphs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from forcefields.points.graph_frames import GIN, blocks_of, features_of, orders_of, undistinguished
from forcefields.points.graphs import all_graphs, canonical_forms, connected_graphs, matrices_of
from latticemd.errors import InputError

CONNECTED, ALL = [1, 1, 2, 6, 21, 112, 853, 11117], [1, 2, 4, 11, 34, 156, 1044, 12346]  # OEIS A001349, A000088


def network(nodes, identities):
    torch.manual_seed(0)
    return GIN(nodes, identities=identities)


def relabelled(graph, seed=0):
    order = np.random.default_rng(seed).permutation(len(graph))
    return graph[np.ix_(order, order)]


@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5, 6, 7, pytest.param(8, marks=pytest.mark.slow)])
def test_there_are_as_many_graphs_as_there_are(nodes):
    assert len(all_graphs(nodes)) == ALL[nodes - 1]
    graphs = connected_graphs(nodes)
    assert len(graphs) == CONNECTED[nodes - 1]
    np.testing.assert_array_equal(graphs, graphs.swapaxes(1, 2))
    assert not np.einsum("gii->gi", graphs).any()


def test_a_canonical_form_knows_no_labels_and_is_the_graph():
    codes, weights = all_graphs(6), 2 ** np.arange(15)
    j, i = np.tril_indices(6, -1)
    for seed in range(3):
        shuffled = np.array([relabelled(graph, seed)[i, j] @ weights for graph in matrices_of(codes, 6)])
        np.testing.assert_array_equal(canonical_forms(shuffled, 6), codes)
    sizes = [len(set(canonical_forms(np.arange(2**bits), nodes).tolist())) for nodes, bits in ((4, 6), (5, 10))]
    assert sizes == ALL[3:5]  # of every labelled graph, one form each


def test_blocks_tie_what_looks_alike():
    cycle = np.roll(np.eye(6, dtype=int), 1, axis=0)
    assert [sorted(block) for block in blocks_of(cycle + cycle.T)] == [[0, 1, 2, 3, 4, 5]]
    chain = np.diag(np.ones(4, dtype=int), 1)
    assert sorted(sorted(block) for block in blocks_of(chain + chain.T)) == [[0, 4], [1, 3], [2]]


def test_a_frame_is_the_same_for_every_labelling():
    for graph in connected_graphs(5):
        frame, other = orders_of(graph), orders_of(relabelled(graph))
        np.testing.assert_array_equal(frame.matrices, other.matrices)
        np.testing.assert_allclose(frame.weight, other.weight, rtol=1e-14)
        assert frame.weight.sum() == pytest.approx(1.0, abs=1e-14)
    complete = np.ones((8, 8), dtype=int) - np.eye(8, dtype=int)
    assert len(orders_of(complete).matrices) == 1  # 40320 orders, all of them symmetries
    with pytest.raises(InputError, match=r"10 nodes has 3\.63e\+06 orders"):
        orders_of(np.ones((10, 10), dtype=int) - np.eye(10, dtype=int))


def test_features_in_frames_do_not_depend_on_labels_though_the_network_does():
    graphs = connected_graphs(5)
    others = np.stack([relabelled(graph, seed) for seed, graph in enumerate(graphs)])
    marked = network(5, identities=True)
    framed, plain = (features_of(marked, graphs, framed) for framed in (True, False))
    np.testing.assert_allclose(features_of(marked, others, True), framed, rtol=0, atol=1e-12)
    assert np.abs(features_of(marked, others, False) - plain).max() > 1e-4


def test_frames_tell_apart_what_colour_refinement_does_not():
    # Of six nodes: the prism and K_3,3, and two more pairs, are alike for GIN.
    graphs = connected_graphs(6)
    assert undistinguished(features_of(network(6, False), graphs, False), 1e-6) == 3
    assert undistinguished(features_of(network(6, True), graphs, True), 1e-6) == 0


@pytest.mark.slow
def test_frames_tell_all_connected_graphs_of_eight_nodes_apart():
    graphs = connected_graphs(8)
    assert undistinguished(features_of(network(8, False), graphs, False), 1e-6) > 100
    assert undistinguished(features_of(network(8, True), graphs, True), 1e-6) == 0
