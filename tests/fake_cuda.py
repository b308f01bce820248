"""A CUDA device for machines without one: tensors that are on "cuda" for torch and for the program, and whose numbers
are computed by the CPU. What only CUDA runs can be run, and compared with the CPU's result. An MPS device likewise.

It is strict where a GPU is: tensors of two devices do not mix, and page-locked memory is copied late. A copy that was
asked for with ``non_blocking`` happens as late as the program allows: when its stream, or one that waits for it, goes
on, or when the host waits. Whoever overwrites or reads too early gets wrong numbers. torch's own sanitizer of streams
(``torch.cuda._sanitizer``) watches what each stream reads and writes, without which a write too early would go unseen.

It knows nothing of: what a real kernel refuses (layouts, alignment, sizes), its rounding, compilers, several devices.
"""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.cuda import _sanitizer
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fake_streams import Copy, FakeEvent, FakeStream, cards, current
from fake_torch import TYPES, device_guards, replace_torch
from sora.networks import layers
from sora.runtime.attention_op import attention_op

MIXES = (
    *("copy_", "_to_copy", "_copy_from", "fill_", "set_", "_has_compatible_shallow_copy_type"),
    *("index", "index_put", "index_put_", "_index_put_impl_"),
)
"""Operators that take tensors of two devices; ``index`` takes its indices from the CPU."""


class CudaTensor(torch.Tensor):
    """A tensor on CUDA. own: its numbers, on the CPU. Views share them."""

    own: Tensor

    @staticmethod
    def __new__(cls, own: Tensor) -> CudaTensor:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            own.size(),
            own.stride(),
            own.storage_offset(),
            dtype=own.dtype,
            layout=own.layout,
            device=current().device,
        )
        made.own = own
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return current().run(func, args, kwargs or {})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def new_tensor(self, data: Any, *args: Any, **kwargs: Any) -> Tensor:
        return self.own.new_tensor(data, *args, **kwargs).to(self.device)

    def __repr__(self, **_: Any) -> str:
        return f"CudaTensor({tuple(self.shape)}, {self.dtype})"


