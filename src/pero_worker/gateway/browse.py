"""Pages for browsers: redirects to the start page, and a list of the API; nothing is loaded from elsewhere."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

router = APIRouter(include_in_schema=False)
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code{background:#eee;padding:.1em .3em}details{border-bottom:1px solid #ddd;padding:.3rem 0}"
    "summary{cursor:pointer}pre{background:#f6f6f6;padding:.5rem;overflow:auto}"
)
_DOCS = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>API</title><style>{_STYLE}</style>
<h1>API, version 1</h1><p>Requests carry a key in the header <code>X-API-Key</code>.</p>
<div id="list">Loading…</div><script src="/v1/docs.js"></script></html>"""
_SCRIPT = """"use strict";
const element = (name, text) => { const made = document.createElement(name); made.textContent = text; return made; };
fetch("/v1/openapi.json").then(reply => reply.json()).then(schema => {
  const list = document.getElementById("list");
  list.textContent = "";
  for (const [path, item] of Object.entries(schema.paths))
    for (const [method, operation] of Object.entries(item)) {
      const details = document.createElement("details");
      const summary = document.createElement("summary");
      summary.append(element("code", method.toUpperCase() + " " + path));
      summary.append(" " + (operation.description || operation.summary || "").split("\\n")[0]);
      details.append(summary);
      for (const part of operation.parameters || [])
        details.append(element("p", part.in + ": " + part.name + (part.required ? " (required)" : "")));
      const body = operation.requestBody?.content?.["application/json"]?.schema?.$ref;
      if (body) details.append(element("pre", JSON.stringify(
        schema.components.schemas[body.split("/").pop()].properties ?? {}, null, 2)));
      list.append(details);
    }
});
"""


@router.get("/")
@router.get("/index")
async def index() -> Response:
    return RedirectResponse("/web/jobs")


@router.get("/docs")
async def docs() -> Response:
    return RedirectResponse("/v1/docs")


@router.get("/v1/docs")
async def list_of_routes() -> Response:
    return HTMLResponse(_DOCS, headers=_HEADERS)


@router.get("/v1/docs.js")
async def script() -> Response:
    return Response(_SCRIPT, media_type="text/javascript", headers=_HEADERS)
