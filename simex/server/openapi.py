"""The OpenAPI description of the REST side, made from the routing table. Pure."""

from collections.abc import Sequence
from typing import Any

from simex.server.parameters import parameters
from simex.server.routes import NONE, ROUTES, SIGNED, Route

_TEXT = (
    "A simulated Binance USDⓈ-M futures exchange. Signed endpoints take `timestamp`, `recvWindow` and `signature` "
    "(HMAC-SHA256 of query and body as sent, hex). Parameters go in the query or, but for GET, in a form."
)
_ERROR = {
    "type": "object",
    "required": ["code", "msg"],
    "properties": {"code": {"type": "integer"}, "msg": {"type": "string"}},
}
_STATUSES = {
    "400": "refused", "401": "no such key", "404": "no such path", "418": "banned", "429": "too many requests",
    "503": "not available",
}  # fmt: skip


def description(symbols: Sequence[str]) -> dict[str, Any]:
    """OpenAPI 3.0 of every endpoint; `symbols` are those that exist."""
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), route in ROUTES.items():
        paths.setdefault(path, {})[method.lower()] = _operation(method, path, route, symbols)
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "simex",
            "version": "1",
            "description": _TEXT,
        },
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-MBX-APIKEY"}},
        },
    }


def _operation(method: str, path: str, route: Route, symbols: Sequence[str]) -> dict[str, Any]:
    rows = [_parameter(name, needed, schema, symbols) for name, needed, schema in parameters(method, path)]
    if route.security == SIGNED:
        rows.append(_parameter("recvWindow", False, {"type": "integer", "minimum": 1, "maximum": 60_000}, symbols))
        rows.append(_parameter("timestamp", True, {"type": "integer", "minimum": 0, "description": "ms"}, symbols))
        rows.append(_parameter("signature", True, {"type": "string"}, symbols))
    return {
        "operationId": f"{method.lower()}_{path.strip('/').replace('/', '_')}",
        "parameters": rows,
        "security": [] if route.security == NONE else [{"key": []}],
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": {}}}},
            **{
                status: {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for status, text in _STATUSES.items()
            },
        },
    }


def _parameter(name: str, needed: bool, schema: dict[str, Any], symbols: Sequence[str]) -> dict[str, Any]:
    if name in ("symbol", "pair"):
        schema = {"type": "string", "enum": list(symbols)}
    return {"name": name, "in": "query", "required": needed, "schema": schema}
