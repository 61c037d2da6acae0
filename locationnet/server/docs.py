"""The page at ``/docs``: the OpenAPI description as plain HTML.

Loads nothing from anywhere and runs no script, unlike FastAPI's own page; knows nothing of what the
operations do.
"""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from typing import Any

from fastapi.responses import HTMLResponse

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid; border-radius: .25rem; }
td, th { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0; }
h2 { margin-top: 2.5rem; font-family: ui-monospace, monospace; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}
_CURL = """\
curl -F file=@photo.jpg http://HOST/locate
curl -H 'Content-Type: image/jpeg' --data-binary @photo.jpg http://HOST/locate?top_k=3
curl -H 'Content-Type: application/json' -d '{"url": "https://example.org/photo.jpg"}' http://HOST/locate"""


def page(openapi: dict[str, Any]) -> HTMLResponse:
    """Return the page for an OpenAPI description."""
    info = openapi["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width'>",
        f"<title>{escape(info['title'])}: HTTP interface</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['summary'])}",
        "Machine-readable: <a href=openapi.json>openapi.json</a>.</p>",
        f"<pre>{escape(_CURL)}</pre>",
    ]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            parts += _operation(openapi, path, method, operation)
    return HTMLResponse("\n".join(parts), headers=_HEADERS)


def _operation(
    openapi: dict[str, Any], path: str, method: str, operation: dict[str, Any]
) -> list[str]:
    parts = [
        f"<h2>{method.upper()} {escape(path)}</h2>",
        f"<p>{escape(operation['description'])}</p>",
    ]
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        span = f" From {schema['minimum']} to {schema['maximum']}." if "minimum" in schema else ""
        default = schema.get("default")
        unless = f" {json.dumps(default)} unless given." if default is not None else ""
        parts.append(
            f"<p>Query <code>{escape(parameter['name'])}</code>: "
            f"{escape(parameter.get('description', ''))}{span}{unless}</p>"
        )
    rows = "".join(
        f"<tr><td>{escape(status)}<td>{escape(answer['description'])}"
        for status, answer in operation["responses"].items()
    )
    parts.append(f"<table><tr><th>Status<th>Meaning{rows}</table>")
    content = operation["responses"]["200"]["content"]["application/json"]["schema"]
    example = json.dumps(_example(openapi, content), indent=2, ensure_ascii=False)
    parts.append(f"<pre>{escape(example)}</pre>")
    return parts


def _example(openapi: dict[str, Any], schema: dict[str, Any]) -> Any:
    """Return a value that fits a schema, made of the examples in it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _example(openapi, openapi["components"]["schemas"][name])
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if "examples" in schema:
        return schema["examples"][0]
    if "anyOf" in schema:
        return _example(openapi, schema["anyOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        fields = schema.get("properties", {})
        return {name: _example(openapi, inner) for name, inner in fields.items()}
    if schema.get("type") == "array":
        return [_example(openapi, schema["items"])]
    return {"boolean": False, "integer": 1, "number": 0.5}.get(schema.get("type", ""), "…")
