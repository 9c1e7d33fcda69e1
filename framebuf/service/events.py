"""What is logged and people alert on: its name, EVENT, and its number, MESSAGE_ID."""

from __future__ import annotations

MESSAGE_IDS = {
    "node_ready": "e295c9c925a243a3aff944d3841d57ae",
    "node_reloaded": "44b20c8653ca45629ea9fe27190dbdfc",
    "reload_refused": "26298714dc074c6e99ef67e536a1bec7",
    "node_stopping": "ccad23eac34b4e839101321a4c823507",
    "node_died": "60d19e186e2f4f45a70b8da4a50f99d9",
    "camera_offline": "369a379e361e40ad99c2a0a8dfdf491b",
    "camera_online": "c59a332af31043bbbcb74a2ad1ac112b",
    "broker_connected": "d59f734be76c4ece9a2ec41dcac7741e",
    "broker_trouble": "597a6345620b47e38cb2bdae16e426d9",
    "servers_away": "80c0bf80a40c4446920f6c8a5ee4c242",
    "servers_back": "c1297ce73bbc482fa097c5992294cfb8",
    "request_complete": "97c31b602467400dbad6412caecb65dd",
    "request_partial": "1dba947c20b44b1285952c49b63bbfe8",
    "request_failed": "026224bf17284358989ff237d541173f",
}
"""A logger says `extra={"EVENT": "camera_offline"}`; the number is added on the way to the journal.

Numbers stay for ever: `journalctl MESSAGE_ID=…` and other people's alerts depend on them.
"""
