"""rknn-toolkit2, which makes .rknn files of ONNX, in an environment of its own."""

from __future__ import annotations

from framebuf.models.toolkit.conversion import Compiled, convert, opened
from framebuf.models.toolkit.environment import Environment
from framebuf.models.toolkit.order import Order

__all__ = ["Compiled", "Environment", "Order", "convert", "opened"]
