"""Where a model on inference servers is: the `path` of a [[model]] that is a URL."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal, cast

Scheme = Literal["http", "https", "grpc", "grpcs"]

EXAMPLE = "http://10.0.0.5:8000,10.0.0.6:8000/nanodet"
_URL = re.compile(r"(?P<scheme>[a-z]+)://(?P<addresses>[^/]*)/(?P<model>[^/]*)(/(?P<version>.*))?")
_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_NAME = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def is_url(path: str) -> bool:
    """Whether a path is a place on servers, and no file."""
    return "://" in path


@dataclass(frozen=True, slots=True)
class Endpoints:
    """One model on servers that speak the Open Inference Protocol; each has the same network."""

    scheme: Scheme
    addresses: tuple[str, ...]
    """`host:port`, in the order given."""
    model: str
    version: str | None = None
    """None: the one that the server serves."""

    @classmethod
    def parse(cls, url: str) -> Endpoints:
        """Read `grpc://host:8001/model`, or several servers and a version: `https://a:8,b:9/model/3`.

        Servers are separated by commas, as libpq has it: one URL cannot name two models.

        Raises:
            ValueError: it is not written so.
        """
        found = _URL.fullmatch(url)
        if found is None:
            raise ValueError(f"expected servers and a model as in {EXAMPLE}, got {url}")
        if found["scheme"] not in ("http", "https", "grpc", "grpcs"):
            raise ValueError(f"expected http, https, grpc or grpcs, got {found['scheme']}://")
        if "@" in found["addresses"]:
            raise ValueError("a secret does not stand in the URL: put a token into token_file")
        addresses = tuple(part.strip() for part in found["addresses"].split(","))
        for at, address in enumerate(addresses):
            match = _ADDRESS.fullmatch(address)
            if match is None or not 0 < int(match["port"]) < 65536:
                raise ValueError(f"expected host:port as in {EXAMPLE}, got {address!r}")
            if address in addresses[:at]:
                raise ValueError(f"{address} stands twice; name each server once")
        for what in ("model", "version"):
            if found[what] is not None and not _NAME.fullmatch(found[what]):
                raise ValueError(f"expected a {what} as in {EXAMPLE}, got {found[what]!r}")
        scheme = cast("Scheme", found["scheme"])
        return cls(scheme, addresses, found["model"], found["version"])

    @property
    def tls(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def is_loopback(self) -> bool:
        """Whether all of them are on this machine, as far as their names show."""
        return all(_is_loopback(split(address)[0]) for address in self.addresses)

    def __str__(self) -> str:
        version = f"/{self.version}" if self.version else ""
        return f"{self.scheme}://{','.join(self.addresses)}/{self.model}{version}"


def split(address: str) -> tuple[str, int]:
    """Host, without the brackets of IPv6, and port."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
