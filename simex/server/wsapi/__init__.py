"""The WebSocket trading API, ws-fapi: requests and answers over one socket."""
