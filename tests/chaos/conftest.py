"""Fixtures of the chaos tests: the real parts are those of the service tests."""

from __future__ import annotations

from tests.service.conftest import mosquitto, own_mosquitto, rtsp, rtsp_film

__all__ = ["mosquitto", "own_mosquitto", "rtsp", "rtsp_film"]
