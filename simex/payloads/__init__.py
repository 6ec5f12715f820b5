"""Builders of wire payloads: REST replies and user events, keys in the order of the real wire."""
