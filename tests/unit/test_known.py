from __future__ import annotations

from types import SimpleNamespace

from framebuf.service.known import Known, KnownIds


class NothingRemembered:
    def find(self, camera, id):
        return None

    def __len__(self):
        return 0


def test_a_done_of_an_earlier_start_is_not_told_before_the_results_that_come_again():
    """Its results may never have been heard; a trigger that comes again would fetch it first."""
    order = SimpleNamespace(camera="gate", id="r", received=SimpleNamespace(utc_ns=7))
    request = SimpleNamespace(order=order, done_payload=b"{}", ended=False, askers=[])
    known = KnownIds(NothingRemembered(), touch=lambda _: None)
    known.add(request)
    assert known.find("gate", "r") == Known(7, None)
    request.ended = True
    assert known.find("gate", "r") == Known(7, b"{}")
