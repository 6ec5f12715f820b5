"""Adapters that fit the core's port to one exchange each; pure."""
