"""Triton's kernels compiled for the cards that they are written for, by Triton's own compiler, which needs no card."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sora.runtime import float8, float8_rounding

pytest.importorskip("triton", reason="Triton is not installed")

import triton  # type: ignore[import-not-found]

from kernels_parts.launches import CAPABILITIES, FLOAT8_FROM, compiling_for, launches, machine_code, norms, roundings
from sora.runtime import float8_triton, norm_silu_triton


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Iterator[None]:
    """Those too that Triton gives once in a process."""
    if warn_once := getattr(getattr(triton, "_utils", None), "warn_once", None):
        warn_once.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def compiled(capability: int) -> dict[str, Any]:
    with compiling_for(capability) as kernels:
        called = launches(capability)
        for launch in called.values():
            launch()
    return dict(zip(called, kernels, strict=True))


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_kernel_is_machine_code_that_keeps_its_numbers_in_registers(capability: int) -> None:
    found = compiled(capability)
    assert any("norm" in name for name in found)
    assert any("rounding" in name for name in found) == (capability >= FLOAT8_FROM)
    for name, kernel in found.items():
        code = machine_code(kernel, capability)
        assert code.usage[1] == 0, f"{name} spills"
        assert code.occupancy >= 0.5, f"{name} leaves {1 - code.occupancy:.0%} of a multiprocessor empty"
        assert code.shared <= 16384


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_read_and_write_sixteen_bytes_at_once(capability: int) -> None:
    """But for a row's scale and a channel's weight."""
    for name, kernel in compiled(capability).items():
        ptx = kernel.asm["ptx"]
        single = ptx.count("ld.global.") - ptx.count("ld.global.v4.b32")
        assert ptx.count("ld.global.v4.b32") >= 2 >= single, name
        assert ptx.count("st.global.v4.b32") >= 1 >= ptx.count("st.global.") - ptx.count("st.global.v4.b32"), name


def test_numbers_do_not_depend_on_what_triton_does_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums may be fused with products, but where rounding is torch's bit for bit."""
    cases = (("0", norm_silu_triton._norm_silu, norms(torch.float16)), ("1", float8_triton._quantize_row, roundings()))
    for default, kernel, named in cases:
        monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", default)
        kernel.device_caches.clear()  # type: ignore[attr-defined]
        with compiling_for(90) as kernels:
            next(iter(named.values()))()
        assert kernels[0].metadata.enable_fp_fusion is (default == "0")
        assert ("fma" in kernels[0].asm["ptx"]) is (default == "0")


def test_cards_without_float8_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton refuses the format before Ada, and neither rounding nor products are tried there."""
    with compiling_for(80), pytest.raises(Exception, match="not supported in this architecture"):
        next(iter(roundings().values()))()
    card = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    monkeypatch.setattr(float8, "is_supported", lambda *_: pytest.fail("a product was tried"))
    assert not float8.is_fast(card)
    monkeypatch.setattr(torch, "linspace", lambda *_, **__: torch.zeros(4000, dtype=torch.bfloat16, device="meta"))
    float8_rounding.triton_rounding.cache_clear()
    with compiling_for(80):
        assert float8_rounding.triton_rounding(card) is None
    float8_rounding.triton_rounding.cache_clear()
