from framebuf.service.version import RETRY_S, Version


def test_five_comes_first_and_again_after_a_while():
    version = Version()
    assert version.next(0) == 5
    assert version.turned_down(10, said=True)
    assert version.next(11) == 4
    version.welcomed()
    assert version.next(9 + RETRY_S) == 4
    assert version.next(10 + RETRY_S) == 5


def test_a_broker_that_said_so_is_not_left_for_another_try():
    version = Version()
    version.turned_down(0, said=True)
    assert not version.is_due(2 * RETRY_S)


def test_a_broker_that_only_closed_is_left_once():
    version = Version()
    version.turned_down(0, said=False)
    assert not version.is_due(RETRY_S - 1)
    assert version.is_due(RETRY_S)
    assert version.next(RETRY_S) == 5
    version.turned_down(RETRY_S, said=False)
    assert version.next(RETRY_S) == 4
    assert not version.is_due(9 * RETRY_S)


def test_where_3_1_1_is_turned_down_too_the_version_was_not_the_reason():
    version = Version()
    assert version.turned_down(0, said=False)
    assert not version.turned_down(1, said=False)
    assert version.next(2) == 5
    version.welcomed()
    assert version.level == 5
