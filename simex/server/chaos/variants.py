"""The errors of the exchange and of its edge: HTTP status and body by name. Pure."""

ERROR_VARIANTS: dict[str, tuple[int, object]] = {
    "503_unknown": (503, {"code": -1000, "msg": "Unknown error, please check your request or try again later."}),
    "503_unavailable": (503, {"code": 0, "msg": "Service Unavailable."}),
    "503_internal": (503, {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}),
    "503_throttled": (
        503,
        {
            "code": -1008,
            "msg": "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
            "Please try again.",
        },
    ),
    "408": (
        408,
        {
            "code": -1007,
            "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
        },
    ),
    "400_unexpected": (
        400,
        {
            "code": -1006,
            "msg": "An unexpected response was received from the message bus. Execution status unknown.",
        },
    ),
    "400_timestamp": (400, {"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}),
    "400_late": (400, {"code": -5028, "msg": "Timestamp for this request is outside of the ME recvWindow."}),
    "400_listen_key": (400, {"code": -1125, "msg": "This listenKey does not exist."}),
    "401_key": (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
    "429": (
        429,
        {
            "code": -1003,
            "msg": "Too many requests; current limit of IP is 2400 requests per minute. "
            "Please use the websocket for live updates to avoid polling the API.",
        },
    ),
    "429_orders": (
        429,
        {"code": -1015, "msg": "Too many new orders; current limit is 300 orders per 10 SECOND."},
    ),
    "418": (
        418,
        {
            "code": -1003,
            "msg": "Way too many requests; IP banned until {until_ms}. "
            "Please use the websocket for live updates to avoid bans.",
        },
    ),
    "200_html": (200, "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body></body></html>"),
    "202_challenge": (202, "<!DOCTYPE html><html><body><script>challenge()</script></body></html>"),
    "403_html": (403, "<html><head><title>ERROR: The request could not be satisfied</title></head></html>"),
    "404_html": (404, "<html><head><title>404 Not Found</title></head><body>404 Not Found</body></html>"),
    "502_html": (502, "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>"),
    "504_html": (504, "<html><head><title>504 Gateway Time-out</title></head><body>504</body></html>"),
}
"""`{until_ms}` becomes the end of the ban, and 429 and 418 carry Retry-After: both by the end of the fault."""

BAN_MS = 120_000
"""How long a 418 says that the ban lasts where its fault has no end."""
