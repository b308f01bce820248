"""Block offload: a network's blocks wait in CPU memory, and each is copied to the device just before it runs.

While a block runs the next one is copied, on a stream of its own on CUDA. Two buffers on the device hold the copies, so
nothing is allocated during a pass. The results are those of a network that is on the device as a whole.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

SLOTS = 2
"""Buffers on the device besides the resident blocks: one for the running block, one for the next."""

ALIGNMENT = 256
"""Bytes that every tensor's place in a buffer is a multiple of: enough for any number format and for wide loads."""


Convert = Callable[[nn.Module], object]
"""Changes a block in place."""


class TensorLayout(NamedTuple):
    """Where a tensor lies in a block's buffer, and its type. start: its first byte."""

    start: int
    size: int
    dtype: torch.dtype
    shape: torch.Size
    parameter: bool
    gradient: bool


class HostBlock:
    """A block's tensors, side by side in one buffer of CPU memory. wants_gradients: whether any of them requires
    gradients."""

    def __init__(self, block: nn.Module, pin: bool) -> None:
        entries = [entry for table in _tables(block) for entry in _entries(table)]
        tensors = list({id(tensor): tensor for _, _, tensor in entries}.values())  # once, however many names it has
        index_of = {id(tensor): place for place, tensor in enumerate(tensors)}
        self._entries = [(table, name, index_of[id(tensor)]) for table, name, tensor in entries]
        self._layouts = _layouts_of(tensors)
        self.wants_gradients = any(kind.gradient for kind in self._layouts)
        end = max((kind.start + kind.size for kind in self._layouts), default=0)
        self.bytes = torch.empty(end, dtype=torch.uint8, device="cpu")
        self.unpin = _pin(self.bytes) if pin else None
        self.host_tensors = self.views_in(self.bytes)
        for own, tensor in zip(self.host_tensors, tensors, strict=True):
            own.copy_(tensor)
        self.use(self.host_tensors)

    def views_in(self, buffer: Tensor) -> list[Tensor]:
        """The block's tensors as views of a buffer with the same layout."""
        views = [buffer[k.start : k.start + k.size].view(k.dtype).view(k.shape) for k in self._layouts]
        return [
            nn.Parameter(view, requires_grad=kind.gradient) if kind.parameter else view
            for view, kind in zip(views, self._layouts, strict=True)
        ]

    def use(self, tensors: list[Tensor]) -> None:
        """Make these the block's tensors. Bypasses ``nn.Module.__setattr__``, which would be slow here."""
        for table, name, place in self._entries:
            table[name] = tensors[place]


def _has_streams(device: torch.device) -> bool:
    """Whether copies can run while a block computes; elsewhere each copy is done when its call returns."""
    return device.type == "cuda"


def _tables(block: nn.Module) -> list[dict[str, Any]]:
    """The dictionaries in which the modules of a block keep their parameters and buffers."""
    return [table for module in block.modules() for table in (module._parameters, module._buffers)]


def _entries(table: dict[str, Any]) -> list[tuple[dict[str, Any], str, Tensor]]:
    return [(table, name, tensor) for name, tensor in table.items() if tensor is not None]


def _layouts_of(tensors: list[Tensor]) -> list[TensorLayout]:
    layouts, end = [], 0
    for tensor in tensors:
        parameter = isinstance(tensor, nn.Parameter)
        layouts.append(TensorLayout(end, tensor.nbytes, tensor.dtype, tensor.shape, parameter, tensor.requires_grad))
        end += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
    return layouts


class DeviceSlot:
    """A buffer on the device. block_index: the block whose weights it has, None for none. ready, free: CUDA events that
    mark when the copy is complete and when the work with it is done."""

    def __init__(self, size: int, homes: list[HostBlock], device: torch.device) -> None:
        self.bytes = torch.empty(size, dtype=torch.uint8, device=device)
        self.views = [home.views_in(self.bytes) for home in homes]
        self.block_index: int | None = None
        self.ready, self.free = (torch.cuda.Event(), torch.cuda.Event()) if _has_streams(device) else (None, None)
        if self.free is not None:  # whoever had this memory before may still be at work
            self.free.record(torch.cuda.current_stream(device))


