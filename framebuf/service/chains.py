"""The models of each camera, behind decoders where its frames are held encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.models.chain import Chain
from framebuf.service.codedchain import CodedChain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.config import Config
    from framebuf.models.backlog import Entrance
    from framebuf.models.network import Network
    from framebuf.service.decoding import Decoding


def chains_of(
    config: Config,
    networks: Sequence[Network],
    entrances: Mapping[str, Entrance],
    buffers: Mapping[str, Buffer],
    decoding: Decoding | None,
) -> dict[str, Chain | CodedChain]:
    """By camera; `entrances` by model. `decoding`: given where a camera has an encoded store.

    A model without a network is on servers, which may not have told what they take: frames for it
    are decoded whole.
    """
    of = {network.name: network for network in networks}
    models = {model.name: model for model in config.model}
    found: dict[str, Chain | CodedChain] = {}
    for camera in config.camera:
        chain = Chain.of([models[name] for name in camera.models], entrances)
        found[camera.name] = chain
        if decoding is not None and camera.store == "encoded":
            first = of.get(camera.models[0])
            found[camera.name] = CodedChain(
                chain,
                buffers[camera.name],
                decoding,
                first.resize if first else "letterbox",
                (first.input.width, first.input.height) if first else (0, 0),
                whole=first is None or len(camera.models) > 1,
            )
    return found
