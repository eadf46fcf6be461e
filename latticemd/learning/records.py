"""A model as numbers and words: what datasets and files of networks keep of it, and the model made from that again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from latticemd.errors import InputError
from latticemd.lattice import Lattice
from latticemd.models.hamiltonian import Hamiltonian
from latticemd.models.model import Model
from latticemd.parameters import parameters_of
from latticemd.plugins import load_plugin

Record = dict[str, Any]


def record_of(name: str, model: Model) -> Record:
    """The plug-in `name`, its parameters and its lattice, as JSON knows them."""
    given = {field.name: getattr(model, field.name) for field, _ in parameters_of(type(model))}
    parameters = {key: value for key, value in given.items() if value is not None}
    return {"name": name, "parameters": parameters, "lattice": model.lattice.to_dict()}


def model_of(record: Mapping[str, Any]) -> Model:
    """The model of a record. Raises InputError where there is no such plug-in, or it has other parameters."""
    try:
        lattice = Lattice.from_dict(record["lattice"])
        model: Model = load_plugin("model", record["name"])(lattice, **record["parameters"])
    except (KeyError, TypeError) as error:
        raise InputError(f"cannot make a model of {json.dumps(dict(record))[:200]}: {error}") from error
    return model


def electronic_differences(one: Model, other: Model) -> list[str]:
    """The parameters in which two models of one kind differ so that the electronic force is another function of x.

    Springs and masses never count: each differing parameter is put alone into `one`, and H_el, the electrons' temperature and
    their ensemble are compared at probe positions. Parameters of an interaction all count.
    """
    if type(one) is not type(other):
        return ["name"]
    names = [field.name for field, _ in parameters_of(type(one))]
    differing = [name for name in names if getattr(one, name) != getattr(other, name)]
    ensemble = [name for name in ("mu", "filling") if name in differing]
    rest = [name for name in differing if name not in ensemble]
    return ensemble + [name for name in rest if _matters(one, name, getattr(other, name))]


def _matters(model: Model, name: str, value: Any) -> bool:
    if name == "electronic_temperature" or model.interacting or not model.electronic:  # then it is about charges
        return True
    changed = dataclasses.replace(model, **{name: value})
    # Fixed positions of no symmetry; a word such as the kind of order leaves them and H_el alone.
    x = np.random.default_rng(0).normal(size=(1, model.lattice.sites, model.components))
    x = model.admissible(x)
    mine, its = Hamiltonian.of(model, x), Hamiltonian.of(changed, x)
    pairs = [(mine.levels, its.levels), (mine.amplitude, its.amplitude), (mine.i, its.i), (mine.j, its.j)]
    pairs.append((model.electron_constant(x), changed.electron_constant(x)))
    return not all(np.array_equal(a, b) for a, b in pairs)
