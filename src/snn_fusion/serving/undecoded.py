"""What msgspec says of a body that is not what its route takes, as a Problem: the field, what is wrong, the limit."""

from __future__ import annotations

import re

import msgspec
from msgspec.inspect import ListType, StructType, Type, UnionType

from snn_fusion.serving.problems import Problem, invalid

PLACE = re.compile(r"(.*) - at (?:`key` in )?`\$\.?(.*)`", re.DOTALL)
KIND = re.compile(r"Expected `(.*)`, got `(.*)`")
LENGTH = re.compile(r"Expected `(.*)` of length <= (\d+)")
MISSING = re.compile(r"Object missing required field `(.*)`")
UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
RANGES = {"Number out of range": "a finite number", "Integer value out of range": "a whole number of 64 bits"}
DOCS = "see /docs"


def undecoded(error: msgspec.ValidationError, of: type) -> Problem:
    """422 for a body that can be read but is no `of`. What a client wrote is quoted only so far."""
    text = str(error)
    placed = PLACE.fullmatch(text)
    what, at = (placed[1], placed[2][:80]) if placed else (text, "")
    if found := KIND.fullmatch(what):
        return invalid(at or "body", f"is `{found[2][:40]}`", f"`{found[1]}`")
    if found := LENGTH.fullmatch(what):
        return invalid(at or "body", "holds too much", f"at most {int(found[2]):,}")
    if found := MISSING.fullmatch(what):
        return invalid(_within(at, found[1]), "is missing", "required")
    if found := UNKNOWN.fullmatch(what):
        names = _fields(of, at)
        return invalid(_within(at, found[1][:40]), "is not known", f"of {', '.join(names)}" if names else DOCS)
    if what in RANGES:
        return invalid(at or "body", "is out of range", RANGES[what])
    return invalid(at or "body", what[:120], DOCS)


def _within(at: str, name: str) -> str:
    return f"{at}.{name}" if at else name


def _fields(of: type, at: str) -> list[str]:
    """The fields of the struct that is meant at this place, if there is one."""
    kind: Type | None = msgspec.inspect.type_info(of)
    for part in re.findall(r"\[|[a-z_]+", at):
        kind = next((found for one in _choices(kind) if (found := _inside(one, part)) is not None), None)
    return [field.encode_name for one in _choices(kind) if isinstance(one, StructType) for field in one.fields]


def _choices(kind: Type | None) -> tuple[Type, ...]:
    return kind.types if isinstance(kind, UnionType) else () if kind is None else (kind,)


def _inside(kind: Type, part: str) -> Type | None:
    """What a list holds, or a struct's field of this name."""
    if isinstance(kind, ListType) and part == "[":
        return kind.item_type
    fields = kind.fields if isinstance(kind, StructType) else ()
    return next((field.type for field in fields if field.encode_name == part), None)
