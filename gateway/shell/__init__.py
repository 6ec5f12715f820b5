"""Shells that move bytes for the core: sockets, HTTP, SQLite, Redis, signals."""