class Factories(TorchDispatchMode):
    """Sends what makes tensors on CUDA to the device. Modes belong to a thread."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return current().run(func, args, kwargs or {})


@dataclass
class Card:
    """total: bytes of its memory. Allocating more raises torch.OutOfMemoryError. calls: of each operator. faults: what
    the program did that a real device would not forgive. spoils: an operator whose result is wrong. before_allocation:
    is called with the bytes."""

    type: str = "cuda"
    total: int = 2**34
    capability: tuple[int, int] = (9, 0)
    name: str = "NVIDIA H100 80GB HBM3"
    allocated: int = 0
    peak: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    copied_late: int = 0
    pinned_ranges: dict[int, int] = field(default_factory=dict)
    events: list[FakeEvent] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    spoils: str = ""
    before_allocation: Callable[[int], None] = lambda _: None

    def __post_init__(self) -> None:
        self.device = torch.device(self.type, 0)
        self.lock = threading.RLock()
        self.sanitizer = _sanitizer.EventHandler()
        self.default: Any = None
        self._sizes: dict[int, int] = {}
        self._references: Counter[int] = Counter()
        self._local = threading.local()
        self.streams: list[FakeStream] = []

    def add_stream(self, stream: FakeStream) -> int:
        """Its number; the default stream's is 0."""
        self.streams.append(stream)
        if len(self.streams) > 1:
            self.sanitizer._handle_stream_creation(len(self.streams) - 1)
        return len(self.streams) - 1

    def stream(self) -> FakeStream:
        return getattr(self._local, "stream", self.default)

    @contextmanager
    def on_stream(self, stream: FakeStream | None) -> Iterator[None]:
        before = self.stream()
        self._local.stream = stream or before
        try:
            yield
        finally:
            self._local.stream = before

    def synchronize(self, *_: object) -> None:
        self.sanitizer._handle_device_synchronization()
        for event in self.events:
            event.synchronize()
        for stream in self.streams:
            stream.flush()

    # -- running operators ------------------------------------------------------------------------------------------

    def run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        with self.lock:
            return self._run(func, args, kwargs)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        leaves = list(_leaves(args, kwargs))
        ours = [x for x in leaves if isinstance(x, CudaTensor)]
        place = next((x for x in leaves if isinstance(x, torch.device)), None)
        if not ours and (place is None or place.type != self.type):
            return self._on_host(func, args, kwargs)
        name = func.overloadpacket.__name__
        self.calls[name] += 1
        if func.namespace == "sora":
            with Factories():
                return attention_op._init_fn(*args, **kwargs)
        self._check_devices(func, name, leaves)
        if self.type == "mps":
            self._refuse_on_mps(name, args, leaves)
        stream = self.stream()
        self._watch(func, args, kwargs, stream)
        if name == "copy_" and self._copies_late(args, kwargs, stream):
            return args[0]
        if name in ("to", "_to_copy") and not ours and self._is_late(leaves[0], "non_blocking", func, args, kwargs):
            return self._moved_late(func, args, kwargs, stream)
        stream.flush()
        result = self._computed(func, args, kwargs)
        if name == self.spoils:
            result = result * 1.5
        if name in ("copy_", "set_"):
            return args[0]
        if place is not None and name in ("to", "_to_copy"):  # between devices, where this is one tensor still
            crosses = (place.type == self.type) != bool(ours)
            result = result.clone() if crosses and _shares(result, leaves) else result
        if place is None or place.type == self.type:
            return self._wrapped(func, args, kwargs, result)
        return result

    def _on_host(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """An operator of the CPU's. Whether memory is page-locked is noted."""
        if not kwargs.get("pin_memory"):
            return func(*args, **kwargs)
        made = func(*args, **{**kwargs, "pin_memory": False})
        storage = made.untyped_storage()
        self.pin(storage.data_ptr(), storage.nbytes())
        return made

    def _computed(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """By the CPU."""

        def of_cpu(x: Any) -> Any:
            if isinstance(x, torch.device):
                return torch.device("cpu")
            return x.own if isinstance(x, CudaTensor) else x

        inner_args, inner_kwargs = pytree.tree_map(of_cpu, (args, kwargs))
        inner_kwargs.pop("pin_memory", None)
        return func(*inner_args, **inner_kwargs)

    def _is_late(self, source: Any, name: str, func: Any, args: Any, kwargs: Any) -> bool:
        """Whether a copy out of page-locked memory was asked for without waiting."""
        return bool(_argument(func, args, kwargs, name)) and self.is_pinned(source)

    def _moved_late(self, func: Any, args: Any, kwargs: Any, stream: FakeStream) -> CudaTensor:
        target = self._computed(func, args, kwargs).clone()
        target.view(torch.uint8).fill_(127)
        stream.waiting.append(Copy(target, args[0]))
        self.copied_late += 1
        return self.wrap(target)

    def _wrapped(self, func: Any, args: Any, kwargs: Any, result: Any) -> Any:
        """The result on the device; of an operator that works in place, its own argument."""
        written = _written(func, args, kwargs)
        returns = func._schema.returns
        if written and returns and all(r.alias_info is not None and r.alias_info.is_write for r in returns):
            return written[0] if len(returns) == 1 else tuple(written)
        of_usual_tensor = func.is_view and not args[0].is_inference()  # and so no tensor of inference mode itself
        with torch.inference_mode(torch.is_inference_mode_enabled() and not of_usual_tensor):
            return pytree.tree_map_only(Tensor, self.wrap, result)

    def wrap(self, own: Tensor) -> CudaTensor:
        made = CudaTensor(own)
        storage = own.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._references[key]:
            self.before_allocation(size)
            if self.allocated + size > self.total:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes.")
            self._sizes[key] = size
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
        self._references[key] += 1
        weakref.finalize(made, self._released, key, storage)
        return made

    def _released(self, key: int, storage: object) -> None:
        """storage: is kept until here, so that no other has its address."""
        with self.lock:
            self._references[key] -= 1
            if not self._references[key]:
                others = [stream for stream in self.streams if stream is not self.default]
                targets = [copy.target for stream in others for copy in stream.unfinished]
                if any(target.untyped_storage()._cdata == key for target in targets):
                    self.faults.append("memory is given back while another stream writes to it")
                del self._references[key]
                self.allocated -= self._sizes.pop(key)

    def _check_devices(self, func: Any, name: str, leaves: list[Any]) -> None:
        tensors = [x for x in leaves if isinstance(x, Tensor)]
        foreign = [x for x in tensors if not isinstance(x, CudaTensor)]
        if not foreign or name in MIXES:
            return
        pointwise = torch.Tag.pointwise in func.tags
        ours = any(isinstance(x, CudaTensor) for x in tensors)
        if ours and not (pointwise and all(x.ndim == 0 and x.device.type == "cpu" for x in foreign)):
            raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two in {func}")

    def _refuse_on_mps(self, name: str, args: Any, leaves: list[Any]) -> None:
        """What MPS cannot do, and what it does wrongly without a word."""
        if any(x is torch.float64 or (_is_ours(x) and x.dtype == torch.float64) for x in leaves):
            raise TypeError("MPS has no float64")
        if name in ("pad", "constant_pad_nd") and args[0].ndim == 5 and len(args[1]) > 4 and any(args[1][4:]):
            self.faults.append("five axes are padded in time")
        if name == "scaled_dot_product_attention":
            q, k = args[:2]
            if q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] > layers.MPS_ATTENTION_LIMIT:
                self.faults.append("an attention matrix is too large")

    def _watch(self, func: Any, args: Any, kwargs: Any, stream: FakeStream) -> None:
        """Report what the operator reads and writes to torch's sanitizer, once there is more than one stream."""
        if func.is_view or len(self.streams) < 2:
            return
        changed = {id(x.own.untyped_storage()._cdata): x for x in _written(func, args, kwargs) if _is_ours(x)}
        written = {x.own.untyped_storage()._cdata for x in changed.values()}
        read = {x.own.untyped_storage()._cdata for x in _leaves(args, kwargs) if _is_ours(x)} - written
        aliases: dict[int, list[str]] = {key: [str(func)] for key in read | written}
        errors = self.sanitizer._handle_kernel_launch(stream.cuda_stream, read, written, set(), str(func), aliases)
        if errors:
            raise _sanitizer.CUDASanitizerErrors(errors)

    # -- page-locked memory -----------------------------------------------------------------------------------------

    def pin(self, start: int, size: int) -> None:
        self.pinned_ranges[start] = size

    def unpin(self, start: int) -> int:
        if any(self._is_in(copy.source, start) for stream in self.streams for copy in stream.unfinished):
            self.faults.append("memory is unlocked while it is copied")
        del self.pinned_ranges[start]
        return 0

    def _is_in(self, source: Tensor, start: int) -> bool:
        return start <= source.data_ptr() < start + self.pinned_ranges[start]

    def is_pinned(self, source: Tensor) -> bool:
        return any(self._is_in(source, start) for start in self.pinned_ranges)

    def _copies_late(self, args: Any, kwargs: Any, stream: FakeStream) -> bool:
        target, source = args[:2]
        asked = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if not asked or not _is_ours(target) or _is_ours(source) or not self.is_pinned(source):
            return False
        stream.waiting.append(Copy(target.own, source))
        self.copied_late += 1
        return True


def _leaves(args: Any, kwargs: Any) -> Iterator[Any]:
    """An operator's arguments, and what is in its lists of tensors."""
    for value in (*args, *kwargs.values()):
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value


def _argument(func: Any, args: Any, kwargs: Any, name: str) -> Any:
    names = [argument.name for argument in func._schema.arguments]
    place = names.index(name)
    return args[place] if place < len(args) else kwargs.get(name)


def _shares(result: Tensor, leaves: list[Any]) -> bool:
    """Whether a result is one of the tensors that it was made from."""
    own = [x.own if isinstance(x, CudaTensor) else x for x in leaves if isinstance(x, Tensor)]
    return any(result.untyped_storage()._cdata == x.untyped_storage()._cdata for x in own)


def _is_ours(x: object) -> bool:
    return isinstance(x, CudaTensor)


def _written(func: Any, args: Any, kwargs: Any) -> list[Any]:
    """The arguments that an operator changes."""
    found = []
    for place, argument in enumerate(func._schema.arguments):
        value = args[place] if place < len(args) else kwargs.get(argument.name)
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(value, Tensor):
            found.append(value)
    return found


@contextmanager
def fake_cuda(monkeypatch: pytest.MonkeyPatch, **more: Any) -> Iterator[Card]:
    """A machine that has the device, in all threads. more: as ``Card``."""
    card = Card(**more)
    cards.append(card)
    guards = device_guards()
    number = TYPES[card.type]
    before, guards[number] = guards[number], guards[TYPES["meta"]]
    card.default = FakeStream()
    replace_torch(monkeypatch, card, Factories)
    with Factories():
        try:
            yield card
            assert not card.faults, card.faults
        finally:
            cards.pop()
            guards[number] = before
            monkeypatch.undo()
