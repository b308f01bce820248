"""3 x 3 convolutions, alone or with three causal taps in time, by minimal filtering (Winograd; Lavin and Gray 2015,
arXiv 1509.09308): four to eight times fewer multiplications, for inference in float32 on a CPU.

A filter of three taps makes m outputs out of m + 2 inputs with m + 2 multiplications instead of 3 m: inputs and taps
are transformed, multiplied place by place, and the products transformed back. Here m is 4 along height and width, and
along time 4, 2 or 1 as the frames divide. Place by place means a matrix product over channels, so a processor runs all
of it near its peak.

The transforms evaluate polynomials at a few points, which lose some digits. At 0, +-5/8, +-3/2 and infinity they lose
least of all sets tried: against float64, with 96 channels, the error is 4 times the plain convolution's (in three axes
7 times), where the usual 0, +-1, +-2 gives 9 (and 24) times.

Frames are worked on in strips of rows, which stay in the cache from the reading of the frames to the writing of the
result; frames before the first, a norm before the convolution and a sum after it need no pass of their own.

Axis letters: F T frames, T of them new; H W height and width; C D channels in and out; N points of a transform.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

TILE = 4
"""Outputs along height, and along width, of one tile."""

POINTS = {4: (0.0, 0.625, -0.625, 1.5, -1.5), 2: (0.0, 1.0, -1.0)}
"""Where polynomials are evaluated, besides infinity, by the number of outputs."""

STRIP_BYTES = 2**21
"""Bytes that one frame's tiles take in a strip, about."""

MAX_CACHED_BYTES = 2**24
"""Bytes up to which the transformed weights of a layer without time are kept with it. With time there are more of them,
and more frames to use them on: these are made anew at every call."""

MAX_TRANSFORMED_BYTES = 2**25
"""Bytes up to which weights made anew are made once a call; above, once a strip, a point at a time."""

WIDE_STRIP_BYTES = 2**24
"""As STRIP_BYTES, where weights are made once a strip."""

MIN_TILES, MIN_TILES_WIDE = 12, 36
"""Tiles of a frame from which on it pays; where weights are made once a strip. Not of all frames, lest a film's chunks
were done in other ways than the whole."""

Layer = nn.Conv2d | nn.Conv3d
Prepare = Callable[[Tensor], object]
"""Changes frames (T, h, W, C) in place before they are convolved, each position on its own."""


@dataclass(frozen=True)
class Transforms:
    """For m outputs: signal (N, m + 2) and taps (N, 3) produce N factors each; result (m, N) combines their
    products."""

    signal: Tensor
    taps: Tensor
    result: Tensor


@lru_cache
def transforms(outputs: int) -> Transforms:
    """Toom and Cook's, float64, for ``outputs`` of three taps; for one output the plain sum of three products."""
    if outputs == 1:
        one = torch.eye(3, dtype=torch.float64)
        return Transforms(one, one, torch.ones(1, 3, dtype=torch.float64))
    size = outputs + 2
    signal = torch.linalg.inv(_powers(outputs, size)).T
    length = signal.norm(dim=1, keepdim=True)  # rows of one length lose the fewest digits
    return Transforms(signal / length, _powers(outputs, 3) * length, _powers(outputs, outputs).T.contiguous())


def _powers(outputs: int, degree: int) -> Tensor:
    """The powers below ``degree`` of each point; of infinity, the highest alone."""
    points = torch.tensor(POINTS[outputs], dtype=torch.float64)
    infinity = torch.zeros(1, degree, dtype=torch.float64)
    infinity[0, -1] = 1
    return torch.cat([points[:, None] ** torch.arange(degree), infinity])


@lru_cache
def _plane(which: str) -> Tensor:
    """A transform along height and width at once, float32."""
    one = getattr(transforms(TILE), which)
    return torch.kron(one, one).float()


def _is_three(layer: Layer) -> bool:
    """3 x 3 in space, dense, zeros of one place around it, every place an output."""
    dense = layer.groups == 1 and set(layer.stride) == set(layer.dilation) == {1} and layer.padding_mode == "zeros"
    return dense and layer.kernel_size[-2:] == (3, 3) and tuple(layer.padding)[-2:] == (1, 1)  # type: ignore[arg-type]


@dataclass
class Scratch:
    """Working memory that is reused, since fresh pages cost as much as what is written to them.

    keeps_weights: whether layers keep their transformed weights (at most ``MAX_CACHED_BYTES`` each) until they are
    freed. It pays for layers that see a few frames at a time, again and again.
    """

    keeps_weights: bool = True
    _buffers: dict[str, Tensor] = field(default_factory=dict)

    def take(self, name: str, *shape: int) -> Tensor:
        """An uninitialised float32 tensor of this shape."""
        size = torch.Size(shape).numel()
        buffer = self._buffers.get(name)
        if buffer is None or buffer.numel() < size:
            self._buffers.pop(name, None)
            buffer = self._buffers[name] = torch.empty(size)
        return buffer[:size].view(shape)


