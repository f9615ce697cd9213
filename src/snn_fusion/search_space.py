"""Dotted names of single parameters, and whether a section of params.yaml would take another value for one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError


def parameters(section: BaseModel, prefix: str) -> dict[str, Any]:
    """`prefix.key: value` of every parameter; a mapping's entries (`network.branch.audio`) are parameters too."""

    def walk(name: str, value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(f"{name}.{key}", inner)
        else:
            yield name, value

    return dict(walk(prefix, section.model_dump(mode="json")))


def put(raw: dict[str, Any], name: str, value: Any) -> None:
    """Set the parameter of a dotted name in nested mappings."""
    *sections, key = name.split(".")
    for section in sections:
        raw = raw[section]
    raw[key] = value


def refusals(sections: Mapping[str, BaseModel], space: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """One line for each name that is no parameter of `sections`, and for each value that its parameter refuses.

    `space[name]` holds the values to try, each under the key that it has in params.yaml (`low`, `choices.0`).
    """
    known = {name for prefix, section in sections.items() for name in parameters(section, prefix)}
    found = []
    for name, values in space.items():
        key = f"search.space.{name}"
        if name not in known:
            found.append(f"{key}: there is no such parameter; there are {', '.join(sorted(known))}")
            continue
        for place, value in values.items():
            if problem := _refusal(sections, name, value):
                found.append(f"{key}.{place} = {value!r}: {problem}")
    return found


def _refusal(sections: Mapping[str, BaseModel], name: str, value: Any) -> str:
    prefix, _, rest = name.partition(".")
    raw = sections[prefix].model_dump(mode="json")
    put(raw, rest, value)
    try:
        type(sections[prefix]).model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        return message[0].lower() + message[1:]
    return ""
