"""When a process is started again: delays that grow, a limit that holds, a healthy run that forgets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scripts.restart_policy import Again, GiveUp, RestartPolicy


def policy(**more: float) -> RestartPolicy:
    return RestartPolicy(
        **{"max_restarts": 3, "window_s": 60, "first_backoff_s": 0.1, "max_backoff_s": 0.3, **more}  # type: ignore[arg-type]
    )


def test_delays_double_up_to_the_bound_and_the_limit_is_the_limit() -> None:
    held = policy(max_restarts=4)
    verdicts = [held.after_exit(now_s, ran_s=0.01, code=1, was_ready=False) for now_s in (0, 1, 2, 3, 4)]
    assert verdicts[:4] == [Again(0.1), Again(0.2), Again(0.3), Again(0.3)]
    assert isinstance(verdicts[4], GiveUp)


def test_restarts_leave_the_window_one_by_one() -> None:
    held = policy()
    for now_s in (0, 10, 20):
        assert isinstance(held.after_exit(now_s, ran_s=9, code=-9, was_ready=True), Again)
    assert isinstance(held.after_exit(59.9, ran_s=30, code=-9, was_ready=True), GiveUp)
    assert isinstance(held.after_exit(60.0, ran_s=30, code=-9, was_ready=True), Again)


def test_a_run_as_long_as_the_window_forgets_what_was_before() -> None:
    held = policy()
    for now_s in (0, 1, 2):
        held.after_exit(now_s, ran_s=0.1, code=1, was_ready=False)
    assert held.after_exit(62.5, ran_s=60.0, code=1, was_ready=True) == Again(0.1)


def test_wrong_usage_is_not_tried_again_unless_it_has_worked_before() -> None:
    assert isinstance(policy().after_exit(0, ran_s=0.1, code=2, was_ready=False), GiveUp)
    assert isinstance(policy().after_exit(0, ran_s=0.1, code=2, was_ready=True), Again)
    assert isinstance(policy().after_exit(0, ran_s=0.1, code=1, was_ready=False), Again)


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.sampled_from([1, 2, -9, -11])), max_size=60))
def test_never_more_restarts_than_allowed_within_any_window_and_delays_in_bounds(
    runs: list[tuple[float, bool, int]],
) -> None:
    held = policy()
    now_s, starts = 0.0, []
    for ran_s, was_ready, code in runs:
        now_s += ran_s
        verdict = held.after_exit(now_s, ran_s=ran_s, code=code, was_ready=was_ready)
        if isinstance(verdict, GiveUp):
            break
        assert 0.1 <= verdict.delay_s <= 0.3
        starts.append(now_s)
        assert len([at for at in starts if now_s - at < 60]) <= 3
        now_s += verdict.delay_s
