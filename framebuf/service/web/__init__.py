"""The node as a browser and a monitoring system see it; the one room that needs the extra `web`.

It reads snapshots and sends triggers the way that a message comes in. Nothing waits for it.
"""
