"""Where the exchange is, by environment, and how stream URLs are written (reference section 1). Pure.

The first path element of a stream URL selects the family; on the wrong one a handshake and a subscription succeed and
nothing is ever pushed. An unknown environment is an error and never means the real exchange.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from gateway.core.market_venue import Endpoints, PrivateUrl

QUERY = "query"
PATH = "path"


_MAINNET_WS = "wss://fstream.binance.com"
_DEMO_WS = "wss://demo-fstream.binance.com"
_OLD_TEST_WS = "wss://stream.binancefuture.com"


def _private(base: str, forms: Iterable[str]) -> tuple[PrivateUrl, ...]:
    templates = {QUERY: "/private/ws?listenKey={key}", PATH: "/private/ws/{key}"}
    return tuple(PrivateUrl(form, base + templates[form]) for form in forms)


_TABLE = {
    "mainnet": Endpoints(
        "https://fapi.binance.com",
        f"{_MAINNET_WS}/public",
        f"{_MAINNET_WS}/market",
        _private(_MAINNET_WS, (QUERY, PATH)),
    ),
    "testnet": Endpoints(
        "https://demo-fapi.binance.com",
        f"{_DEMO_WS}/public",
        f"{_DEMO_WS}/market",
        (
            *_private(_DEMO_WS, (PATH, QUERY)),
            PrivateUrl("old-path", f"{_OLD_TEST_WS}/ws/{{key}}"),
        ),
    ),
}


def endpoints(
    environment: str,
    *,
    simex_rest: str | None = None,
    simex_ws: str | None = None,
    rest: str | None = None,
    public: str | None = None,
    market: str | None = None,
    private: tuple[str, ...] = (),
) -> Endpoints:
    """The table's row with every part that is given replaced. `private` entries are templates holding `{key}`.

    Raises ValueError: unknown environment, simulator without an address, or a template without `{key}`.
    """
    if environment in ("simex", "paper"):
        if not simex_rest or not simex_ws:
            raise ValueError(f"environment {environment} needs the simulator's REST and WebSocket addresses")
        ws = simex_ws.rstrip("/")
        row = Endpoints(simex_rest.rstrip("/"), f"{ws}/public", f"{ws}/market", _private(ws, (QUERY, PATH)))
    elif environment in _TABLE:
        row = _TABLE[environment]
    else:
        raise ValueError(f"{environment!r} is no environment of this exchange: simex, paper, testnet, mainnet")
    for template in private:
        if "{key}" not in template:
            raise ValueError("a private URL template needs {key} where the listenKey goes")
    return Endpoints(
        (rest or row.rest).rstrip("/"),
        (public or row.public).rstrip("/"),
        (market or row.market).rstrip("/"),
        tuple(PrivateUrl(f"custom-{n}", template) for n, template in enumerate(private, 1)) or row.private,
    )


def stream_url(base: str, streams: Iterable[str]) -> str:
    """Stream mode: every frame names its stream. No trailing slash, no further path elements."""
    return f"{base}/stream?streams=" + "/".join(quote(name, safe="@!_.-") for name in streams)


def private_url(form: PrivateUrl, key: str) -> str:
    return form.template.replace("{key}", quote(key, safe=""))
