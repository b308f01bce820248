"""One safetensors file into one module, strictly: the same names, the same shapes, or one line that says why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from sora.errors import ModelError
from sora.storage.stand_in import damage
from sora.weights import finite, gguf_header, safetensors_header
from sora.weights.tensor_entry import Table

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    ModuleT = TypeVar("ModuleT", bound=nn.Module)

Shapes = Mapping[str, tuple[int, ...]]


def table(path: Path) -> Table:
    """Every tensor of a .safetensors or .gguf file by name, from its header alone.

    Raises ModelError for a file that is missing, empty, truncated, or not what it is called.
    """
    with _named(path):
        return (gguf_header if path.suffix == ".gguf" else safetensors_header).table(path)


def metadata(path: Path) -> dict[str, str]:
    """What a .safetensors or .gguf file says about itself. Raises ModelError as ``table`` does."""
    with _named(path):
        return (gguf_header if path.suffix == ".gguf" else safetensors_header).metadata(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What a reader of headers raises, as ModelError about the file."""
    try:
        yield
    except FileNotFoundError:
        raise ModelError(f"the weights file {path} is missing; reinstall the package that brings it") from None
    except OSError as error:
        raise ModelError(f"the weights file {path} cannot be read ({error.strerror or error}); check it") from None
    except gguf_header.UnreadFormat as error:
        raise ModelError(f"{path}: {error}; get the file in one of these, Q4_K_M for one") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        problem = damage(path, error, is_text=False, advice="reinstall or download it again")
        raise ModelError(f"the weights file {path} is {problem}") from None


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name to shape of every tensor of a file. Raises ModelError as ``table`` does."""
    return {name: entry.shape for name, entry in table(path).items()}


def read(
    path: Path,
    expected: Shapes,
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    prefix: str = "",
) -> dict[str, Tensor]:
    """Exactly the tensors of ``expected`` (name to shape), on ``device``.

    dtype: floating tensors are converted to it; None keeps the file's. prefix: look only at names that start with it;
    ``expected`` and the answer are without it. Raises ModelError, before anything is allocated, when the file is
    damaged or holds other names or shapes than expected, and while it is read for NaN and infinity.
    """
    found = {name.removeprefix(prefix): shape for name, shape in shapes(path).items() if name.startswith(prefix)}
    compare(path, found, expected, "reinstall or download it again")

    from safetensors import SafetensorError, safe_open

    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            for name in expected:
                tensor = file.get_tensor(prefix + name)
                tensors[name] = tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
                finite.check(tensors[name], path, prefix + name)
    except SafetensorError as error:
        raise ModelError(f"the weights file {path} is damaged ({error}); reinstall or download it again") from None
    return tensors


def compare(path: Path, found: Shapes, expected: Shapes, advice: str) -> None:
    """Raises ModelError naming the first few names that differ, and what to do."""
    complaints = [
        _abbreviate("missing", [n for n in expected if n not in found]),
        _abbreviate("unexpected", [n for n in found if n not in expected]),
        _abbreviate(
            "of another shape",
            [f"{n} {found[n]} for {shape}" for n, shape in expected.items() if n in found and found[n] != tuple(shape)],
        ),
    ]
    if any(complaints):
        message = "; ".join(c for c in complaints if c)
        raise ModelError(f"the weights file {path} does not fit the model ({message}); {advice}")


def _abbreviate(what: str, names: list[str], most: int = 3) -> str:
    """'2 missing: a, b', with no more than ``most`` names; empty for no names."""
    if not names:
        return ""
    more = ", ..." if len(names) > most else ""
    return f"{len(names)} {what}: {', '.join(names[:most])}{more}"


def load_into(
    module: ModuleT,
    path: Path,
    prefix: str = "",
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> ModuleT:
    """The same module with the file's tensors (those under ``prefix``) in place of its own, in eval mode, frozen.

    The module may stand on the meta device, so that nothing is allocated twice. Raises ModelError as ``read`` does, and
    ValueError for a module that keeps buffers out of its state on the meta device: nothing in the file could fill them.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    return fill(module, read(path, expected, device=device, dtype=dtype, prefix=prefix))


def fill(module: ModuleT, tensors: Mapping[str, Tensor]) -> ModuleT:
    """The same module with these tensors in place of its own, all of them, in eval mode, frozen. Raises ValueError for
    a buffer that stays on the meta device."""
    module.load_state_dict(tensors, strict=True, assign=True)
    hollow = [name for name, buffer in module.named_buffers() if buffer.is_meta]
    if hollow:
        raise ValueError(f"no file fills these buffers of {type(module).__name__}: {', '.join(hollow)}")
    return module.eval().requires_grad_(False)
