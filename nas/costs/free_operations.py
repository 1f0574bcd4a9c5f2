"""What a network may do with activations without a price: move, compare and select them, and scale them by constants.

Everything else multiplies or adds, and is declared (`spikformer.operands`) or refused. The list names what is free, so
that an operation which nobody thought of is refused.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import DisableTorchFunction
from torch._ops import OpOverloadPacket
from torch.overrides import TorchFunctionMode

Packet = OpOverloadPacket[..., object]
"""An operation of ATen, whatever the types of its arguments."""
Arguments = tuple[Any, ...]
"""Positional ones of an operation, of the types that its schema gives them: torch has held them to it."""

_MOVES = """
    alias as_strided cat channel_shuffle clone concat constant_pad_nd contiguous copy detach diagonal expand
    expand_as flatten flip gather im2col index index_put index_select movedim narrow pad permute pixel_shuffle
    pixel_unshuffle reflection_pad1d reflection_pad2d repeat repeat_interleave replication_pad1d
    replication_pad2d reshape resolve_conj resolve_neg roll rot90 select slice split split_with_sizes squeeze
    stack t take tensor_split tile to transpose tril triu unbind unflatten unfold unsafe_split unsafe_view
    unsqueeze view view_as reshape_alias to_copy chunk
"""
_COMPARES = """
    abs adaptive_max_pool2d all amax amin aminmax any argmax argmin argsort bitwise_and bitwise_not bitwise_or
    bitwise_xor ceil clamp clamp_max clamp_min eq floor ge gt hardtanh isfinite isinf isnan kthvalue le
    logical_and logical_not logical_or logical_xor lt max max_pool2d_with_indices maximum median min minimum ne
    neg relu round sign signbit sort threshold topk trunc
"""
_SELECTS = "where masked_fill fill zero"
_COMPARED = frozenset((_COMPARES + _SELECTS).split()) - {"neg", "fill", "zero", "isnan", "isinf", "isfinite"}
_SORTS = frozenset("argsort kthvalue median sort topk".split())
_COMBINES = frozenset("index_put masked_fill masked_scatter maximum minimum where".split())
_REDUCES = frozenset(
    """adaptive_max_pool2d amax amin aminmax argmax argmin argsort kthvalue max_pool2d_with_indices median sort
    topk""".split()
)
_POSITIONS = frozenset("adaptive_max_pool2d argmax argmin argsort kthvalue max median min nonzero sort topk".split())
_FREE = frozenset((_MOVES + _COMPARES + _SELECTS).split())
# Their values are constants, whatever they are made like; a fresh tensor holds numbers that stand in the code.
_MAKERS = frozenset(
    """zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_empty_strided
    lift_fresh""".split()
)
_SCALES = frozenset(
    "mul div add sub rsub".split()
)  # of an activation and a constant: part of the weights behind or before
_SIZED = frozenset("masked_select nonzero unique unique2 unique_consecutive unique_dim".split())
_LOOKUPS = frozenset("index index_select gather take".split())
_BATCH_NORMS = frozenset("native_batch_norm cudnn_batch_norm miopen_batch_norm native_batch_norm_legit".split())
_FIXED_NORMS = frozenset("native_batch_norm_legit_no_training batch_norm_no_update".split())
_SHAPES = frozenset("device sym_size sym_stride sym_numel sym_storage_offset is_same_size size stride numel".split())
COUNTERLESS = (
    "multiplies or adds activations, or may, and has no counting rule. Use operations of nas/costs/free_operations.py, "
    "or a product or sum declared in `operands`"
)


def name_of(packet: Packet) -> str:
    """Of an operation of ATen, without the mark of one in place; "" of other libraries."""
    if id(packet) not in _NAMES:  # by identity: packets live for ever, and their text is slow
        library, _, name = str(packet).partition(".")
        _NAMES[id(packet)] = name.lstrip("_").removesuffix("_") if library in ("aten", "prim") else ""
    return _NAMES[id(packet)]


_NAMES: dict[int, str] = {}


def reason_against(
    packet: Packet, args: Arguments, kwargs: Mapping[str, object], out: object, constants: "Constants"
) -> str:
    """Why an operation that no rule counts is not free; "" where it is.

    Args:
        constants: what depends on no image.
    """
    tensors = [arg for arg in tensors_in((args, kwargs)) if not constants.has(arg)]
    if not tensors:
        return ""
    name = name_of(packet)
    if name in _SCALES:
        return "" if len(tensors) == 1 and (name != "div" or constants.is_activation(args[0])) else COUNTERLESS
    if name in _BATCH_NORMS | _FIXED_NORMS:
        return _against_norm(name, args, constants)
    if name == "local_scalar_dense":
        return "reads a number out of an activation, so later operations on this number cannot be counted"
    if name in _SIZED or (name == "repeat_interleave" and len(tensors) > 1):
        return "gives a result whose size depends on the images, which counts"
    if name not in _FREE | _MAKERS | _SHAPES:
        return COUNTERLESS
    if name == "index_put" and ((len(args) > 3 and args[3]) or kwargs.get("accumulate")):
        return "adds activations where places repeat, and has no counting rule"
    if name in _LOOKUPS and not constants.is_activation(args[0]):
        return "looks up a table of constants by an activation, which computes any function of it"
    if name == "index" and any(x.dtype == torch.bool for x in tensors_in(args[1:])):
        return "gives a result whose size depends on the images, which counts"
    if name in _LOOKUPS and any(constants.is_code(x) for x in tensors_in(args[1:])):
        return "looks up by whole numbers that were computed, which computes any function of them"
    makes_numbers = any(x.is_floating_point() for x in tensors_in(out))
    if name not in _LOOKUPS and makes_numbers and any(map(constants.is_position, tensors)):
        return "makes numbers of positions, as of a rank, which counts"
    if name == "view" and isinstance(out, Tensor) and out.dtype != args[0].dtype:
        return "reinterprets the bits of an activation as another type"
    return ""


def comparisons_of(packet: Packet, args: Arguments, out: object) -> int:
    """How many numbers it compares or selects: each with one other; in sorting, with the logarithm of so many."""
    name = name_of(packet)
    if name not in _COMPARED or name == "max_pool2d_with_indices":  # which is tallied apart
        return 0
    sizes = [x.numel() for x in (*tensors_in(args), *tensors_in(out))]
    largest = max(sizes, default=0)
    return largest * math.ceil(math.log2(max(2, largest))) if name in _SORTS else largest


def chooses(packet: Packet, sources: int) -> bool:
    """Whether each result is chosen from several numbers, of so many activations, by what they are."""
    name = name_of(packet)
    return name in _REDUCES | _LOOKUPS or (sources > 1 and name in _COMBINES)


def is_scaling(packet: Packet) -> bool:
    """Whether it may multiply by constants."""
    name = name_of(packet)
    return name in ("mul", "div") or name in _BATCH_NORMS | _FIXED_NORMS


def _against_norm(name: str, args: Arguments, constants: "Constants") -> str:
    if any(map(constants.is_activation, args[1:5])):
        return "normalises with a mean, variance, weight or bias that depends on the images"
    if name in _BATCH_NORMS and args[5]:
        return "normalises activations by their own statistics"
    return ""


def tensors_in(values: object) -> Iterator[Tensor]:
    """Of arguments or results, however they are nested."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, dict):
        yield from tensors_in(list(values.values()))
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from tensors_in(value)


