"""LIF, PLIF and IF over all time steps: SpikingJelly's spikes and gradients, however they are computed.

Expected values are SpikingJelly's, from the same layers after `spiking.use("spikingjelly")`.
"""

import logging
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nas.costs.counter import OperationCounter
from spikformer import SpikformerConfig, spiking
from spikformer.config import NeuronConfig
from spikformer.neurons import Neuron, neuron
from tests.helpers import calibrated, small_config

ROOT = Path(__file__).parents[2]
KINDS = ("lif", "plif", "if")
SURROGATES = ("sigmoid", "atan")
# Of gradients, relative to their norm: the order of multiplications differs. A bfloat16 may round to its neighbour.
TOLERANCE = {torch.float32: 5e-7, torch.float64: 1e-15, torch.bfloat16: 1e-4}
HERE: dict[str, spiking.Implementation] = {"cpu": "eager", "cuda": "auto"}  # ours, by the device that is tested


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = spiking.in_use()
    yield
    spiking.use(before)


def layer_of(kind: str, surrogate: str = "sigmoid", tau: float = 1.37, threshold: float = 0.31) -> Neuron:
    fields: dict[str, Any] = {"kind": kind, "surrogate": surrogate, "tau": tau, "threshold": threshold}
    return neuron(SpikformerConfig(neuron=NeuronConfig(**fields)))


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def run(implementation: spiking.Implementation, layer: Neuron, x_T: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Spikes, and the gradients of the currents and of the layer's parameters."""
    spiking.use(implementation)
    x_T = x_T.detach().requires_grad_()
    spikes_T = layer(x_T)
    gradient_T = random(*x_T.shape, dtype=x_T.dtype, seed=1).to(x_T.device)
    gradients = torch.autograd.grad(spikes_T, [x_T, *layer.parameters()], gradient_T)
    return spikes_T.detach().cpu(), [gradient.cpu() for gradient in gradients]


def assert_equal(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]]) -> None:
    """Spikes to the last one, gradients within `TOLERANCE`."""
    (spikes, gradients), (expected_spikes, expected_gradients) = found, expected
    assert spikes.dtype == expected_spikes.dtype
    assert torch.equal(spikes, expected_spikes)
    assert 0.05 < spikes.double().mean() < 0.95
    assert gradients[0].dtype == spikes.dtype
    error = (gradients[0].double() - expected_gradients[0].double()).norm() / expected_gradients[0].double().norm()
    assert error < TOLERANCE[spikes.dtype]
    for gradient, other in zip(gradients[1:], expected_gradients[1:], strict=True):
        assert other != 0
        torch.testing.assert_close(gradient, other, rtol=2e-5, atol=0)


@pytest.mark.parametrize("time_steps", [1, 4])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("kind", KINDS)
def test_spikes_and_gradients_are_spikingjellys(
    kind: str, surrogate: str, dtype: torch.dtype, time_steps: int, device: torch.device
) -> None:
    """Of that library's layers on a CPU."""
    x_T = 2 * random(time_steps, 400, 313, dtype=dtype)
    for tau, threshold in ((2.0, 1.0), (1.37, 0.31)):
        layer = layer_of(kind, surrogate, tau, threshold)
        layer = layer.double() if dtype == torch.float64 else layer
        expected = run("spikingjelly", layer, x_T)
        assert_equal(run(HERE[device.type], layer.to(device), x_T.to(device)), expected)


def at_the_threshold(kind: str, tau: float, threshold: float) -> Tensor:
    """Currents [2, 100, 21], float32, that bring the membrane to within ten roundings of the threshold, in each step.

    The second step's start from what the first one's leave.
    """
    gain = 1.0 if kind == "if" else tau
    ulps = torch.arange(-10, 11) * 2.0**-24
    first = threshold * gain * random(100, 1, dtype=torch.float64)
    first = torch.where(torch.arange(100)[:, None] < 50, first, threshold * gain) * (1 + ulps)
    h = (first / gain).float().double()
    v = torch.where(h >= threshold, 0.0, h)
    second = v * (kind != "if") + (threshold - v) * gain
    return torch.stack([first, second * (1 + ulps)]).float()


