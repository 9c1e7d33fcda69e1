"""TLS to the broker: certificates from their files, and what is wrong, in words."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from framebuf.errors import ConfigError

if TYPE_CHECKING:
    from framebuf.config import Mqtt


def context(mqtt: Mqtt) -> ssl.SSLContext | None:
    """How the configuration wants the connection; None: not TLS.

    Raises:
        ConfigError: a file cannot be used.
    """
    if not mqtt.ca_file and not mqtt.cert_file:
        return None
    try:
        found = ssl.create_default_context(cafile=mqtt.ca_file)
    except OSError as error:
        raise _unusable("mqtt.ca_file", mqtt.ca_file, error) from error
    if mqtt.cert_file is not None and mqtt.key_file is not None:
        try:
            # a password, for without one OpenSSL would ask at the terminal
            found.load_cert_chain(mqtt.cert_file, mqtt.key_file, password="")
        except (OSError, ValueError) as error:
            raise _unusable("mqtt.cert_file", mqtt.cert_file, error) from error
    return found


def why(error: OSError) -> str:
    """What kept a connection from coming about, briefly."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        said = (error.reason or str(error)).replace("_", " ").lower()
        return f"it refuses TLS with us: {said}" if "alert" in said else f"TLS: {said}"
    return error.strerror or str(error) or type(error).__name__


def _unusable(key: str, path: str | None, error: Exception) -> ConfigError:
    said = error.strerror if isinstance(error, OSError) else None
    return ConfigError(
        key,
        f"{path} cannot be used: {said or error}",
        "name readable PEM files that belong together",
    )
