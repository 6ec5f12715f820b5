"""Chaos as a whole: faults by hand, by schedule and by seed, and what is told of them."""

import logging
from collections.abc import Sequence
from typing import Any

from simex.server.chaos.acts import Acts, Reach
from simex.server.chaos.draw import Setting, rows
from simex.server.chaos.schedule import Schedule

log = logging.getLogger("simex")


class Chaos:
    """The one who begins faults. `GET /admin/chaos` shows `report`."""

    def __init__(self, reach: Reach) -> None:
        self._world = reach.world
        self.tls = reach.door.tls
        self.acts = Acts(reach)
        self.schedule = Schedule(self.acts.switch_on, reach.world.later)
        self._drawing: Setting | None = None
        self._drawn = 0

    def switch_on(self, spec: object) -> dict[str, Any]:
        """One fault by hand. ValueError if it makes no sense."""
        return self.acts.switch_on(spec)

    def draw(self, setting: Setting) -> None:
        """Begin to draw faults by seed; a plan that runs already is replaced."""
        self._drawing = setting
        self._drawn = 0
        plan = rows(setting)
        begun_ms = self._world.fault_ms()

        def next_one() -> None:
            row = next(plan)
            delay_ms = max(1, round(row.pop("at_s") * 1000) - (self._world.fault_ms() - begun_ms))
            self._world.later(delay_ms, lambda: strike(row))

        def strike(row: dict[str, Any]) -> None:
            if self._drawing is not setting:
                return
            self._drawn += 1
            try:
                self.switch_on(row)
                log.info("chaos %d (seed %d): %s", self._drawn, setting.seed, row)
            except ValueError as error:
                log.warning("chaos %d (seed %d): %s was refused: %s", self._drawn, setting.seed, row, error)
            next_one()

        next_one()

    def add(self, rows_: Sequence[object]) -> list[dict[str, Any]]:
        """Rows of a schedule, counted from now. ValueError if one makes no sense."""
        return self.schedule.add(rows_)

    def stop(self) -> dict[str, int]:
        """Nothing comes any more, and what is on ends."""
        self._drawing = None
        return {"rows": self.schedule.clear(), "faults": self._world.faults.clear(now_ms=self._world.fault_ms())}

    def report(self, since: int) -> dict[str, Any]:
        """What is on, what will come, and the log after a number."""
        world, drawing = self._world, self._drawing
        now = world.fault_ms()
        faults = world.faults.listing(now)
        return {
            "time_ms": now, "exchange_ms": world.clock.now_ms(), "faults": faults, "schedule": self.schedule.listing(),
            "seed": None if drawing is None else drawing.seed, "level": None if drawing is None else drawing.level,
            "drawn": self._drawn, "seq": world.faults.log.seq, "log": world.faults.log.since(since),
        }  # fmt: skip
