from routing.breaker import Breaker, State


def breaker():
    return Breaker(threshold=3, cooldown=5.0, longest=20.0)


def opened():
    made = breaker()
    for _ in range(3):
        made.failed(100.0)
    return made


def test_opens_after_failures_in_a_row_only():
    made = breaker()
    made.failed(1.0)
    made.failed(2.0)
    made.succeeded()
    made.failed(3.0)
    made.failed(4.0)
    assert made.state(5.0) is State.CLOSED
    made.failed(5.0)
    assert made.state(6.0) is State.OPEN
    assert not made.admits(6.0)
    assert made.seconds_until_probe(6.0) == 4.0


def test_half_open_lets_one_request_try():
    made = opened()
    assert made.state(105.0) is State.HALF_OPEN
    assert made.admits(105.0)
    made.started(105.0)
    assert not made.admits(105.0)


def test_a_successful_try_closes_it():
    made = opened()
    made.started(105.0)
    made.succeeded()
    assert made.state(105.1) is State.CLOSED
    made.failed(106.0)
    assert made.state(106.0) is State.CLOSED, "one failure must not open it again"


def test_a_failed_try_opens_it_for_longer_up_to_a_limit():
    made, now, pauses = opened(), 100.0, []
    for _ in range(4):
        now += made.seconds_until_probe(now)
        made.started(now)
        made.failed(now)
        pauses.append(made.seconds_until_probe(now))
    assert pauses == [10.0, 20.0, 20.0, 20.0]


def test_a_try_that_tells_nothing_leaves_it_half_open():
    made = opened()
    made.started(105.0)
    made.let_go()
    assert made.admits(105.0)


def test_failures_of_requests_that_were_running_when_it_opened_do_not_prolong_it():
    made = opened()
    made.failed(101.0)
    assert made.seconds_until_probe(101.0) == 4.0
