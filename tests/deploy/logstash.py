"""Replays the filter of a Logstash configuration on events, as Logstash's documentation describes its parts.

Logstash itself runs in no test. What is known here is what docker/logging/logstash.conf uses: json, mutate, date, and
conditions with `!`, `and`, `=~`. Anything else is an error.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Event = dict[str, Any]
TOKEN = re.compile(
    r'[\s,]+|#[^\n]*|(?P<string>"(?:\\.|[^"])*")|(?P<field>(?:\[[^\[\]\s",]+\])+)|(?<=~ )(?P<regex>/(?:\\.|[^/])+/)'
    r"|(?P<sign>=>|=~|[{}\[\]!()])|(?P<word>[\w.:-]+)"
)


def parse(path: Path) -> dict[str, list[Any]]:
    """Its sections: statements, each ("plugin", name, settings) or ("if", [(condition or None, statements)])."""
    text, tokens, at = path.read_text(), [], 0
    while at < len(text):
        match = TOKEN.match(text, at)
        assert match, f"{path}: not understood: {text[at : at + 40]!r}"
        at = match.end()
        if match.lastgroup:
            tokens.append((match.lastgroup, match[match.lastgroup]))
    reader, sections = _Reader(tokens), {}
    while reader.tokens:
        name = reader.take("word")
        sections[name] = reader.block()
    return sections


def replay(statements: list[Any], event: Event) -> Event:
    """The event after these statements, which change it."""
    for kind, *parts in statements:
        if kind == "if":
            chosen = next((body for condition, body in parts[0] if condition is None or _holds(condition, event)), [])
            replay(chosen, event)
        else:
            name, settings = parts
            {"json": _json, "mutate": _mutate, "date": _date}[name](event, **settings)
    return event


class _Reader:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens

    def next(self) -> str:
        return self.tokens[0][1] if self.tokens else ""

    def take(self, *kinds: str) -> str:
        kind, text = self.tokens.pop(0)
        assert kind in kinds or text in kinds, f"{text!r} where {kinds} was expected"
        return text

    def block(self) -> list[Any]:
        self.take("{")
        found: list[Any] = []
        while self.next() != "}":
            found.append(self.branches() if self.next() == "if" else ("plugin", self.take("word"), self.settings()))
        self.take("}")
        return found

    def branches(self) -> Any:
        self.take("if")
        found = [(self.condition(), self.block())]
        while self.next() == "else":
            self.take("else")
            condition = self.take("if") and self.condition() if self.next() == "if" else None
            found.append((condition, self.block()))
        return "if", found

    def condition(self) -> list[tuple[bool, str, str | None]]:
        """All of them have to hold: (whether it must, field, pattern or None for being there)."""
        found = []
        while True:
            wanted = self.next() != "!"
            if not wanted:
                self.take("!")
            field, pattern = self.take("field"), None
            if self.next() == "=~":
                self.take("=~")
                pattern = self.take("regex")[1:-1]
            found.append((wanted, field, pattern))
            if self.next() != "and":
                return found
            self.take("and")

    def settings(self) -> dict[str, Any]:
        self.take("{")
        found = {}
        while self.next() != "}":
            key = self.take("word", "string").strip('"')
            self.take("=>")
            found[key] = self.value()
        self.take("}")
        return found

    def value(self) -> Any:
        if self.next() == "{":
            return self.settings()
        if self.next() == "[":
            self.take("[")
            found = []
            while self.next() != "]":
                found.append(self.take("string").strip('"'))
            self.take("]")
            return found
        text = self.take("string", "word", "field")
        if self.next() == "{":  # a codec with settings
            return text, self.settings()
        return {"true": True, "false": False}.get(text, text.strip('"'))


def _keys(reference: str) -> list[str]:
    return re.findall(r"\[([^\]]+)\]", reference) or [reference]


def get(event: Event, reference: str) -> Any:
    found: Any = event
    for key in _keys(reference):
        if isinstance(found, list) and key.isdecimal():
            found = found[int(key)] if int(key) < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


def _pop(event: Event, reference: str) -> Any:
    *outer, last = _keys(reference)
    for key in outer:
        event = event.get(key, {})
    return event.pop(last, None)


def _holds(condition: list[tuple[bool, str, str | None]], event: Event) -> bool:
    def one(wanted: bool, field: str, pattern: str | None) -> bool:
        value = get(event, field)
        there = value not in (None, False) if pattern is None else bool(re.search(pattern, str(value or "")))
        return there is wanted

    return all(one(*part) for part in condition)


def _json(event: Event, source: str, target: str = "", skip_on_invalid_json: bool = False) -> None:
    try:
        found = json.loads(event[source])
    except ValueError:
        if not skip_on_invalid_json:
            event.setdefault("tags", []).append("_jsonparsefailure")
        return
    if target:
        event[target] = found
    elif isinstance(found, dict):
        event |= found


def _mutate(
    event: Event,
    rename: dict[str, str] | None = None,
    replace: dict[str, str] | None = None,
    add_field: dict[str, str] | None = None,
    remove_field: tuple[str, ...] = (),
) -> None:
    for old, new in (rename or {}).items():
        if get(event, old) is not None:
            event[new] = _pop(event, old)
    for name, value in {**(replace or {}), **(add_field or {})}.items():
        event[name] = re.sub(r"%\{(\w+)\}", lambda match: str(event.get(match[1], match[0])), value)
    for name in remove_field:
        _pop(event, name)


def _date(event: Event, match: list[str]) -> None:
    field, form = match
    assert form == "ISO8601"
    if field in event:
        event["@timestamp"] = datetime.fromisoformat(event[field]).astimezone(UTC).isoformat()
