"""Everything that can go wrong on purpose: kinds of faults, what they do, when they come."""
