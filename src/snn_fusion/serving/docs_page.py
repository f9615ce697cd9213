"""/docs: the OpenAPI document as one page of HTML, without scripts, and with commands to copy."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

STYLE = Path(__file__).with_name("page").joinpath("docs.css").read_text()
Part = Mapping[str, Any]


STREAM = """import json
import os
from urllib.request import Request, urlopen

from websockets.sync.client import connect

headers = {"Authorization": f"Bearer {os.environ.get('TOKEN', '')}"}
recording = json.load(urlopen(Request("BASE/v1/examples/7", headers=headers)))
with connect("WEBSOCKET/v1/stream", additional_headers=headers) as stream:
    stream.send(json.dumps({"start": list(recording), **recording, "end": True}))
    for answer in map(json.loads, stream):
        print(answer["steps"], answer["label"])"""


def render(document: Part, base: str) -> str:
    """The page of an OpenAPI document; `base`: scheme, host and port for its commands."""
    info, tags = document["info"], document["tags"]
    found = {tag["name"]: _group(document, tag, base) for tag in tags}
    jump = "".join(f'<a href="#group-{name}">{name}</a>' for name in found)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>SNN-Fusion: the API</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(info["title"])}: the API</h1>
<p class="quiet">model <code>{escape(info["version"])}</code> &middot; <a href="/">the page</a> &middot;
<a href="/openapi.json">openapi.json</a></p>
{_prose(info["description"])}
<nav aria-label="Groups">{jump}<a href="#schemas">schemas</a></nav>
</header>
<main>
{"".join(found.values())}
{_schemas(document["components"]["schemas"])}
</main>
</body>
</html>
"""


def _group(document: Part, tag: Part, base: str) -> str:
    inside = [
        _operation(base, path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    name, about = tag["name"], _prose(tag["description"])
    return f'<section id="group-{name}"><h2>{name}</h2>{about}{"".join(inside)}</section>'


def _operation(base: str, path: str, method: str, operation: Part) -> str:
    responses = operation["responses"]
    rows = "".join(
        f"<tr><th scope=row>{status}</th><td>{_inline(one['description'])} {_schema_of(one)}</td></tr>"
        for status, one in sorted(responses.items())
    )
    parameters = "".join(
        f"<li><code>{one['name']}</code> ({one['in']}) {_inline(one.get('description', ''))} "
        f"<code>{escape(_short(one['schema']))}</code></li>"
        for one in operation.get("parameters", ())
    )
    said = _example(responses.get("200", {}))
    shown = f"<details><summary>It answers</summary><pre>{_json(said)}</pre></details>" if said is not None else ""
    token = "" if operation["security"] else " &middot; public"
    return f"""
<article id="{operation["operationId"]}">
<h3><span class="method {method}">{method.upper()}</span> <code>{escape(path)}</code></h3>
<p class="what">{escape(operation["summary"])}{token}</p>
{_prose(operation["description"])}
{f"<ul>{parameters}</ul>" if parameters else ""}
{_taken(operation)}
<pre class="copy" tabindex="0" aria-label="A command to copy">{escape(command(base, path, method, operation))}</pre>
{shown}
<details><summary>Statuses</summary><table><tbody>{rows}</tbody></table></details>
</article>"""


def command(base: str, path: str, method: str, operation: Part) -> str:
    """What works when $TOKEN is right: of curl, or in Python where that knows no way."""
    if "x-messages" in operation:
        return STREAM.replace("BASE", base).replace("WEBSOCKET", base.replace("http", "ws", 1))
    for one in operation.get("parameters", ()):
        path = path.replace("{%s}" % one["name"], _value(one["schema"]))  # noqa: UP031
    parts = [f"curl {base}{path}"]
    if method != "get":
        parts.append(f"-X {method.upper()}")
    if operation["security"]:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if (body := _example(operation.get("requestBody", {}))) is not None:
        parts += ["-H 'Content-Type: application/json'", f"-d '{json.dumps(body)}'"]
    return " \\\n  ".join(parts)


def _value(schema: Part) -> str:
    return str((schema.get("enum") or schema.get("examples") or ["1"])[-1])


def _taken(operation: Part) -> str:
    if "requestBody" not in operation:
        return ""
    return f"<p>Takes {_schema_of(operation['requestBody'])}</p>"


def _content(part: Part) -> Part:
    found: Part = part.get("content", {}).get("application/json", {})
    return found


def _example(part: Part) -> Any:
    return _content(part).get("example")


def _schema_of(part: Part) -> str:
    name = _content(part).get("schema", {}).get("$ref", "").rpartition("/")[2]
    return f'<a href="#schema-{name}">{name}</a>' if name else ""


def _schemas(schemas: Part) -> str:
    inside = "".join(
        f'<article id="schema-{name}"><h3>{name}</h3>{_prose(one.get("description", ""))}{_fields(one)}</article>'
        for name, one in sorted(schemas.items())
    )
    return f'<section id="schemas"><h2>schemas</h2>{inside}</section>'


def _fields(schema: Part) -> str:
    needed = schema.get("required", ())
    rows = "".join(
        f"<tr><th scope=row><code>{escape(name)}</code>{'' if name in needed else ' <small>may be left out</small>'}"
        f"</th><td>{_linked(_short(one))} <small>{_inline(one.get('description', ''))}</small></td></tr>"
        for name, one in schema.get("properties", {}).items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def _short(schema: Part) -> str:
    """A schema in a line, with its limits."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_short(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(one) for one in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any")
    if schema.get("contentEncoding"):
        return f"{schema['contentEncoding']} of packed bytes"
    if kind == "array":
        return f"{_range(schema, 'minItems', 'maxItems')}[{_short(schema.get('items', {}))}]"
    if kind == "object" and "properties" in schema:
        inside = ", ".join(f"{name}: {_short(one)}" for name, one in schema["properties"].items())
        return f"{{{inside}}}"
    if kind == "object" and schema.get("additionalProperties"):
        return f"{{name: {_short(schema['additionalProperties'])}}}"
    return f"{kind} {_range(schema, 'minimum', 'maximum')}".strip()


def _range(schema: Part, low: str, high: str) -> str:
    if low not in schema and high not in schema:
        return ""
    ends = (f"{schema[name]:,}" if name in schema else "" for name in (low, high))
    return " ... ".join(ends) + " "


def _linked(text: str) -> str:
    return re.sub(r"\b([A-Z][a-z]\w+)\b", r'<a href="#schema-\1">\1</a>', escape(text))


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _prose(text: str) -> str:
    """Paragraphs and numbered lists."""
    found = []
    for part in filter(None, (one.strip() for one in text.split("\n\n"))):
        if part.startswith("1. "):
            items = "".join(f"<li>{_inline(one)}</li>" for one in re.split(r"\n?\d\. ", part)[1:])
            found.append(f"<ol>{items}</ol>")
        else:
            found.append(f"<p>{_inline(part)}</p>")
    return "".join(found)


def _json(content: Any) -> str:
    return escape(json.dumps(content, indent=1))
