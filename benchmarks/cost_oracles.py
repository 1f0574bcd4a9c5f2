"""What other programs say of small networks: numbers to which `tests/costs` holds the models of memory and of chips.

    python -m venv oracles && oracles/bin/pip install qualia-plugin-snn[codegen] sanafe neurobench spikingjelly
    oracles/bin/python benchmarks/cost_oracles.py lemaire tests/data/cost_oracles/lemaire.json
    oracles/bin/python benchmarks/cost_oracles.py step tests/data/cost_oracles/step.json
    oracles/bin/python benchmarks/cost_oracles.py neurobench tests/data/cost_oracles/neurobench.json
    oracles/bin/python benchmarks/cost_oracles.py loihi tests/data/cost_oracles/loihi.json

The programs are under licences of their own (AGPL and GPL) and lie in an environment of their own: nothing of them is
part of this project, which keeps only what they print. This script runs there, so it imports nothing of the project.
"""

import argparse
import importlib
import importlib.metadata
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

IMAGES = 3


def lemaire() -> dict[str, Any]:
    """Terms of qualia-plugin-snn's `EnergyEstimationMetric`, in picojoules an image, by layer."""
    name = "qualia_plugin_snn.postprocessing.EnergyEstimationMetric"
    metric_of = importlib.import_module(name).EnergyEstimationMetric
    cases = [_case("convolutions", 4, _convolutions), _case("linear", 3, _linear)]
    for case in cases:
        for model, sram in (("lemaire2022", "old"), ("lemaire_64bit", "new")):
            metric = metric_of(mem_width=32, fifo_size=1000, sram_estimation_type=sram)
            case[model] = _terms_of(metric, case)
            case[f"{model} dense"] = _dense_terms_of(metric, case)
    return {"qualia-plugin-snn": importlib.metadata.version("qualia-plugin-snn"), "images": IMAGES, "cases": cases}


def step() -> dict[str, Any]:
    """Bytes and picojoules of SpikingJelly's simple energy model, over all images."""
    counter = importlib.import_module("spikingjelly.activation_based.op_counter")
    cases = [_case("convolutions", 4, _convolutions), _case("linear", 3, _linear)]
    for case in cases:
        report = counter.estimate_simple_energy(case.pop("model"), case.pop("fed"))
        case["bytes"] = {name: n for name, n in report.counts.items() if name.endswith("bytes")}
        case["memory_pj"] = report.energy_memory_pj
    return {"spikingjelly": importlib.metadata.version("spikingjelly"), "images": IMAGES, "cases": cases}


def neurobench() -> dict[str, Any]:
    """Operations of NeuroBench's `SynapticOperations`, over all images, by layer; an image is shown once."""
    macs_of = importlib.import_module("neurobench.metrics.utils.layers").single_layer_MACs
    cases = [_case("convolutions", 4, _convolutions), _case("linear", 3, _linear)]
    for case in cases:
        x = case["fed"]
        for part in case["model"]:
            if hasattr(part, "weight"):
                layer = next(each for each in case["layers"] if "counted" not in each)
                part.step_mode = "s"
                shown = (x if layer["binary"] else x[:1]).flatten(0, 1)
                met, is_spiking = macs_of(shown, part)
                layer["counted"] = {"met": int(met), "all": int(macs_of(shown, part, total=True)[0])}
                layer["counted"]["spiking"] = is_spiking
                part.step_mode = "m"
            x = part(x)
    return {"neurobench": importlib.metadata.version("neurobench"), "images": IMAGES, "cases": cases}