@pytest.mark.parametrize("kind", KINDS)
def test_spikes_are_spikingjellys_to_the_last_rounding(kind: str, device: torch.device) -> None:
    """1 / tau times is not divided by tau, and a fused multiplication and addition is not both."""
    assert_equal_at_the_threshold(HERE[device.type], kind, device)


def assert_equal_at_the_threshold(implementation: spiking.Implementation, kind: str, device: torch.device) -> None:
    for tau in [2.0, 4.0, *torch.linspace(1.1, 5, 40).tolist()]:
        layer, x_T = layer_of(kind, tau=tau), at_the_threshold(kind, tau, 0.31)
        spiking.use("spikingjelly")
        expected = layer(x_T).detach()
        spiking.use(implementation)
        assert torch.equal(layer.to(device)(x_T.to(device)).detach().cpu(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_the_layout_of_memory_changes_nothing_and_is_kept(kind: str, device: torch.device) -> None:
    layer, here = layer_of(kind).to(device), HERE[device.type]
    plain = 2 * random(2, 3, 4, 6, 5).to(device)
    expected = run(here, layer, plain)
    channels_last = plain.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (2, 3))
    gaps = torch.stack([plain, plain], -1)[..., 0]
    last_first = plain.permute(4, 3, 2, 1, 0).contiguous().permute(4, 3, 2, 1, 0)  # time is the fastest axis
    for x_T in (channels_last, gaps, last_first):
        assert not x_T.is_contiguous()
        spikes, gradients = run(here, layer, x_T)
        assert torch.equal(spikes, expected[0])
        for gradient, other in zip(gradients, expected[1], strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-6, atol=0)
    spiking.use(here)
    assert layer(channels_last).stride() == channels_last.stride()
    current = random(1, 3).to(device)  # one for all steps, as a learned position is
    assert torch.equal(layer(current.expand(4, 3)), layer(current.expand(4, 3).clone()))


def test_odd_shapes() -> None:
    spiking.use("eager")
    assert layer_of("lif")(torch.empty(4, 0, 3)).shape == (4, 0, 3)
    assert layer_of("if", threshold=0.75)(torch.full((7,), 0.25)).tolist() == [0, 0, 1, 0, 0, 1, 0]
    assert layer_of("plif")(torch.empty(2, 3, device="meta")).is_meta


def test_one_membrane_a_number_is_kept_for_backward_and_none_without_gradients() -> None:
    x_T = random(4, 100).requires_grad_()
    kept: list[Tensor] = []
    spiking.use("eager")
    with torch.autograd.graph.saved_tensors_hooks(lambda saved: kept.append(saved), lambda saved: saved):
        layer_of("lif")(x_T)
        with torch.no_grad():
            layer_of("lif")(x_T)
    assert sum(tensor.numel() for tensor in kept) == x_T.numel()


@pytest.mark.parametrize("kind", KINDS)
def test_a_counter_counts_the_same(kind: str, device: torch.device) -> None:
    model, images = calibrated(small_config(neuron=kind), device=device)
    found = []
    for implementation in ("spikingjelly", "eager", "auto", "compiled"):  # which does not compile under a counter
        spiking.use(implementation)
        with torch.no_grad(), OperationCounter(model) as counter:
            model(images)
        found.append((counter.operations(), counter.firing_rates(), counter.overheads))
    assert all(other == found[0] for other in found)


def test_an_unknown_implementation_is_refused() -> None:
    with pytest.raises(ValueError, match="'fast' is not one of auto, eager, compiled, spikingjelly"):
        spiking.use("fast")  # pyrefly: ignore[bad-argument-type]


# Compiled


@pytest.mark.slow
@pytest.mark.parametrize("kind", [k if k == "plif" else pytest.param(k, marks=pytest.mark.exhaustive) for k in KINDS])
def test_compiled_neurons_are_the_same_and_are_compiled_once(kind: str) -> None:
    """Twice for all sizes, layouts, time constants and thresholds: forward and backward."""
    import torch._dynamo.utils as dynamo

    torch._dynamo.reset()
    before = dynamo.counters["stats"]["unique_graphs"]
    for sizes, tau, threshold in (((40, 313), 2.0, 1.0), ((7, 11, 13), 1.37, 0.31), ((64, 8, 16, 4), 3.1, 0.2)):
        layer = layer_of(kind, "sigmoid", tau, threshold)
        x_T = 2 * random(4, *sizes)
        assert_equal(run("compiled", layer, x_T), run("eager", layer, x_T))
    assert dynamo.counters["stats"]["unique_graphs"] - before == 2
    assert_equal_at_the_threshold("compiled", kind, torch.device("cpu"))
    assert torch.tensor(1e-40) * 1 > 0  # no library was loaded that flushes small numbers to 0


def test_a_missing_compiler_is_told_of_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import cpp_builder, exc

    def missing() -> str:
        raise exc.InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    spiking._finds_compiler.cache_clear()
    spiking.use("compiled")
    with caplog.at_level(logging.WARNING, "spikformer"):
        spikes = [layer_of("lif")(random(4, 100)) for _ in range(3)]
    spiking._finds_compiler.cache_clear()
    assert spikes[0].any()
    (record,) = (record for record in caplog.records if record.name == "spikformer.spiking")
    assert "no C++ compiler" in record.getMessage()


# Triton


@pytest.mark.cuda
def test_this_gpu_runs_the_kernels(device: torch.device) -> None:
    assert spiking._runs_triton(device)
    assert spiking.fuses_norm(torch.zeros(2, 3, 4, 4, device=device), torch.nn.BatchNorm2d(3, device=device))


@pytest.mark.cuda
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_norm_and_neuron_in_one_on_a_gpu(
    dtype: torch.dtype, channels_last: bool, training: bool, device: torch.device
) -> None:
    """Against batch norm and then a neuron, in float32: sums in another order may move a spike at the threshold."""
    for tau, shape in ((2.0, (4 * 8, 96, 16, 16)), (1.37, (4 * 2, 70, 3, 3)), (2.0, (4 * 60, 3, 3, 5))):
        norms = [torch.nn.BatchNorm2d(shape[1], device=device).train(training) for _ in range(2)]
        layout = torch.channels_last if channels_last else torch.contiguous_format
        y = (3 * random(*shape) + 1).to(device, dtype, memory_format=layout)
        gradient = random(*shape, seed=1).to(device, dtype)
        one, two = y.clone().requires_grad_(), y.clone().requires_grad_()
        spikes = spiking.normed(one, norms[0], 4, tau, "lif", 0.5, "sigmoid")
        z_T = norms[1](two.float()).unflatten(0, (4, -1))
        expected = spiking.lif(z_T, tau, 0.5, "sigmoid").flatten(0, 1).to(dtype)
        assert spikes.stride() == y.stride()
        assert (spikes != expected).float().mean() < 1e-4
        spikes.backward(gradient)
        expected.backward(gradient)
        assert one.grad is not None
        assert two.grad is not None
        error = (one.grad.double() - two.grad.double()).norm() / two.grad.double().norm()
        assert error < 2e-2
        torch.testing.assert_close(dict(norms[0].named_buffers()), dict(norms[1].named_buffers()), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("cases", ["some", pytest.param("all", marks=pytest.mark.exhaustive)])
def test_triton_kernels_in_its_interpreter(cases: str) -> None:
    pytest.importorskip("triton", reason="Triton comes with torch for CUDA")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.interpreted", cases],
        cwd=ROOT,
        env=os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tau", [1.37, 2.0])
@pytest.mark.parametrize("kind", KINDS)
def test_triton_kernels_compile_for_a_gpu_of_today(kind: str, tau: float) -> None:
    """To machine code for compute capability 9.0, which needs no GPU; IEEE division, and nothing is fused.

    Where tau is a power of two, it multiplies instead.
    """
    triton = pytest.importorskip("triton", reason="Triton comes with torch for CUDA")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spikformer import spiking_kernels as kernels

    numbers = {"leak": "*fp32" if kind == "plif" else "fp32", "threshold": "fp32", "n": "i32", "x_step": "i32"}
    constants = {"T": 4, "CHARGE": kernels.charged_by(kind, tau)[0], "BLOCK": kernels.BLOCK}
    forward = dict.fromkeys(("x_ptr", "spikes_ptr"), "*bf16") | numbers
    backward = dict.fromkeys(("gradient_ptr", "x_ptr", "dx_ptr"), "*bf16") | {"drate_ptr": "*fp32"} | numbers
    for kernel, signature, known in (
        (kernels.forward_kernel, forward, constants),
        (kernels.backward_kernel, backward, constants | {"SURROGATE": 0}),
    ):
        source = ASTSource(kernel, signature | dict.fromkeys(known, "constexpr"), known)
        compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=kernels.OPTIONS)
        assert compiled.asm["cubin"]
        assert "fma" not in compiled.asm["ptx"]
        assert ("div.rn" in compiled.asm["ptx"]) == (kind == "lif" and tau == 1.37)


@pytest.mark.parametrize("name", ["statistics", "norm_forward", "norm_backward", "norm_finish"])
def test_fused_kernels_compile_for_a_gpu_of_today(name: str) -> None:
    triton = pytest.importorskip("triton", reason="Triton comes with torch for CUDA")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from spikformer import spiking_kernels as kernels

    kernel = getattr(kernels, f"{name}_kernel")
    known = {"T": 4, "CHARGE": 0, "SURROGATE": 0, "PLACES": 8, "CHANNELS": 64}
    known = {constant: value for constant, value in known.items() if constant in kernel.arg_names}
    types = dict.fromkeys(("leak", "threshold", "share"), "fp32")
    types |= dict.fromkeys(("places", "channels", "pixels", "pixel_stride", "channel_stride"), "i32")
    types |= dict.fromkeys(("gradient_ptr", "y_ptr", "dz_ptr", "dy_ptr", "spikes_ptr"), "*bf16")
    signature = {argument: types.get(argument, "*fp32") for argument in kernel.arg_names}
    source = ASTSource(kernel, signature | dict.fromkeys(known, "constexpr"), known)
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=kernels.OPTIONS)
    assert compiled.asm["cubin"]


