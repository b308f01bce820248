"""Attention kernels: their rows, how they are ranked and chosen, what is kept of it, and how blocks use them.

What a card would choose from stands in for it here: made-up kernels that run on the CPU, with made-up times.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import sora
from real_files_parts import tiny_wan
from sora import memory
from sora.cli import doctor_checks
from sora.models import attention as choices
from sora.models.attention import Choice, attention_by, fastest_attention, read_choices
from sora.networks.layers import attention
from sora.networks.wan.config import WanConfig
from sora.networks.wan.dit import WanDiT
from sora.runtime import attention_kernels, attention_op, attention_ranking
from sora.runtime.attention_kernels import HALF, KERNELS, Kernel
from sora.runtime.attention_op import KernelAttention
from sora.runtime.attention_ranking import AttentionSize, candidates, rank_kernels, relative_error, round_tokens
from sora.runtime.speed import Speed

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
SIZE = AttentionSize(heads=2, head_dim=16, queries=256, keys=256, dtype=torch.float32)
EXACT, FAST = Speed(), Speed("fast")


def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v)


def rough(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Off by four per cent."""
    return 1.04 * plain(q, k, v)


def wrong(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return 1.5 * plain(q, k, v)


def not_finite(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return plain(q, k, v) * float("nan")


def broken(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise RuntimeError("no kernel image is available\nfor this device")


def too_large(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("out of memory")


@dataclass
class Bench:
    """Kernels of the CPU. seconds: of each by the number of keys, then by name. calls: (name, queries, keys)."""

    monkeypatch: pytest.MonkeyPatch
    seconds: dict[str, float] = field(default_factory=dict)
    text_seconds: dict[str, float] = field(default_factory=dict)
    calls: list[tuple[str, int, int]] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)

    def add(self, name: str, function: Callable[..., Tensor], seconds: float, text: float = 0, **more: Any) -> None:
        def counted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.calls.append((name, q.shape[2], k.shape[2]))
            return function(q, k, v)

        settings: dict[str, Any] = {"device_types": frozenset({"cpu"}), "dtypes": HALF | {torch.float32}}
        row = Kernel(f"the {name} kernel", lambda: counted, **(settings | more))
        self.monkeypatch.setitem(KERNELS, name, row)
        self.seconds[name], self.text_seconds[name] = seconds, text or seconds

    def timer(self, name: str, work: Callable[[], object], device: torch.device) -> float:
        work()
        self.measured.append(name)
        _, queries, keys = self.calls[-1]
        return (self.seconds if queries == keys else self.text_seconds)[name]

    def forget(self) -> None:
        """What a new process knows."""
        choices._fastest_kernel.cache_clear()
        choices.attention_by.cache_clear()
        attention_op.load_kernel.cache_clear()
        attention_kernels._flash3_function.cache_clear()
        attention_op._failed.clear()
        self.calls.clear()
        self.measured.clear()


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bench]:
    made = Bench(monkeypatch)
    monkeypatch.setenv("SORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(attention_ranking, "seconds_of", made.timer)
    made.forget()
    yield made
    made.forget()
    for module in ("flash_attn_interface", "kernels", "sageattention"):
        sys.modules.pop(module, None)


def inputs(queries: int = 40, keys: int = 30, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """As the blocks lay them out: heads next to their channels."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(batch, n, 3, 16).transpose(1, 2) for n in (queries, keys, keys))
    return q, k, v


def choose(speed: Speed = EXACT, tokens: int = 1000) -> Choice:
    return fastest_attention(CPU, torch.float32, 2, 16, tokens, speed)


# The rows


@pytest.mark.parametrize("name", ["cudnn", "flash", "efficient"])
def test_torchs_own_kernels_compute_attention(name: str, bench: Bench) -> None:
    q, k, v = inputs()
    expected = attention(q, k, v)
    found = KernelAttention(name, attention)(q, k, v)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    one_for_both = KernelAttention(name, attention)(q[:1].expand(2, -1, -1, -1), k, v)
    torch.testing.assert_close(one_for_both[:1], expected[:1], rtol=0, atol=1e-6)


def test_masks_and_gradients_are_left_to_the_default(bench: Bench) -> None:
    bench.add("quick", broken, 1)
    q, k, v = inputs()
    mask = torch.ones(2, 30, dtype=torch.bool)
    mask[1, 20:] = False
    attend = KernelAttention("quick", attention)
    torch.testing.assert_close(attend(q, k, v, mask), attention(q, k, v, mask), rtol=0, atol=0)
    attend(q.requires_grad_(), k, v).sum().backward()
    assert q.grad is not None and not bench.calls


@pytest.mark.parametrize(
    ("capability", "dtype", "expected"),
    [
        ((9, 0), torch.bfloat16, ("cudnn", "flash", "efficient")),
        ((9, 0), torch.float32, ("efficient",)),  # asking the others prints warnings
        ((7, 5), torch.float16, ("efficient",)),
    ],
)
def test_a_card_is_asked_only_for_what_it_has(
    capability: tuple[int, int], dtype: torch.dtype, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(attention_kernels, "installed_version", lambda _: None)
    size = AttentionSize(2, 128, 256, 256, dtype)
    assert candidates(CUDA, size, fast=True) == expected
    assert candidates(CPU, size, fast=True) == ()


# Ranking


def test_the_fastest_that_works_comes_first(bench: Bench) -> None:
    bench.add("slow", plain, 3)
    bench.add("quick", plain, 1)
    bench.add("broken", broken, 0.1)
    bench.add("unfit", broken, 0.1, fits=lambda *_: False)
    ranked = rank_kernels(CPU, SIZE, ("slow", "quick", "broken", "unfit"))
    assert [timing.kernel for timing in ranked] == ["quick", "slow"]
    assert [timing.seconds for timing in ranked] == [1, 3]
    assert {name for name, *_ in bench.calls} == {"slow", "quick", "broken"}


def test_what_is_too_far_off_is_left_out(bench: Bench) -> None:
    bench.add("exact but wrong", rough, 1)
    bench.add("wrong", wrong, 1, exact=False)
    bench.add("not finite", not_finite, 1, exact=False)
    bench.add("another shape", lambda q, k, v: plain(q, k, v)[:, :1], 1, exact=False)
    bench.add("rough", rough, 2, exact=False)
    names = ("exact but wrong", "wrong", "not finite", "another shape", "rough")
    (timing,) = rank_kernels(CPU, SIZE, names)
    assert timing.kernel == "rough"
    assert timing.error == pytest.approx(0.04, rel=1e-3)


def test_times_are_measured() -> None:
    work = iter([0, *range(100)])
    assert 0 < attention_ranking.seconds_of("", lambda: [next(work), sum(range(10_000))], CPU) < 1


@pytest.mark.parametrize(("tokens", "rounded"), [(1, 256), (1750, 2048), (27_280, 32_768), (200_000, 32_768)])
def test_sizes_are_few_and_small(tokens: int, rounded: int) -> None:
    assert round_tokens(tokens) == rounded
    q, k, v = AttentionSize(40, 128, rounded, 512, torch.bfloat16).inputs(CPU)
    assert q.shape[2] == rounded and k.shape[2] == v.shape[2] == 512
    assert q.nbytes <= attention_ranking.MAX_BYTES and q.shape[1] == k.shape[1]


def test_ranking_is_silent_in_float32(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    def chatty(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        warnings.warn("Flash attention has been runtime disabled", UserWarning, stacklevel=1)
        return plain(q, k, v)

    bench.add("chatty", chatty, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rank_kernels(CPU, SIZE, ("chatty", "efficient"), timer=lambda *_: 1.0)
        KernelAttention("efficient", attention)(*inputs())
    assert capfd.readouterr() == ("", "")


# Choosing


def test_tokens_and_text_are_chosen_for_apart(bench: Bench) -> None:
    bench.add("one", plain, 1, text=4)
    bench.add("two", plain, 2, text=3)
    assert choose() == Choice("one", "two")
    assert {keys for *_, keys in bench.calls} == {1024, 512}


def test_only_fast_takes_what_is_not_exact(bench: Bench) -> None:
    bench.add("exact", plain, 2)
    bench.add("rough", rough, 1, exact=False)
    assert choose() == Choice("exact", "exact")
    assert choose(FAST) == Choice("rough", "rough")
    assert choose(Speed(disabled=frozenset({"attention"}))) == Choice(None, None)


def test_nothing_to_choose_from_is_torchs_default(bench: Bench) -> None:
    assert choose() == Choice(None, None)
    assert Choice(None, None).functions == (attention, attention)
    bench.add("broken", broken, 1)
    assert choose(tokens=300) == Choice(None, None)


def test_no_room_to_measure_is_torchs_default(bench: Bench) -> None:
    bench.add("large", too_large, 1)
    assert choose() == Choice(None, None)
    assert read_choices() == {}


def test_windows_of_a_film_are_measured_once(bench: Bench) -> None:
    bench.add("one", plain, 1)
    for tokens in (800, 1000, 1300):
        choose(tokens=tokens)
    assert bench.measured == ["one", "one"]  # among tokens, and to text


# What is kept


def test_a_choice_is_kept(bench: Bench) -> None:
    bench.add("slow", plain, 2)
    bench.add("quick", plain, 1)
    chosen = choose()
    kept = list(read_choices().values())
    assert [choice.kernel for choice in kept] == ["quick", "quick"]
    assert kept[0].milliseconds == {"quick": 1000, "slow": 2000}
    bench.forget()
    assert choose() == chosen
    assert not bench.measured
    assert choose(tokens=4000) == chosen  # another size
    assert bench.measured


def test_another_package_or_speed_is_another_choice(bench: Bench) -> None:
    bench.add("quick", plain, 1)
    choose()
    bench.forget()
    bench.add("new", plain, 0.5)
    assert choose() == Choice("new", "new")


def damaged_files() -> dict[str, bytes]:
    choice = {"kernel": "quick", "milliseconds": {}, "errors": {}}
    return {
        "cut off": b'{"format": 1, "choices": {"a": {"ker',
        "not text": bytes(range(256)),
        "another format": json.dumps({"format": 2, "choices": {"a": choice}}).encode(),
        "another program's": b'[1, 2, "three"]',
        "nested": b"[" * 100_000,
        "not a name": json.dumps({"format": 1, "choices": {"a": choice | {"kernel": ["quick"]}}}).encode(),
        "too large": json.dumps({"format": 1, "choices": {"a" * 2**19: choice}}).encode(),
    }


@pytest.mark.parametrize("kind", damaged_files())
def test_a_damaged_file_is_ignored_and_written_anew(kind: str, bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "cache" / choices.FILE_NAME
    path.parent.mkdir()
    path.write_bytes(damaged_files()[kind])
    assert read_choices() == {}
    bench.add("quick", plain, 1)
    assert choose() == Choice("quick", "quick")
    assert len(read_choices()) == 2


@pytest.mark.parametrize("name", ["rough", "os.system", "gone"])
def test_a_file_cannot_choose_what_is_not_a_candidate(name: str, bench: Bench) -> None:
    def gone() -> Any:
        raise ImportError("removed")

    bench.add("quick", plain, 1)
    bench.add("rough", rough, 0.5, exact=False)
    bench.monkeypatch.setitem(
        KERNELS, "gone", Kernel("", gone, dtypes=HALF | {torch.float32}, device_types=frozenset({"cpu"}))
    )
    choose()
    path = choices._path()
    path.write_text(path.read_text().replace('"kernel": "quick"', f'"kernel": "{name}"'))
    bench.forget()
    assert choose() == Choice("quick", "quick")
    assert [choice.kernel for choice in read_choices().values()] == ["quick", "quick"]


def test_the_file_is_bounded_and_a_folder_that_cannot_be_written_costs_time_alone(bench: Bench, tmp_path: Path) -> None:
    timing = attention_ranking.Timing("quick", 1, 0)
    for index in range(choices.MAX_CHOICES + 5):
        choices.save_choice(f"size {index}", (timing,))
    assert next(iter(read_choices())) == "size 5" and len(read_choices()) == choices.MAX_CHOICES
    bench.monkeypatch.setenv("SORA_CACHE", str(tmp_path / "file" / "inside"))
    (tmp_path / "file").write_text("")
    bench.add("quick", plain, 1)
    assert choose() == Choice("quick", "quick")


# Blocks


TINY = WanConfig(num_layers=2, heads=2, head_dim=12, in_channels=4, out_channels=4, text_dim=8, freq_dim=16, ffn_dim=40)


def lively() -> tuple[WanDiT, tuple[Tensor, Tensor, Tensor]]:
    torch.manual_seed(0)
    dit = WanDiT(TINY).eval().requires_grad_(False)
    for p in dit.parameters():
        p.normal_(std=p[0].numel() ** -0.5 if p.ndim > 1 else 0.3)
    return dit, (torch.randn(2, 4, 3, 4, 6), torch.full((2,), 700.0), torch.randn(2, 5, 8))


def test_a_network_is_given_its_kernels_when_they_change(bench: Bench) -> None:
    bench.add("one", plain, 1)
    dit, _ = lively()
    given: list[Any] = []
    bench.monkeypatch.setattr(dit, "use_attention", lambda *functions: given.append(functions))

    def use(shape: tuple[int, int, int], speed: Speed = EXACT) -> None:
        choices.use_fastest_attention(dit, shape, CPU, torch.float32, speed)

    disabled = Speed(disabled=frozenset({"attention"}))
    for shape, speed in (((3, 4, 6), disabled), ((3, 4, 6), EXACT), ((3, 4, 8), EXACT), ((3, 4, 6), disabled)):
        use(shape, speed)
    assert given == [(attention_by("one"), attention_by("one", of_text=True)), (attention, attention)]


def test_a_kernel_that_fails_gives_way_with_one_warning(bench: Bench) -> None:
    bench.add("quick", broken, 1)
    dit, given = lively()
    expected = dit(*given)
    dit.use_attention(attention_by("quick"), attention)
    with pytest.warns(RuntimeWarning, match="the quick kernel failed, .*: no kernel image is available$") as found:
        torch.testing.assert_close(dit(*given), expected, rtol=0, atol=1e-6)
    assert len(found) == len(bench.calls) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dit(*given)
    assert len(bench.calls) == 1
    bench.add("other", plain, 2)
    assert choose() == Choice("other", "other")


def test_the_fastest_of_the_others_takes_the_place_of_one_that_fails(bench: Bench) -> None:
    """Not torch's default, which is another graph where blocks are compiled."""
    working = [True]
    bench.add("quick", lambda *given: plain(*given) if working.pop() else broken(*given), 1)
    for name, seconds in (("slow", 3), ("second", 2)):
        bench.add(name, plain, seconds)
    working.extend([True] * 100)
    assert choose() == Choice("quick", "quick")
    working[-1] = False
    with pytest.warns(RuntimeWarning, match="quick kernel failed"):
        attention_by("quick")(*inputs())
    assert choose() == Choice("second", "second")


def test_no_room_is_not_a_failure(bench: Bench) -> None:
    bench.add("quick", too_large, 1)
    with pytest.raises(torch.OutOfMemoryError):
        attention_by("quick")(*inputs())
    assert not attention_op.has_failed("quick")


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiled_blocks_contain_the_kernels_whole(backend: str, bench: Bench) -> None:
    bench.add("own", plain, 1)
    bench.add("text", plain, 1)
    dit, given = lively()
    expected = dit(*given)
    dit.use_attention(attention_by("own"), attention_by("text"))
    torch.compiler.reset()
    for block in dit.blocks:
        block.forward = torch.compile(block.forward, fullgraph=True, backend=backend)
    with torch.inference_mode():
        for _ in range(2):
            torch.testing.assert_close(dit(*given), expected, rtol=0, atol=1e-5)
    assert bench.calls[:4] == [("own", 18, 18), ("text", 18, 5)] * 2 and len(bench.calls) == 8


@pytest.mark.parametrize(("kind", "more"), [("t2v", {}), ("t2v", {"memory": "streamed"}), ("vace", {})])
def test_a_film_is_painted_by_the_kernels_that_were_chosen(
    kind: str, more: dict[str, Any], bench: Bench, tmp_path: Path
) -> None:
    model = str(tiny_wan.folder(tmp_path / kind, kind))
    options: dict[str, Any] = {"model": model, "frames": 5, "size": "96x64", "steps": 2, "seed": 7, "device": "cpu"}

    def painted(**changes: Any) -> Tensor:
        return torch.from_numpy(sora.generate("a red cat", **options, **more, **changes).frames).int()

    expected = painted()
    bench.forget()
    bench.add("own", plain, 1, text=2)
    bench.add("text", plain, 2, text=1)
    found = painted()
    assert (found - expected).abs().max() <= 1
    in_blocks = {call for call in bench.calls if call[1] not in (256,)}
    assert {(name, queries == keys) for name, queries, keys in in_blocks} == {("own", True), ("text", False)}
    bench.calls.clear()
    assert torch.equal(painted(disable=["attention"]), expected) and not bench.calls


# Packages


def install(monkeypatch: pytest.MonkeyPatch, folder: Path, module: str, version: str, source: str) -> None:
    """A package of one file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text("import torch\nimport torch.nn.functional as F\n" + source)
    (folder / f"{module}-{version}.dist-info").mkdir()
    (folder / f"{module}-{version}.dist-info" / "METADATA").write_text(f"Name: {module}\nVersion: {version}\n")
    sys.modules.pop(module, None)
    monkeypatch.syspath_prepend(str(folder))


FLASH3_SOURCE = """
def flash_attn_func(q, k, v, q_descale=None, k_descale=None, v_descale=None):
    if q_descale is not None:
        assert q.dtype == k.dtype == v.dtype == torch.float8_e4m3fn
        assert q_descale.shape == (q.shape[0], q.shape[2])
        scales = (scale[:, None, :, None] for scale in (q_descale, k_descale, v_descale))
        q, k, v = (x.float() * scale for x, scale in zip((q, k, v), scales))
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)))
    return out.transpose(1, 2), None
"""


def test_flash_attention_3_is_found_and_called(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, tmp_path / "packages", "flash_attn_interface", "3.0.0", FLASH3_SOURCE)
    assert KERNELS["flash3"].found_in == "flash_attn_interface"  # its distribution has another name
    q, k, v = SIZE.inputs(CPU)
    expected = attention(q, k, v)
    torch.testing.assert_close(KernelAttention("flash3", attention)(q, k, v), expected, rtol=0, atol=1e-6)
    assert 0.01 < relative_error(KernelAttention("flash3-fp8", attention)(q, k, v), expected) < 0.08
    for dtype in (torch.bfloat16, torch.float16):
        half = KernelAttention("flash3-fp8", attention)(*(x.to(dtype) for x in (1e-3 * q, k, v)))
        assert half.dtype == dtype and relative_error(half, attention(1e-3 * q, k, v)) < 0.08
    assert not KernelAttention("flash3-fp8", attention)(q, k, 0 * v).any()


KERNELS_SOURCE = """
import logging
from types import SimpleNamespace
from huggingface_hub import constants
def get_kernel(repository, version):
    assert constants.HF_HUB_OFFLINE and (repository, version) == ("kernels-community/flash-attn3", 1)
    logging.getLogger("kernels").warning("Skipping publisher trust check")
    if not CACHED:
        raise FileNotFoundError(repository)
    return SimpleNamespace(flash_attn_func=lambda q, k, v: (q, None))
"""


@pytest.mark.parametrize("cached", [True, False])
def test_the_hub_is_never_asked_for_a_kernel(
    cached: bool,
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    install(monkeypatch, tmp_path / "packages", "kernels", "0.17.2", f"CACHED = {cached}\n{KERNELS_SOURCE}")
    assert KERNELS["flash3"].found_in == ("kernels 0.17.2" if cached else None)
    if cached:
        attention_op.load_kernel("flash3")
    else:
        with pytest.raises(FileNotFoundError):
            attention_op.load_kernel("flash3")
    assert constants.HF_HUB_OFFLINE is False and not caplog.records


SAGE_SOURCE = """
print("Failed to get CUDA version")
def sageattn(q, k, v, tensor_layout="NHD", is_causal=False, smooth_k=True):
    assert tensor_layout == "HND"
    if smooth_k and IN_PLACE:
        k -= k.mean(dim=2, keepdim=True)
    return F.scaled_dot_product_attention(q, k, v)
"""


@pytest.mark.parametrize("version", ["1.0.6", "2.2.0"])
def test_sage_attention_leaves_the_keys_as_they_are(
    version: str, bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = f"IN_PLACE = {version[0] == '1'}\n{SAGE_SOURCE}"
    install(monkeypatch, tmp_path / "packages", "sageattention", version, source)
    assert KERNELS["sage"].found_in == f"sageattention {version}" and not KERNELS["sage"].exact
    q, k, v = SIZE.inputs(CPU)
    before = k.clone()
    found = KernelAttention("sage", attention)(q, k, v)
    torch.testing.assert_close(found, attention(q, before, v), rtol=0, atol=1e-5)
    assert torch.equal(k, before)
    assert capsys.readouterr().out == ""


# The doctor


def test_the_doctor_names_the_kernels(bench: Bench) -> None:
    bench.monkeypatch.setattr(memory, "devices", lambda: ("cpu",))
    found = {"flash_attn_interface": "3.0.0", "sageattention": ""}
    bench.monkeypatch.setattr(attention_kernels, "installed_version", found.get)
    assert doctor_checks.attention() == "cpu by torch's default; flash_attn_interface 3.0.0, sageattention installed"
    bench.forget()
    found.clear()
    bench.add("own", plain, 1, text=2)
    bench.add("text", plain, 2, text=1)
    bench.monkeypatch.setattr(choices, "TYPICAL", (2, 16, 300))
    chosen = "cpu by the own kernel among tokens and the text kernel to text"
    assert doctor_checks.attention() == f"{chosen}; no package of kernels installed"
    bench.add("text", plain, 2, text=3)
    bench.monkeypatch.setattr(choices, "TYPICAL", (2, 16, 500))
    assert choices.summary(CPU, torch.float32) == "cpu by the own kernel"
