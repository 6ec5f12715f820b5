"""The contract between processes: messages, slices, events, framing, error codes, clients and server.

Imports nothing of ours. Pure: `errors`, `wire`, `slices`, `events`, `framing`, `keys`, `sections`.
Shells: `clock`, `paths`, `client`, `aclient`, `server`, `feed`.
"""
