"""Pure decisions of the gateway: `Gateway.step(now, input) -> effects`. No clock, dice, socket, environment."""
