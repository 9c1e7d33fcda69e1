"""Keep the last camera frames; on an MQTT trigger, infer on them in batches and publish."""

__version__ = "0.1.0"
