"""The simulated exchange over real HTTP and WebSocket: routes, security, streams, limits, faults, administration."""
