"""The input: YAML text -> a validated `RunInput` with every default filled in, or one error about all that is wrong."""

from __future__ import annotations

from latticemd.config.loading import load_input, stored_input
from latticemd.config.schema import RunInput
from latticemd.config.schema_json import json_schema
from latticemd.config.templates import input_template, template_names

__all__ = ["RunInput", "input_template", "json_schema", "load_input", "stored_input", "template_names"]
