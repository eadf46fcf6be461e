"""Write docs/input_keys.md and docs/training_keys.md: every input key, from the schemas that validate inputs.

Usage: python tools/input_reference.py [--check]        (--check: exit 1 if a page is out of date)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from latticemd.config import json_schema, training_json_schema

DOCS = Path(__file__).parent.parent / "docs"
PAGES = {DOCS / "input_keys.md": json_schema, DOCS / "training_keys.md": training_json_schema}


def resolve(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Follow a reference."""
    return definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema


def accepted(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """What a key takes, in words."""
    schema = resolve(schema, definitions)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "additionalProperties" in schema and not schema.get("properties"):
        return "keys with values"
    kinds = schema.get("anyOf") or schema.get("oneOf")
    if kinds:
        blocks = [resolve(kind, definitions) for kind in kinds]
        mappings = [block for block in blocks if block.get("type") == "object" and "properties" in block]
        words = [
            accepted(block, definitions) for block in blocks if block not in mappings and block.get("type") != "null"
        ]
        for block in mappings:
            keys = ", ".join(f"`{key}`" for key in block["properties"])
            words.append("ramp" if "kind" in block["properties"] else f"mapping with {keys}")
        return " or ".join(dict.fromkeys(words))
    if schema.get("type") == "array":
        items = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
        return f"list of {accepted(items, definitions) or 'items'}"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    limits = [
        f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema and abs(schema[name]) < 2**24
    ]
    names = {"number": "number", "integer": "integer", "string": "text", "boolean": "true or false"}
    return " ".join([names.get(schema.get("type", ""), schema.get("type", "")), *limits])


def table(block: dict[str, Any], definitions: dict[str, Any]) -> list[str]:
    """One row per key of a block."""
    rows = ["| key | takes | default | meaning |", "|---|---|---|---|"]
    for key, schema in block["properties"].items():
        default = "required" if key in block.get("required", []) else f"`{schema.get('default')}`"
        default = "-" if default == "`None`" else default
        rows.append(f"| `{key}` | {accepted(schema, definitions)} | {default} | {schema.get('description', '')} |")
    return [*rows, ""]


def sentence(text: str) -> str:
    """With a capital at the beginning and a stop at the end."""
    return f"{text[:1].upper()}{text[1:]}."


def heading(block: dict[str, Any]) -> str:
    """The key and word that select a block."""
    for key in ("name", "kind", "integrator", "propagator"):
        word = block["properties"].get(key, {}).get("const")
        if word:
            return f"`{key}: {word}`"
    return "a splitting word" if "integrator" in block["properties"] else str(block["title"])


def page(schema: dict[str, Any]) -> str:
    """The whole page of a schema."""
    definitions = schema["$defs"]
    lines = ["<!-- Made by tools/input_reference.py; do not edit. -->", ""]
    for key, field in schema["properties"].items():
        lines += [f"## `{key}`", "", f"{sentence(field.get('description', ''))}", ""]
        field = field.get("items", field) if key != "observables" else field
        kinds = field.get("oneOf") or field.get("anyOf") or [field]
        items = [kind for option in kinds for kind in ([option["items"]] if "items" in option else [option])]
        kinds = [kind for item in items for kind in item.get("oneOf", item.get("anyOf", [item]))]
        blocks = [block for kind in kinds if "properties" in (block := resolve(kind, definitions))]
        for block in blocks:
            if len(blocks) > 1:
                lines += [f"### {heading(block)}", ""]
            lines += [f"{block['description']}", ""] if block.get("description") else []
            lines += table(block, definitions)
        if not blocks:
            lines += [f"Takes {accepted(field, definitions)}.", ""]
    return "\n".join(lines)


def main() -> int:
    """Write the pages, or check them."""
    pages = {path: page(schema()) for path, schema in PAGES.items()}
    if "--check" in sys.argv[1:]:
        return int(any(path.read_text(encoding="utf-8") != text for path, text in pages.items()))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