class BlockOffload:
    """The result of ``offload_blocks``; as a context manager it ends with ``remove``. slots: the buffers on the
    device."""

    def __init__(
        self, blocks: list[nn.Module], device: torch.device, resident: set[int], pin: bool, convert: Convert | None
    ) -> None:
        self.device = device
        self._host_blocks: list[HostBlock] = []
        moving = [block for place, block in enumerate(blocks) if place not in resident]
        self._hooks: list[Any] = []
        with torch.inference_mode(False), torch.no_grad():
            for place in resident:
                blocks[place].to(device)
                if convert is not None:
                    convert(blocks[place])
            for block in moving:  # one by one, so that no more than one block is ever held twice
                if convert is not None:
                    convert(block.to(device))
                self._host_blocks.append(HostBlock(block, pin and _has_streams(device)))
            size = max((len(home.bytes) for home in self._host_blocks), default=0)
            self.slots = [DeviceSlot(size, self._host_blocks, device) for _ in range(min(SLOTS, len(moving)))]
        self._stream = torch.cuda.Stream(device) if _has_streams(device) and moving else None
        # The next block may be on its way when the network is dropped, and memory of both ends would be given back.
        self._finalizer = weakref.finalize(self, _wait_for, device) if self._stream is not None else None
        if self._finalizer is not None:
            self._finalizer.atexit = False
        self._at_work: tuple[int, DeviceSlot] | None = None
        for place, block in enumerate(moving):
            self._hooks.append(block.register_forward_pre_hook(self._pre_hook(place), with_kwargs=True))
            self._hooks.append(block.register_forward_hook(lambda *_: self._release(), always_call=True))

    def remove(self) -> None:
        """Make the blocks plain modules again: offloaded ones in CPU memory, resident ones on the device. Frees the
        buffers. May be called more than once."""
        self._release()
        for hook in self._hooks:
            hook.remove()
        if self._finalizer is not None:
            self._finalizer()
        for home in self._host_blocks:
            if home.unpin is not None:
                home.unpin()
        self._hooks, self._host_blocks, self.slots = [], [], []

    def __enter__(self) -> BlockOffload:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _pre_hook(self, place: int) -> Any:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            wanted = self._host_blocks[place].wants_gradients or _wants_gradients(*args, *kwargs.values())
            if wanted and torch.is_grad_enabled():
                raise ValueError("offloaded blocks keep no weights for a backward pass; run them under torch.no_grad()")
            self._bring_in(place)

        return hook

    def _bring_in(self, place: int) -> None:
        """Copy the block to the device, if it is not there, and start copying the one after it."""
        self._release()
        with torch.inference_mode(False), torch.no_grad():
            slot = self._slot_of(place)
            if slot is None:
                slot = self._fetch(place, self.slots[0])
            if slot.ready is not None:
                torch.cuda.current_stream(self.device).wait_event(slot.ready)
            self._host_blocks[place].use(slot.views[place])
            self._at_work = place, slot
            after = (place + 1) % len(self._host_blocks)
            if self._slot_of(after) is None:
                self._fetch(after, next(other for other in self.slots if other is not slot))

    def _release(self) -> None:
        """Return the running block, if any, to CPU memory: after it ran, or when an interrupted pass is followed by
        another."""
        if self._at_work is None:
            return
        place, slot = self._at_work
        self._at_work = None
        if slot.free is not None:
            slot.free.record(torch.cuda.current_stream(self.device))
        self._host_blocks[place].use(self._host_blocks[place].host_tensors)

    def _slot_of(self, place: int) -> DeviceSlot | None:
        return next((slot for slot in self.slots if slot.block_index == place), None)

    def _fetch(self, place: int, slot: DeviceSlot) -> DeviceSlot:
        """Start copying a block into a slot; the copy waits until work with the slot's previous block is done."""
        home = self._host_blocks[place]
        slot.block_index = None  # should the copy fail, it has neither
        if self._stream is None:
            slot.bytes[: len(home.bytes)].copy_(home.bytes)
        else:
            assert slot.free is not None and slot.ready is not None
            self._stream.wait_event(slot.free)
            with torch.cuda.stream(self._stream):
                slot.bytes[: len(home.bytes)].copy_(home.bytes, non_blocking=True)
                slot.ready.record(self._stream)
        slot.block_index = place
        return slot


def offload_blocks(
    blocks: Iterable[nn.Module],
    device: torch.device | str,
    resident: int = 0,
    pin: bool = True,
    convert: Convert | None = None,
) -> BlockOffload:
    """Keep all but ``resident`` of the blocks in CPU memory and copy each to ``device`` when it is called; until
    ``remove``.

    blocks: of any kind, in the order in which a pass calls them. Resident blocks are spread evenly, so that each copy
    has the time of several blocks. pin: lock the waiting blocks' memory on CUDA, without which copies are slow and
    cannot overlap with computation. convert: is given each block while it is on the device, before it goes back to CPU
    memory, and may replace its layers: what it makes smaller is copied in less time. Moving the network's other modules
    is up to the caller. Weights must not change meanwhile: merge LoRAs before.

    Raises ValueError for fewer blocks than ``resident``, for two blocks that share a tensor, and, in a pass, where
    gradients are wanted.
    """
    blocks, device = list(blocks), torch.device(device)
    if not 0 <= resident <= len(blocks):
        raise ValueError(f"{resident} of {len(blocks)} blocks cannot stay; expected 0 to {len(blocks)}")
    tensors = [id(t) for block in blocks for t in {*block.parameters(), *block.buffers()}]
    if len(set(tensors)) < len(tensors):
        raise ValueError("two blocks share a tensor; offloaded blocks must each have their own")
    stay = {(2 * i + 1) * len(blocks) // (2 * resident) for i in range(resident)}
    return BlockOffload(blocks, device, stay, pin, convert)


def _wants_gradients(*values: object) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


def _wait_for(device: torch.device) -> None:
    """Until nothing is copied any more."""
    with suppress(RuntimeError, AssertionError):  # what the device failed at is raised where its result is used
        torch.cuda.synchronize(device)


def _pin(bytes_N: Tensor) -> Callable[[], object] | None:
    """Lock the bytes in memory; returns the function that unlocks them, None where the system refuses.

    torch's own pinned memory comes in powers of two: 40 blocks of 700 MB would take 43 GB instead of 28.
    """
    if not bytes_N.numel():
        return None
    runtime: Any = torch.cuda.cudart()
    start = bytes_N.data_ptr()
    if int(runtime.cudaHostRegister(start, bytes_N.nbytes, 1)):  # 1: for every context
        with suppress(RuntimeError):  # takes up the error, which the next kernel would otherwise be blamed for
            torch.zeros(1, device="cuda")
        return None
    unlock = weakref.finalize(bytes_N, runtime.cudaHostUnregister, start)
    unlock.atexit = False  # the process gives all back by itself, and CUDA may be gone by then
    return unlock
