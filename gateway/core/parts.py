"""What every method of a part returns: effects for the shell and signals for other parts, in their order."""

from __future__ import annotations

from typing import TypeAlias

from gateway.core.effects import Effect
from gateway.core.signals import Signal

Out: TypeAlias = list[Effect | Signal]