@dataclass(frozen=True)
class ConvJob:
    """One convolution.

    new_THWC: the frames to convolve, channels last. result_THWD: is written; may be ``new_THWC`` itself where as many
    channels come out. upscale: 2 repeats each position of ``new_THWC`` two by two. prepare: applied to the new frames
    first. past_FHWC: the two frames before, prepared already; it is overwritten with the last two of all. None for a
    layer without time. past_is_zero: the past is zeros and need not be read. residual_THWD: is added to the result.
    """

    new_THWC: Tensor
    result_THWD: Tensor
    upscale: int = 1
    prepare: Prepare | None = None
    past_FHWC: Tensor | None = None
    past_is_zero: bool = False
    residual_THWD: Tensor | None = None


class Winograd:
    """Convolves for a network (``networks.convolver.Convolver``), in working memory that it reuses.

    keeps_weights: as in ``Scratch``.
    """

    def __init__(self, keeps_weights: bool = True) -> None:
        self.scratch = Scratch(keeps_weights)

    @staticmethod
    def is_faster(layer: Layer, height: int, width: int, x: Tensor) -> bool:
        """Whether ``convolve`` can replace the layer, and is faster, on frames of this size. x: its input.

        Times faster than torch's, on one thread with AVX2, three taps in time, by channels, frames x height x width:
        64, 4 x 96 x 96 2.1; 96, 4 x 96 x 128 2.1; 192, 4 x 48 x 64 3.1; 384, 2 x 32 x 48 2.0; and with one frame 32 x
        48 1.5, 24 x 24 1.0, 16 x 16 0.5. Hence the minimum of tiles.
        """
        wanted = torch.is_grad_enabled() and (x.requires_grad or layer.weight.requires_grad)
        floats = x.dtype == layer.weight.dtype == torch.float32
        if wanted or not floats or x.device.type != "cpu" or not _is_three(layer):
            return False
        tiles = -(-height // TILE) * -(-width // TILE)
        least = MIN_TILES_WIDE if isinstance(layer, nn.Conv3d) and _big(layer, 1) else MIN_TILES
        return min(layer.in_channels, layer.out_channels) >= 16 and tiles >= least

    def convolve(
        self,
        layer: Layer,
        x_BCTHW: Tensor,
        *,
        past_BCFHW: Tensor | None = None,
        past_is_zero: bool = False,
        upscale: int = 1,
        prepare: Prepare | None = None,
        residual_BDTHW: Tensor | None = None,
        in_place: bool = False,
    ) -> Tensor:
        """Convolve x (B, C, T, H, W) to (B, D, T, H, W), channels last in memory. in_place: the result overwrites x.
        Other parameters as in ``ConvJob``, for each sample of the batch."""
        b, _, t, h, w = x_BCTHW.shape
        shape = b, t, upscale * h, upscale * w, layer.out_channels
        result = x_BCTHW if in_place else x_BCTHW.new_empty(shape).permute(0, 4, 1, 2, 3)
        for i in range(b):
            x, y, old, added = (
                None if every is None else every[i].permute(1, 2, 3, 0)
                for every in (x_BCTHW, result, past_BCFHW, residual_BDTHW)
            )
            assert x is not None and y is not None
            run_conv(layer, ConvJob(x, y, upscale, prepare, old, past_is_zero, added), self.scratch)
        return result

    def convolve_frames(
        self,
        layer: nn.Conv2d,
        x_NCHW: Tensor,
        *,
        prepare: Prepare | None = None,
        residual_NDHW: Tensor | None = None,
    ) -> Tensor:
        """As ``convolve``, for independent frames: (N, D, H, W)."""
        x, added = (None if every is None else every.transpose(0, 1)[None] for every in (x_NCHW, residual_NDHW))
        assert x is not None
        return self.convolve(layer, x, prepare=prepare, residual_BDTHW=added)[0].transpose(0, 1)


def run_conv(layer: Layer, job: ConvJob, scratch: Scratch) -> None:
    """Compute the layer's convolution of the job's frames, each with zeros around it."""
    taps = 3 if job.past_FHWC is not None else 1
    outputs = _along_time(job, taps)
    weights = weights_of(layer, outputs, scratch)
    strip = WIDE_STRIP_BYTES if _big(layer, outputs) else STRIP_BYTES
    _Strips(job, weights, layer.bias, outputs, strip, scratch).run()


def _along_time(job: ConvJob, taps: int) -> int:
    """Outputs of the transform along time; 0 where only the last tap counts."""
    frames = len(job.new_THWC)
    if taps == 1 or (job.past_is_zero and frames == 1):
        return 0
    return next(m for m in (4, 2, 1) if frames % m == 0)


Weights = Callable[[int], Tensor]
"""The transformed taps (36, D, C) of a point of the transform along time."""

_kept: WeakKeyDictionary[Layer, tuple[object, Weights]] = WeakKeyDictionary()


def weights_of(layer: Layer, outputs: int, scratch: Scratch) -> Weights:
    """The layer's taps, transformed for so many outputs along time; 0: the last tap alone.

    Those that are kept are used as long as the layer's weight is the same tensor and torch knows of no change.
    """
    weight, channel_pairs, matrices = layer.weight, layer.out_channels * layer.in_channels, _taps_of(outputs)
    if weight.ndim == 4:
        matrices = matrices[..., -9:]
    if _big(layer, outputs):
        return lambda point: _transformed(weight, matrices[point], scratch.take("weights", 36, channel_pairs))
    forgets = weight.ndim == 5 or 4 * 36 * channel_pairs > MAX_CACHED_BYTES or weight.is_inference()
    if forgets or not scratch.keeps_weights:
        return _all_transformed(weight, matrices, scratch.take("weights", len(matrices), 36, channel_pairs))
    state = weight.data_ptr(), weight._version
    if layer not in _kept or _kept[layer][0] != state:
        _kept[layer] = state, _all_transformed(weight, matrices, weight.new_empty(1, 36, channel_pairs))
    return _kept[layer][1]


def _big(layer: Layer, outputs: int) -> bool:
    return 4 * 36 * len(_taps_of(outputs)) * layer.out_channels * layer.in_channels > MAX_TRANSFORMED_BYTES


def _all_transformed(weight: Tensor, matrices: Tensor, into: Tensor) -> Weights:
    made = [_transformed(weight, *each) for each in zip(matrices, into, strict=True)]
    return made.__getitem__


def _transformed(weight: Tensor, matrix: Tensor, into: Tensor) -> Tensor:
    """matrix: (36, taps); of the taps that it has only zeros for, a run at either end is not read."""
    d, c = weight.shape[:2]
    used = matrix.any(dim=0).nonzero()
    low, high = int(used[0]), int(used[-1]) + 1
    return torch.mm(matrix[:, low:high], weight.reshape(d * c, -1)[:, low:high].t(), out=into).view(36, d, c)


@lru_cache
def _taps_of(outputs: int) -> Tensor:
    """(N, 36, 27), float32: along time, height and width, of taps in the same order; 0: of the last in time alone."""
    time, one = transforms(max(1, outputs)).taps, transforms(TILE).taps
    time = time if outputs else time[-1:]
    return torch.einsum("nt,iy,jx->nijtyx", time, one, one).reshape(len(time), 36, 27).float()


class _Strips:
    """The work of one job, strip after strip of rows."""

    def __init__(self, job: ConvJob, weights: Weights, bias: Tensor | None, outputs: int, strip: int, scratch: Scratch):
        """outputs: of the transform along time, 0 for none. strip: bytes of its tiles."""
        self.job, self.weights, self.bias, self.scratch = job, weights, bias, scratch
        self.outputs, self.points = outputs, len(_taps_of(outputs))
        self.new, (_, self.height, self.width, self.dim_out) = len(job.new_THWC), job.result_THWD.shape
        self.dim_in = job.new_THWC.shape[-1]
        self.blocks = self.new // max(1, outputs)
        self.old = 0 if job.past_FHWC is None else 2
        self.across = -(-self.width // TILE)
        total = -(-self.height // TILE)
        rows = max(1, round(strip / (4 * 36 * self.across * self.dim_in * self.blocks)))
        self.rows_per_strip = -(-total // -(-total // rows))  # rows of tiles in a strip, about as many in each
        self.window = scratch.take(
            "window", self.old + self.new, TILE * self.rows_per_strip + 2, TILE * self.across + 2, self.dim_in
        )

    def run(self) -> None:
        self.window.zero_()
        total = -(-self.height // TILE)
        read = 0
        for start in range(0, total, self.rows_per_strip):
            rows = min(self.rows_per_strip, total - start)
            read = self._read(start, rows, read)
            self._write(start, self._outputs(rows), rows)

    def _read(self, start: int, rows: int, read: int) -> int:
        """Fill the window with what the strip sees; ``read`` rows were read before. Gives how many are now."""
        top = TILE * start - 1  # the row at the window's top
        if start:  # what the strip before ends with is what this one begins with, and may be overwritten by now
            self.window[:, :2] = self.window[:, TILE * self.rows_per_strip : TILE * self.rows_per_strip + 2].clone()
        stop = min(self.height, TILE * (start + rows) + 1)
        inside = self.window[:, read - top : stop - top, 1 : self.width + 1]
        if stop > read:
            self._fill(inside, read, stop)
        self.window[:, stop - top :] = 0
        return stop

    def _fill(self, inside: Tensor, read: int, stop: int) -> None:
        new = self._prepared(read, stop)
        inside[self.old :] = new
        past = self.job.past_FHWC
        if past is None:
            return
        if self.job.past_is_zero:
            inside[: self.old] = 0
        else:
            inside[: self.old] = past[:, read:stop]
        past[:, read:stop] = inside[-2:]

    def _prepared(self, read: int, stop: int) -> Tensor:
        frames, prepare = self.job.new_THWC, self.job.prepare
        if self.job.upscale == 2:
            frames = frames[:, read // 2 : -(-stop // 2)]
            t, h, w, c = frames.shape
            large = self.scratch.take("large", t, h, 2, w, 2, c)
            large.copy_(frames[:, :, None, :, None])
            frames = large.view(t, 2 * h, 2 * w, c)[:, read % 2 :][:, : stop - read]
        else:
            frames = frames[:, read:stop]
        if prepare is None:
            return frames
        own = self.scratch.take("prepared", *frames.shape)
        own.copy_(frames)
        prepare(own)
        return own

    def _outputs(self, rows: int) -> Tensor:
        """What the window's tiles give: (frames of a block, 16, blocks * tiles * D)."""
        tiles = self.blocks * rows * self.across
        factors = self.scratch.take("factors", 36, tiles, self.dim_in)
        products = self.scratch.take("products", 36, tiles, self.dim_out)
        plane_outputs = self.scratch.take("places", self.points, TILE * TILE, tiles * self.dim_out)
        blocks_NBHWC = [self._along_time(block) for block in range(self.blocks)]
        for point in range(self.points):  # one after another, since so their factors and products stay in the cache
            self._tiles([block[point] for block in blocks_NBHWC], factors, rows)
            torch.bmm(factors, self.weights(point).transpose(1, 2), out=products)
            torch.mm(_plane("result"), products.view(36, -1), out=plane_outputs[point])
        if self.outputs == 0:
            return plane_outputs
        outputs = self.scratch.take("outputs", self.outputs, plane_outputs[0].numel())
        matrix = transforms(self.outputs).result.float()
        return torch.mm(matrix, plane_outputs.view(self.points, -1), out=outputs)

    def _tiles(self, frames: list[Tensor], factors: Tensor, rows: int) -> None:
        """The frames' tiles, transformed: (36, tiles of all frames, C)."""
        shape = TILE + 2, TILE + 2, rows, self.across, self.dim_in
        corner = self.scratch.take("tiles", 36, rows * self.across * self.dim_in)
        for number, frame_HWC in enumerate(frames):
            row_stride, column_stride, channel_stride = frame_HWC.stride()
            corner.view(shape).copy_(
                frame_HWC.as_strided(
                    shape, (row_stride, column_stride, TILE * row_stride, TILE * column_stride, channel_stride)
                )
            )
            factor = factors.view(36, len(frames), -1)[:, number]
            torch.mm(_plane("signal"), corner, out=factor)

    def _along_time(self, block: int) -> Tensor:
        """The window's frames of a block of outputs, transformed along time: (N, h, w, C)."""
        if self.outputs == 0:
            return self.window[self.old + block :][:1]
        seen = self.window[block * self.outputs :][: self.outputs + 2]
        if self.outputs == 1:
            return seen
        mixed = self.scratch.take("mixed", self.blocks, self.points, seen[0].numel())[block]
        matrix = transforms(self.outputs).signal.float()
        return torch.mm(matrix, seen.view(len(seen), -1), out=mixed).view(self.points, *seen.shape[1:])

    def _write(self, start: int, outputs: Tensor, rows: int) -> None:
        """Outputs to their places."""
        frames = max(1, self.outputs)
        tiles = outputs.view(frames, TILE, TILE, self.blocks, rows, self.across, self.dim_out)
        ordered = tiles.permute(3, 0, 4, 1, 5, 2, 6)  # blocks, frames, rows, side, across, side, D
        top, bottom = TILE * start, min(self.height, TILE * (start + rows))
        target = self.job.result_THWD[:, top:bottom]
        whole = self.scratch.take("whole", self.new, TILE * rows, TILE * self.across, self.dim_out)
        if self.bias is None:
            whole.view(ordered.shape).copy_(ordered)
        else:
            torch.add(ordered, self.bias, out=whole.view(ordered.shape))
        cut = whole[:, : bottom - top, : self.width]
        if self.job.residual_THWD is None:
            target.copy_(cut)
        else:
            torch.add(cut, self.job.residual_THWD[:, top:bottom], out=target)