class Readers(TorchFunctionMode):
    """Calls `on_read` with each tensor whose numbers leave torch, where no operation on them is seen any more."""

    def __init__(self, on_read: Callable[[Callable[..., object], Tensor], None]) -> None:
        super().__init__()
        self._on_read = on_read

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: Arguments = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func in _READS:
            self._on_read(func, args[0])
        return func(*args, **(kwargs or {}))


_READS = frozenset(
    (
        Tensor.numpy,
        Tensor.tolist,
        Tensor.__array__,
        Tensor.data_ptr,
        Tensor.__dlpack__,
        Tensor.untyped_storage,
        Tensor.storage,
        Tensor.__repr__,
        Tensor.map_,
        Tensor.map2_,
        Tensor.apply_,
        Tensor.__reduce_ex__,
        torch.equal,
        Tensor.equal,
    )
)


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class Constants:
    """Memory whose contents depend on no image: weights, buffers, and what is computed from these alone.

    By the memory and not by the tensor, so that a view of what is written to later counts as written to. What is
    unknown is no constant.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {place(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
        # Held, so that their memory is not given to an activation while they are taken for constants.
        self._computed: dict[int, Tensor] = {}
        self._shown: set[int] = set()  # memory of activations whose origin is known
        self._positions: set[int] = set()  # memory of whole numbers that say where something was found

    def has(self, tensor: Tensor) -> bool:
        """Whether its contents depend on no image."""
        where = place(tensor)
        return where in self._weights or where in self._computed

    def is_activation(self, value: object) -> bool:
        """Whether it is a tensor, and none of these."""
        return isinstance(value, Tensor) and not self.has(value)

    def is_strange(self, tensor: Tensor) -> bool:
        """Whether it is no constant, and no operation that was seen made it."""
        return not self.has(tensor) and place(tensor) not in self._shown

    def is_position(self, tensor: Tensor) -> bool:
        """Whether it says where something was found among activations."""
        return tensor.dtype in _WHOLE and place(tensor) in self._positions

    def is_code(self, tensor: Tensor) -> bool:
        """Whether it holds whole numbers made of activations otherwise."""
        return tensor.dtype in _WHOLE and self.is_activation(tensor) and place(tensor) not in self._positions

    def note(self, packet: Packet, args: Arguments, kwargs: Mapping[str, object], out: object) -> None:
        """What an operation has made, or made of what it wrote to."""
        inputs = [tensor for tensor in tensors_in((args, kwargs)) if not self.has(tensor)]
        is_maker = name_of(packet) in _MAKERS
        constant = is_maker or not inputs
        for tensor in tensors_in(out):
            where = place(tensor)
            if constant:
                self._computed.setdefault(where, tensor)
            elif not is_maker:
                self._computed.pop(where, None)
                self._weights.pop(where, None)
                self._shown.add(where)
                self._positions.discard(where)
                if tensor.dtype in _WHOLE and (name_of(packet) in _POSITIONS or all(map(self.is_position, inputs))):
                    self._positions.add(where)

    def add(self, tensors: Iterable[Tensor]) -> None:
        """What is known from elsewhere to be constant."""
        self._computed |= {place(tensor): tensor for tensor in tensors}

    def show(self, tensors: Iterable[Tensor]) -> None:
        """Activations that come from elsewhere: the images, and what neurons return."""
        self._shown.update(map(place, tensors))

    def forget(self) -> None:
        """What was computed; weights stay."""
        self._computed.clear()
        self._shown.clear()
        self._positions.clear()


def place(tensor: Tensor) -> int:
    """Of its memory, which views share."""
    with DisableTorchFunction():  # this is no reading
        return int(tensor.untyped_storage()._cdata)


__all__ = [
    "Arguments",
    "Constants",
    "Packet",
    "Readers",
    "comparisons_of",
    "is_scaling",
    "name_of",
    "place",
    "reason_against",
    "tensors_in",
]
