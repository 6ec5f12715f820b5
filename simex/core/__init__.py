"""Pure matching and accounting of the simulated exchange: no clock, dice, sockets or environment."""
