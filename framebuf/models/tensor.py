"""What a model file says of one of its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from framebuf.errors import InferenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Layout = Literal["NHWC", "NCHW", "other"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a network."""

    name: str

    shape: tuple[int | None, ...]
    """With the batch axis first; None where an axis is free."""

    dtype: str
    """numpy's name of what the runtime takes or gives: `uint8`, `float32`."""

    layout: Layout = "other"
    """Where a picture's axes are; `other` for what is no picture."""

    scale: float | None = None
    """Quantisation: real = (stored − zero_point) · scale; None where it is not quantised."""

    zero_point: int | None = None

    @property
    def batch(self) -> int | None:
        """Rows; None where the file takes any number."""
        return self.shape[0]

    @property
    def height(self) -> int:
        """Pixels; only for a picture."""
        return self._axis(1 if self.layout == "NHWC" else 2)

    @property
    def width(self) -> int:
        """Pixels; only for a picture."""
        return self._axis(2 if self.layout == "NHWC" else 3)

    def rows(self, count: int) -> tuple[int, ...]:
        """The shape of a tensor of `count` rows."""
        return (count, *(self._axis(axis) for axis in range(1, len(self.shape))))

    def require(self, tensor: NDArray[Any], model: str) -> None:
        """Let nothing pass that is no tensor of this one's dtype and shape; `model` is told of.

        Raises:
            InferenceError: it is not; with expected and actual.
        """
        fits = tensor.dtype == self.dtype and tensor.ndim == len(self.shape)
        if not fits or not all(
            got >= 1 and want in (None, got)
            for want, got in zip(self.shape, tensor.shape, strict=True)
        ):
            got = f"{'×'.join(map(str, tensor.shape))} {tensor.dtype}"
            raise InferenceError(f"{model} wants {self}, the tensor is {got}")

    def _axis(self, axis: int) -> int:
        size = self.shape[axis]
        if size is None:
            raise ValueError(f"axis {axis} of tensor {self.name} is free")
        return size

    def __str__(self) -> str:
        sizes = "×".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name} {sizes} {self.dtype}"
