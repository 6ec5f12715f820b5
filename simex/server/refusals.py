"""Refusals in the exchange's own words: HTTP status, code and text."""

from simex.core.api import Json


class Refused(Exception):
    """A request is answered by an error. Never a fault of the server itself."""

    def __init__(self, status: int, code: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"HTTP {status}, {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}

    def body(self) -> Json:
        """The JSON body."""
        return {"code": self.code, "msg": self.message}


def missing(name: str) -> Refused:
    """-1102: a mandatory parameter is absent, empty or malformed."""
    return Refused(400, -1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def empty(name: str) -> Refused:
    """-1105: a parameter was sent without a value."""
    return Refused(400, -1105, f"Parameter '{name}' was empty.")


def illegal(name: str, pattern: str) -> Refused:
    """-1100: a parameter has characters it may not have."""
    return Refused(400, -1100, f"Illegal characters found in parameter '{name}'; legal range is '{pattern}'.")


def duplicate() -> Refused:
    """-1101: the same name twice."""
    return Refused(400, -1101, "Duplicate values for a parameter detected.")


def invalid(name: str) -> Refused:
    """-1130: the value of a parameter is not allowed."""
    return Refused(400, -1130, f"Data sent for parameter '{name}' is not valid.")


def bad_symbol() -> Refused:
    """-1121: no such symbol."""
    return Refused(400, -1121, "Invalid symbol.")


def bad_interval() -> Refused:
    """-1120: no such kline interval."""
    return Refused(400, -1120, "Invalid interval.")


def not_found(path: str, method: str) -> Refused:
    """-5000: no such path, as the test environment says it."""
    return Refused(404, -5000, f"Path {path}, Method {method} is invalid")


def too_heavy(limit: int, retry_after_s: int) -> Refused:
    """429: the weight pool of this address is used up."""
    text = (
        f"Too many requests; current limit of IP is {limit} requests per minute. "
        "Please use the websocket for live updates to avoid polling the API."
    )
    return Refused(429, -1003, text, {"Retry-After": str(retry_after_s)})


def banned(until_ms: int, retry_after_s: int) -> Refused:
    """418: this address went on after 429."""
    text = (
        f"Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates to avoid bans."
    )
    return Refused(418, -1003, text, {"Retry-After": str(retry_after_s)})


def too_many_connects(limit: int, retry_after_s: int) -> Refused:
    """429: this address has opened too many WebSocket connections."""
    text = f"Too many requests; current limit of IP is {limit} connections per 5 minutes."
    return Refused(429, -1003, text, {"Retry-After": str(retry_after_s)})


def too_many_orders(limit: int, interval: str) -> Refused:
    """429: the order pool of this account is used up."""
    return Refused(429, -1015, f"Too many new orders; current limit is {limit} orders per {interval}.")