def test_a_gpu_without_kernels_is_told_of_once(caplog: pytest.LogCaptureFixture, monkeypatch: Any) -> None:
    spiking._triton_kernels.cache_clear()
    monkeypatch.setitem(sys.modules, "spikformer.spiking_kernels", None)
    monkeypatch.delattr("spikformer.spiking_kernels", raising=False)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert spiking._triton_kernels(torch.float32) is spiking._EAGER
    spiking._triton_kernels.cache_clear()
    (record,) = caplog.records
    assert record.name == "spikformer.spiking"
    assert "Triton cannot be imported" in record.getMessage()


@pytest.mark.parametrize(
    ("outcome", "message"),
    [(RuntimeError("no such instruction"), r"fail on it \(no such instruction\)"), (False, "compute something else")],
)
def test_a_gpu_that_fails_at_the_kernels_is_told_of_once(
    outcome: Any, message: str, caplog: pytest.LogCaptureFixture, monkeypatch: Any
) -> None:
    def tried(_device: torch.device) -> bool:
        if isinstance(outcome, Exception):
            raise outcome
        return bool(outcome)

    monkeypatch.setattr(spiking, "_kernels_agree", tried)
    spiking._RUNS_TRITON.clear()
    with caplog.at_level(logging.WARNING):
        assert not any(spiking._runs_triton(torch.device("cuda", 0)) for _ in range(3))
    spiking._RUNS_TRITON.clear()
    (record,) = caplog.records
    assert re.search(message, record.getMessage())


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_check_of_a_gpu_does_not_depend_on_who_asks_first(mode: Any, monkeypatch: Any) -> None:
    """The answer stays for the process; where gradients are forbidden, the check would fail. A CPU stands in."""
    spiking._RUNS_TRITON.clear()
    monkeypatch.setattr(spiking, "_triton_kernels", lambda _dtype: spiking._Kernels(*_eager_pair()))
    monkeypatch.setattr(spiking, "normed", lambda y, norm, *_: _by_layers(y, norm))
    with mode():
        assert spiking._runs_triton(torch.device("cpu"))
    spiking._RUNS_TRITON.clear()


