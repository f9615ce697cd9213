"""What is wrong with params.yaml, in its user's words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

from pydantic import BaseModel


def explain(error: Any, model: type[BaseModel]) -> str:
    """One line for an error of pydantic: the key, its value, what is allowed."""
    key = ".".join(str(part) for part in error["loc"]) or "the file"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key; {_nearest(error['loc'], model)}known ones are listed in docs/params.md"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "value_error" and isinstance(
        error["input"], dict
    ):  # a section's own check: its message names key and value
        return f"{key}.{message}" if error["loc"] else message
    return f"{key} = {error['input']!r}: {message[0].lower()}{message[1:]}{_power_of_ten(error)}"


def _power_of_ten(error: Any) -> str:
    """YAML reads `1e-9` as text: it wants a point and a sign."""
    number = re.fullmatch(r"([-+]?\d+)(\.\d*)?[eE]([-+]?)(\d+)", str(error["input"]))
    if error["type"] == "float_type" and number:
        return f" (YAML reads it as text: write {number[1]}{number[2] or '.0'}e{number[3] or '+'}{number[4]})"
    return " (write out all digits)" if error["type"] == "int_type" and number else ""


def _nearest(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The known key that the one at `place` may stand for: of its own section, else the same of another."""
    section = model
    for part in place[:-1]:
        if isinstance(part, str):
            section = next(_sections(section.model_fields[part].annotation))
    wrong = str(place[-1])
    if found := difflib.get_close_matches(wrong, section.model_fields, 1):
        return f"did you mean `{found[0]}`? "
    elsewhere = [path for path in _paths(model) if path.split(".")[-1] == wrong]
    return f"did you mean `{elsewhere[0]}`? " if elsewhere else ""


def takes_null(model: type[BaseModel], key: tuple[int | str, ...]) -> bool:
    """Whether null is a value of the parameter at `key`."""
    annotation: Any = model
    for part in key:
        section = next(_sections(annotation), None)
        if section is not None and part in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return False
    return type(None) in get_args(annotation)


def _sections(annotation: Any) -> Iterator[type[BaseModel]]:
    for part in (annotation, *get_args(annotation)):
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield part


def _paths(section: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        yield above + name
        for inner in _sections(field.annotation):
            yield from _paths(inner, f"{above}{name}.")
