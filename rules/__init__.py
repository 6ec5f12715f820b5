"""Pure trading rules that both sides need: instruments and rounding, order transitions, risk checks, positions."""
