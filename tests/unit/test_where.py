"""Whose broker a command means, where the configuration is for the service alone to read."""

from __future__ import annotations

from pathlib import Path

import pytest

from framebuf.cli import config_file, where
from framebuf.errors import ConfigError


@pytest.fixture(autouse=True)
def _folder_of_others(monkeypatch):
    """As /etc/framebuf is to who is not of the group framebuf; root, as tests may be, sees all."""

    def exists(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(config_file, "DEFAULT_PATH", Path("/nowhere/framebuf.toml"))
    monkeypatch.setattr(Path, "exists", exists)


@pytest.mark.parametrize(("node", "any_node"), [("gate-7", False), (None, True)])
def test_with_broker_and_node_named_it_is_not_looked_for(node, any_node):
    mqtt, topics = where.broker_of(None, "broker.local", 1884, node, None, any_node=any_node)
    assert (mqtt.host, mqtt.port) == ("broker.local", 1884)
    assert node in (None, topics.node)


def test_where_it_is_needed_the_error_names_the_option_for_another():
    with pytest.raises(ConfigError, match=r"/nowhere/framebuf\.toml.*cannot be read.*with -c"):
        where.broker_of(None, "broker.local", None, None, None)
