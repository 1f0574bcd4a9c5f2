"""Spiking attention: queries, keys and values are spikes, and there is no softmax.

One class, four algebras. Shapes: T time steps, B batch, C channels = A heads x K channels a head,
N tokens = H x W.
"""

from torch import Tensor, nn

from spikformer.config import AttentionConfig, NeuronConfig, Residual
from spikformer.layers import ConvBN, Operands, Unit, stream_operand
from spikformer.neurons import neuron


class SpikingAttention(nn.Module):
    """Attention of one block: [T, B, C, H, W] -> [T, B, C, H, W], to be added to its input.

    * ssa: neuron(scale * q k^T v), or neuron(scale * q k^T) v (Zhou et al., Spikformer, ICLR 2023, eq. 8)
    * sdsa: q, masked by neuron(sum over tokens of k * v) (Yao et al., Spike-driven Transformer, NeurIPS 2023)
    * qkta: k, masked by neuron(sum over a head's channels of q) (Zhou et al., QKFormer, NeurIPS 2024)
    * qkca: k, masked by neuron(sum over tokens of q) (the same)
    """

    def __init__(self, dim: int, config: AttentionConfig, neurons: NeuronConfig, residual: Residual) -> None:
        super().__init__()
        self.kind, self.num_heads, self.scale = config.kind, config.num_heads, config.scale
        self.neuron_on_map = config.kind == "ssa" and config.neuron_on == "map"
        self.operands: Operands = _OPERANDS["ssa_map" if self.neuron_on_map else config.kind]

        def spiking_projection() -> Unit:  # its neuron follows it in both residuals: the algebra needs spikes
            conv = ConvBN(dim, dim, bias=config.qkv_bias, fed=stream_operand(residual))
            return Unit(conv, neurons, "sew")

        self.input_neuron = neuron(neurons) if residual == "ms" else nn.Identity()
        self.query = spiking_projection()
        self.key = spiking_projection()
        if config.kind in ("ssa", "sdsa"):
            self.value = spiking_projection()
        self.attention_neuron = neuron(neurons, config.threshold)
        self.proj = ConvBN(dim, dim, bias=config.proj_bias, fed="count" if self.neuron_on_map else "binary")
        self.output_neuron = neuron(neurons) if residual == "sew" else nn.Identity()

    def forward(self, x_TBCHW: Tensor) -> Tensor:
        spikes_TBCHW = self.input_neuron(x_TBCHW)
        q_TBAKN = self._split_heads(self.query(spikes_TBCHW))
        k_TBAKN = self._split_heads(self.key(spikes_TBCHW))
        if self.kind == "qkta":
            context_TBAKN = self.attention_neuron(q_TBAKN.sum(-2, keepdim=True)) * k_TBAKN
        elif self.kind == "qkca":
            context_TBAKN = self.attention_neuron(q_TBAKN.sum(-1, keepdim=True)) * k_TBAKN
        else:
            v_TBAKN = self._split_heads(self.value(spikes_TBCHW))
            attend = self._sdsa if self.kind == "sdsa" else self._ssa
            context_TBAKN = attend(q_TBAKN, k_TBAKN, v_TBAKN)
        context_TBCHW = context_TBAKN.flatten(2, 3).unflatten(-1, x_TBCHW.shape[-2:])
        mixed_TBCHW: Tensor = self.output_neuron(self.proj(context_TBCHW))
        return mixed_TBCHW

    def _ssa(self, q_TBAKN: Tensor, k_TBAKN: Tensor, v_TBAKN: Tensor) -> Tensor:
        if self.neuron_on_map:
            map_TBANN: Tensor = self.attention_neuron(self.scale * (k_TBAKN.mT @ q_TBAKN))  # keys x queries
            return v_TBAKN @ map_TBANN
        channels, tokens = q_TBAKN.shape[-2:]
        # No softmax, so (q k^T) v = q (k^T v), exactly, on whole numbers: take the cheaper order.
        if channels <= tokens:
            context_TBAKN = (q_TBAKN.mT @ (k_TBAKN @ v_TBAKN.mT)).mT
        else:
            context_TBAKN = v_TBAKN @ (k_TBAKN.mT @ q_TBAKN)
        return self.attention_neuron(self.scale * context_TBAKN)  # type: ignore[no-any-return]

    def _sdsa(self, q_TBAKN: Tensor, k_TBAKN: Tensor, v_TBAKN: Tensor) -> Tensor:
        return self.attention_neuron((k_TBAKN * v_TBAKN).sum(-1, keepdim=True)) * q_TBAKN  # type: ignore[no-any-return]

    def _split_heads(self, x_TBCHW: Tensor) -> Tensor:
        heads_TBAKN: Tensor = x_TBCHW.flatten(-2).unflatten(2, (self.num_heads, -1))
        return heads_TBAKN


# What the products and sums above are fed, in the order in which they run.
_OPERANDS: dict[str, Operands] = {
    "ssa": (("binary", "binary"), ("binary", "count")),
    "ssa_map": (("binary", "binary"), ("binary", "binary")),
    "sdsa": (("binary",),),
    "qkta": (("binary",),),
    "qkca": (("binary",),),
}
