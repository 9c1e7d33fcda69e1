"""The models of each camera, behind decoders where its frames are held encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from framebuf.models.chain import Chain
from framebuf.service.codedchain import CodedChain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from framebuf.buffer.buffer import Buffer
    from framebuf.config import Config
    from framebuf.models.lane import Lane
    from framebuf.models.network import Network
    from framebuf.service.decoding import Decoding


def chains_of(
    config: Config,
    networks: Sequence[Network],
    lanes: Mapping[str, Lane],
    buffers: Mapping[str, Buffer],
    decoding: Decoding | None,
) -> dict[str, Chain | CodedChain]:
    """By camera; `lanes` by platform. `decoding`: given where a camera has an encoded store."""
    of = {network.name: network for network in networks}
    lane_of = {network.name: lanes[network.platform] for network in networks}
    models = {model.name: model for model in config.model}
    found: dict[str, Chain | CodedChain] = {}
    for camera in config.camera:
        chain = Chain.of([models[name] for name in camera.models], lane_of)
        found[camera.name] = chain
        if decoding is not None and camera.store == "encoded":
            first = of[camera.models[0]]
            found[camera.name] = CodedChain(
                chain,
                buffers[camera.name],
                decoding,
                first.resize,
                (first.input.width, first.input.height),
                whole=len(camera.models) > 1,
            )
    return found