def test_a_compiler_sees_the_answer_of_the_check_and_not_the_check(monkeypatch: Any) -> None:
    """In one graph. A CPU stands in; the check runs a backward pass, which no compiler traces."""
    asked: list[torch.device] = []

    def agree(device: torch.device) -> bool:
        asked.append(device)
        currents = torch.ones(3, requires_grad=True)
        currents.sum().backward()
        return currents.grad is not None

    monkeypatch.setattr(spiking, "_kernels_agree", agree)
    spiking._RUNS_TRITON.clear()
    assert spiking._runs_triton(torch.device("cpu"))
    doubled = torch.compile(lambda x: 2 * x if spiking._runs_triton(x.device) else x, backend="eager", fullgraph=True)(
        torch.ones(2)
    )
    spiking._RUNS_TRITON.clear()
    assert doubled.tolist() == [2, 2]
    assert len(asked) == 1


def _eager_pair() -> tuple[Any, Any]:
    return spiking._EAGER.forward, spiking._EAGER.backward


def _by_layers(y_nCHW: Tensor, norm: torch.nn.BatchNorm2d) -> Tensor:
    return spiking.lif(norm(y_nCHW).unflatten(0, (2, 2)), 2.0, 0.5, "sigmoid").flatten(0, 1)


def test_a_type_without_kernels_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("triton", reason="Triton comes with torch for CUDA")
    spiking._triton_kernels.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert spiking._triton_kernels(torch.float64) is spiking._EAGER
        assert spiking._triton_kernels(torch.bfloat16) is not spiking._EAGER
    (record,) = caplog.records
    assert "no Triton kernel for torch.float64" in record.getMessage()