def loihi() -> dict[str, Any]:
    """Energy and time of SANA-FE's Loihi, of one layer behind inputs that cost nothing."""
    numpy = importlib.import_module("numpy")
    dense = [(64, 64, 1.1, 1, 1e9), (256, 512, 0.5, 1, 1e9), (300, 1000, 0.1, 1, 1e9), (900, 100, 0.3, 1, 1.0)]
    convolutions = [((8, 8, 4, 3, 8, 1), 0.5, 1), ((16, 16, 4, 3, 16, 2), 0.3, 1), ((12, 12, 7, 5, 9, 1), 0.2, 1)]
    several = [(512, 2048, 0.1, 2, 1e9), (512, 3072, 0.1, 3, 1e9), (512, 4096, 0.1, 4, 1e9)]
    cases = [_on_loihi(numpy, {"inputs": [n], "outputs": [m]}, *rest) for n, m, *rest in (*dense, *several)]
    for (width, height, inputs, kernel, outputs, stride), rate, cores in convolutions:
        places = [(size - kernel) // stride + 1 for size in (width, height)]
        shape = {"inputs": [inputs, width, height], "outputs": [outputs, *places]}
        kernels = {"kernel": [kernel, kernel], "stride": [stride, stride]}
        cases.append(_on_loihi(numpy, shape | kernels, rate, cores, 1e9))
    return {"sanafe": importlib.metadata.version("sanafe"), "images": 1, "cases": cases}


def _on_loihi(numpy: Any, layer: dict[str, Any], rate: float, cores: int, threshold: float) -> dict[str, Any]:
    """One layer on so many cores, for 20 steps of random spikes."""
    program, layers = importlib.import_module("sanafe"), importlib.import_module("sanafe.layers")
    steps, chip = 20, program.load_loihi()
    network = program.Network()
    inputs, outputs = math.prod(layer["inputs"]), math.prod(layer["outputs"])
    if "kernel" in layer:
        channels, width, height = layer["inputs"]
        source = layers.Input2D(network, width, height, channels)
        weights = numpy.ones((*layer["kernel"], channels, layer["outputs"][0]))
        stride = layer["stride"]
        fed = layers.Conv2D(
            network, source, weights, stride_width=stride[0], stride_height=stride[1], threshold=threshold
        )
        synapse = "loihi_conv_synapse"
    else:
        source = layers.Input2D(network, inputs, 1, 1)
        fed = layers.Dense(network, source, outputs, numpy.ones((inputs, outputs)), threshold=threshold)
        synapse = "loihi_dense_synapse"
    spikes = numpy.random.default_rng(0).random((steps, inputs)) < rate
    places = chip.cores()
    for i, neuron in enumerate(source):
        neuron.set_attributes(
            soma_hw_name=f"loihi_inputs[{i % 1024}]", model_attributes={"spikes": [int(each) for each in spikes[:, i]]}
        )
        neuron.map_to_core(places[0])
    for i, neuron in enumerate(fed):
        neuron.set_attributes(soma_hw_name="loihi_lif", default_synapse_hw_name=synapse)
        neuron.map_to_core(places[1 + i * cores // outputs])
    simulated = program.SpikingChip(chip)
    simulated.load(network)
    told = simulated.sim(steps, timing_model="detailed")
    taps = math.prod(layer.get("kernel", [1])) * layer["inputs"][0]
    sent = int(spikes.sum())
    return {
        "name": f"{'convolution' if 'kernel' in layer else 'dense'} {inputs} to {outputs} on {cores}",
        "time_steps": steps,
        "cores": cores,
        "layers": [
            layer
            | {
                "bias": False,
                "binary": True,
                "values": steps * inputs,
                "nonzero_values": sent,
                "nonzero": told["spikes"],
                "valid": steps * outputs * taps,
                "dense": steps * outputs * taps,
                "sent": told["neurons_fired"] - sent,
            }
        ],
        "energy_j": told["energy"],
        "seconds": told["sim_time"],
    }


def _convolutions(torch: Any, modules: Any, neurons: Any) -> tuple[Any, Any]:
    """Real images; strides; a layer with biases and one without; a linear layer on spikes."""
    layers = [
        (modules.Conv2d(2, 6, 3, padding=1, bias=True, step_mode="m"), neurons.IFNode(0.3, step_mode="m")),
        (modules.Conv2d(6, 8, 3, stride=2, padding=1, bias=False, step_mode="m"), neurons.IFNode(0.3, step_mode="m")),
    ]
    head = [
        modules.Flatten(step_mode="m"),
        modules.Linear(8 * 4 * 4, 10, step_mode="m"),
        neurons.IFNode(0.3, step_mode="m"),
    ]
    image = torch.randn(IMAGES, 2, 8, 8).clamp(min=0)  # half of it zeros
    return torch.nn.Sequential(*(part for pair in layers for part in pair), *head), image.expand(4, *image.shape)


def _linear(torch: Any, modules: Any, neurons: Any) -> tuple[Any, Any]:
    """Spikes from the beginning."""
    parts = [
        modules.Linear(20, 16, step_mode="m"),
        neurons.IFNode(0.3, step_mode="m"),
        modules.Linear(16, 5, bias=False, step_mode="m"),
        neurons.IFNode(0.3, step_mode="m"),
    ]
    return torch.nn.Sequential(*parts), (torch.rand(3, IMAGES, 20) < 0.3).float()


def _case(name: str, time_steps: int, build: Any) -> dict[str, Any]:
    """A network run once: shapes of its layers, and whole numbers over all images and time steps."""
    torch = importlib.import_module("torch")
    modules = importlib.import_module("spikingjelly.activation_based.layer")
    neurons = importlib.import_module("spikingjelly.activation_based.neuron")
    functional = importlib.import_module("spikingjelly.activation_based.functional")
    torch.manual_seed(0)
    model, fed = build(torch, modules, neurons)
    layers: list[dict[str, Any]] = []
    x = fed
    with torch.no_grad():
        for part in model:
            if hasattr(part, "weight"):
                layers.append(_layer(torch, part, x))
            x = part(x)
            if layers and "outputs" not in layers[-1]:
                layers[-1]["outputs"] = list(x.shape[2:])
            elif isinstance(part, neurons.BaseNode):
                layers[-1]["sent"] = int(x.sum())
    functional.reset_net(model)
    return {"name": name, "time_steps": time_steps, "layers": layers, "model": model, "fed": fed}


def _layer(torch: Any, part: Any, x: Any) -> dict[str, Any]:
    """What a layer is fed: of an image that is shown at every step, one step."""
    binary = bool(((x == 0) | (x == 1)).all())
    counted = x if binary else x[:1]
    mask, weight = (counted != 0).double().flatten(0, 1), torch.ones_like(part.weight).double()
    functional = torch.nn.functional
    if "kernel_size" in part.__constants__ or hasattr(part, "kernel_size"):
        met = functional.conv2d(mask, weight, None, part.stride, part.padding)
        valid = functional.conv2d(torch.ones_like(mask), weight, None, part.stride, part.padding)
        shape = {"kernel": list(part.kernel_size), "stride": list(part.stride)}
    else:
        met, valid, shape = mask @ weight.T, torch.ones_like(mask) @ weight.T, {}
    return {
        "inputs": list(x.shape[2:]),
        **shape,
        "bias": part.bias is not None,
        "binary": binary,
        "values": counted.numel(),
        "nonzero_values": int((counted != 0).sum()),
        "nonzero": int(met.sum()),
        "valid": int(valid.sum()),
        "dense": met.numel() * part.weight[0].numel(),
    }


def _terms_of(metric: Any, case: dict[str, Any]) -> list[dict[str, float]]:
    """By layer, of a spiking network."""
    graph, names, steps = _graph(case)
    numbers = IMAGES * steps
    rates, sent = {}, {}
    for name, layer in zip(names, case["layers"], strict=True):
        shown = 1 if layer["binary"] else steps
        rates[name] = layer["nonzero_values"] * shown / numbers / math.prod(layer["inputs"])
        sent[name] = layer["sent"] / numbers / math.prod(layer["outputs"])
    every = [node.layer.name for node in graph.nodes]
    binary = dict.fromkeys(every, True) | {n: each["binary"] for n, each in zip(names, case["layers"], strict=True)}
    spiking, none = dict.fromkeys(every, True), dict.fromkeys([*every, "__TOTAL__"], 0)
    rates["__TOTAL__"] = sent["__TOTAL__"] = 0
    access = _access(metric)
    rows = metric._compute_model_energy_snn(graph, rates, sent, binary, binary, none, none, spiking, steps, *access)
    return [_plain(row) for row in rows[:-1]]


def _dense_terms_of(metric: Any, case: dict[str, Any]) -> list[dict[str, float]]:
    """By layer, of a network of the same layers without time."""
    graph, _, _ = _graph(case)
    return [_plain(row) for row in metric._compute_model_energy_fnn(graph, *_access(metric))[: len(case["layers"])]]


def _access(metric: Any) -> list[Any]:
    return [lambda size: metric._e_ram(size, 32)] * 2


def _plain(row: Any) -> dict[str, float]:
    return {name: float(getattr(row, name)) for name in ("mem_pot", "mem_weights", "mem_bias", "mem_io", "ops", "addr")}


def _graph(case: dict[str, Any]) -> tuple[Any, list[str], int]:
    """The layers as qualia-codegen describes them, channels last, each with a neuron behind it."""
    layers = importlib.import_module("qualia_codegen_core.graph.layers")
    fires = importlib.import_module("qualia_codegen_plugin_snn.graph.layers").TIfLayer
    numpy = importlib.import_module("numpy")
    nodes, names = [], []
    for i, layer in enumerate(case["layers"]):
        shapes = [((1, *sizes[1:], sizes[0]),) for sizes in (layer["inputs"], layer["outputs"])]
        outputs, fan_in = layer["outputs"][0], layer["inputs"][0] * math.prod(layer.get("kernel", [1]))
        common = (*shapes, None, f"layer{i}", None, numpy.zeros((outputs, fan_in)))
        bias = (layer["bias"], numpy.zeros(outputs))
        if "kernel" in layer:
            described = layers.TConvLayer(*common, tuple(layer["kernel"]), tuple(layer["stride"]), outputs, *bias, 1)
        else:
            described = layers.TDenseLayer(*common, outputs, *bias)
        neuron = SimpleNamespace(layer=fires(shapes[1], shapes[1], None, f"if{i}", 1.0, None, True), outnodes=[])
        node = SimpleNamespace(layer=described, innodes=[], outnodes=[neuron])
        neuron.innodes = [node]
        nodes += [node, neuron]
        names.append(f"layer{i}")
    return SimpleNamespace(nodes=nodes), names, case["time_steps"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    oracles = {"lemaire": lemaire, "step": step, "neurobench": neurobench, "loihi": loihi}
    parser.add_argument("oracle", choices=oracles)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    facts = oracles[arguments.oracle]()
    for case in facts["cases"]:
        for name in ("model", "fed"):
            case.pop(name, None)
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
