from routing.fairness import FairQueue


def drain(queue, fits=lambda item: True):
    order = []
    while (item := queue.pick(fits)) is not None:
        order.append(item)
    return order


def filled(*items, weights=None):
    queue = FairQueue()
    for item in items:
        queue.push(item, tenant=item[0], weight=(weights or {}).get(item[0], 1.0))
    return queue


def test_one_tenant_is_served_in_order():
    assert drain(filled("a1", "a2", "a3")) == ["a1", "a2", "a3"]


def test_a_flood_does_not_hold_up_another_tenant():
    queue = filled(*[f"a{number}" for number in range(50)], "b1", "b2")
    order = drain(queue)
    assert order.index("b1") <= 1
    assert order.index("b2") <= 3


def test_turns_are_in_proportion_to_weights():
    items = [f"{tenant}{number}" for tenant in "ab" for number in range(40)]
    first = drain(filled(*items, weights={"a": 4.0, "b": 1.0}))[:25]
    assert sum(item.startswith("a") for item in first) == 20


def test_a_tenant_that_was_away_has_saved_up_nothing():
    queue = filled(*[f"a{number}" for number in range(10)])
    for _ in range(10):
        queue.pick(lambda item: True)
    for number in range(4):
        queue.push(f"a{number}", tenant="a")
        queue.push(f"b{number}", tenant="b")
    order = drain(queue)
    assert sum(item.startswith("b") for item in order[:4]) in (2, 3)


def test_what_does_not_fit_now_keeps_its_place():
    queue = filled("a1", "a2", "b1")
    assert queue.pick(lambda item: item == "a2") == "a2"
    assert sorted(drain(queue)) == ["a1", "b1"]


def test_what_left_is_not_served():
    queue = filled("a1", "a2")
    queue.discard("a1", tenant="a")
    queue.discard("a1", tenant="a")
    queue.discard("x", tenant="nobody")
    assert len(queue) == 1
    assert drain(queue) == ["a2"]


def test_the_newest_of_the_largest_crowd_is_named():
    assert filled("a1", "b1", "b2").crowding() == ("b", "b2")
    assert FairQueue().crowding() is None


def test_idle_tenants_are_forgotten():
    queue = FairQueue()
    for number in range(1000):
        queue.push(number, tenant=f"t{number}")
        queue.pick(lambda item: True)
    assert len(queue._clocks) < 10
