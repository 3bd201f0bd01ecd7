"""Between torch and the library: devices, tensors, index arrays, scratch."""

import ctypes
from collections import OrderedDict

import torch

from . import _library
from ._library import Tensor, lib, structs

_cpu = ctypes.addressof(ctypes.c_char.in_dll(lib, "plumb_cpu"))
_adopted = OrderedDict()  # (GPU, stream): a device that queues where torch does
_MOST_ADOPTED = 8
forced = None  # a device of the library for cpu tensors, in tests
lib.plumb_device_delete.argtypes = [ctypes.c_void_p]


def device_for(where):
    """The library's device of a torch device: on a GPU, one on torch's current stream."""
    if where.type == "cpu":
        return forced or _cpu
    if where.type != "cuda":
        raise TypeError(f"plumb runs on cpu and cuda tensors, not on {where}")
    index = torch.cuda.current_device() if where.index is None else where.index
    stream = torch.cuda.current_stream(index).cuda_stream
    key = (index, stream)
    if key not in _adopted:
        made = ctypes.c_void_p()
        name = f"cuda:{index}".encode()
        _library.check(lib.plumb_device_adopt(name, ctypes.c_void_p(stream), ctypes.byref(made)))
        _adopted[key] = made.value
        if len(_adopted) > _MOST_ADOPTED:
            lib.plumb_device_delete(_adopted.popitem(last=False)[1])
    _adopted.move_to_end(key)
    return _adopted[key]


def torch_tensor(x, name):
    """A tensor of torch; arrays of others come over by DLPack, without a copy."""
    if isinstance(x, torch.Tensor):
        return x
    if hasattr(x, "__dlpack__"):
        return torch.from_dlpack(x)
    raise TypeError(f"{name} is a {type(x).__name__}, not a tensor")


def same_device(op, **tensors):
    """The one device that all of them lie on."""
    first, where = None, None
    for name, t in tensors.items():
        if t is None:
            continue
        if first is None:
            first, where = name, t.device
        elif t.device != where:
            raise ValueError(f"{op}: {name} is on {t.device}, {first} on {where}")
    return where


def floats(op, name, x, count=None):
    """Detached, dense, float32; of `count` elements."""
    if x is None:
        return None
    x = torch_tensor(x, name).detach()
    if not x.is_floating_point():
        raise TypeError(f"{op}: {name} is {x.dtype}, not floating point")
    if count is not None and x.numel() != count:
        raise ValueError(f"{op}: {name} has {x.numel()} elements, not {count}")
    return x.to(torch.float32).contiguous().view(-1)


def indices(op, name, x, where, count=None):
    """Integers as int32 on a device."""
    if x is None:
        return None
    x = torch.as_tensor(x, device=where)
    if x.is_floating_point():
        raise TypeError(f"{op}: {name} is {x.dtype}, not an integer type")
    if count is not None and x.numel() != count:
        raise ValueError(f"{op}: {name} has {x.numel()} elements, not {count}")
    return x.detach().to(torch.int32).contiguous().view(-1)


class Runs:
    """Offsets of runs, on the host as a list and where the tensors are."""

    def __init__(self, op, name, offset, where, of=None):
        self.host = [int(i) for i in (offset.tolist() if isinstance(offset, torch.Tensor) else offset)]
        if len(self.host) < 1 or self.host[0] != 0:
            raise ValueError(f"{op}: {name} starts with 0")
        if any(b < a for a, b in zip(self.host, self.host[1:])):
            raise ValueError(f"{op}: {name} is not in order")
        if of is not None and self.host[-1] != of:
            raise ValueError(f"{op}: {name} ends at {self.host[-1]}, there are {of}")
        self.count = len(self.host) - 1
        self.there = torch.tensor(self.host, dtype=torch.int32, device=where)

    def spread(self, per_run, each=1):
        """One value of every `each` runs for each of their elements."""
        bounds = self.host[::each]
        lengths = torch.tensor([b - a for a, b in zip(bounds, bounds[1:])], device=per_run.device)
        return torch.repeat_interleave(per_run, lengths, output_size=self.host[-1])


def empty(where, count, dtype=torch.float32):
    return torch.empty(count, dtype=dtype, device=where)


def scratch(op, device, args, where):
    """Gives a struct its `work`; what is returned has to live until the call is over."""
    work = torch.empty(_library.workspace(op, device, args), dtype=torch.uint8, device=where)
    args.work.data = work.data_ptr()
    return work


def fill(args, **fields):
    """Sets fields of a struct: tensors by what the field is, numbers as they are, None = absent."""
    for name, value in fields.items():
        if value is None:
            continue
        kind = args.kinds[name]
        if kind == "t":
            setattr(args, name, Tensor(value.data_ptr() or None, _library.dtypes[value.dtype]))
        elif isinstance(value, torch.Tensor):
            setattr(args, name, value.data_ptr() or None)
        else:
            setattr(args, name, value)
    return args


def struct(name, **fields):
    """A contract's struct of this library's size."""
    of = structs["plumb_" + name]
    args = of()
    if "struct_bytes" in of.kinds:
        args.struct_bytes = ctypes.sizeof(of)
    return fill(args, **fields)


def host_ints(values):
    """An int32 array of the host."""
    return (ctypes.c_int32 * max(1, len(values)))(*values)