@pytest.mark.parametrize("tau", [1.5, 2.0, 3.0])
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_the_rate_at_the_start_depends_on_threshold_times_tau_alone(tau: float, gain: float) -> None:
    """Currents behind a batch norm are normal: at T = 1, P(x / tau >= threshold) = 1 - Phi(threshold tau).

    15.9 % for a product of 1, 2.3 % for the published 2; more steps change that by less than a sixth for 1, and by
    less than 70 % for 2.
    """
    torch.manual_seed(0)
    first = 0.5 * math.erfc(gain / math.sqrt(2))
    for steps, share in ((1, 0.02), (4, 1 / 6 if gain == 1 else 0.7)):
        currents_T = torch.randn(steps, 200_000)
        rate = spiking.lif(currents_T, tau, gain / tau, "sigmoid").mean().item()
        assert rate == pytest.approx(first, rel=share)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tau", [2.0, 1.37])
def test_an_exported_layer_fires_the_same_spikes(kind: str, tau: float) -> None:
    """Bit for bit, at the threshold too, for another batch than the one it was traced with."""
    layer = layer_of(kind, tau=tau, threshold=0.5)
    batch = {1: torch.export.Dim("batch")}
    with torch.no_grad():
        exported = torch.export.export(layer, (random(4, 2, 3),), dynamic_shapes=(batch,)).module()
        for x_T in (random(4, 50, 3, seed=1), (8 * random(4, 50, 3, seed=2)).round() / 4):
            expected_T = _spikingjelly(layer, x_T)
            assert 0.05 < expected_T.mean() < 0.95
            assert torch.equal(exported(x_T), expected_T)


def _spikingjelly(layer: Neuron, x_T: Tensor) -> Tensor:
    spiking.use("spikingjelly")
    spikes_T: Tensor = layer(x_T)
    spiking.use("auto")
    return spikes_T
