"""libplumb through ctypes: finding it, its structs, its faults.

Structs and constants are built from the tables that the library itself exports (plumb/layout.h), so
they cannot differ from the headers it was compiled with.
"""

import ctypes
import os
import sys

ABI = 1  # of libplumb.so.<n>; PLUMB_ABI in base.h


class Error(RuntimeError):
    """A status of the library and its text."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class ArgumentError(Error, ValueError):
    """PLUMB_EINVAL: the text names the argument."""


class NotSupported(Error, NotImplementedError):
    """PLUMB_ENOTSUP: no backend, or one without this op."""


class OutOfMemory(Error, MemoryError):
    """PLUMB_EMEM"""


def _places():
    chosen = os.environ.get("PLUMB_LIBRARY")
    if chosen:
        return [chosen]
    name = f"libplumb.so.{ABI}"
    here = os.path.dirname(os.path.abspath(__file__))
    return [os.path.join(here, name), name, os.path.join(sys.prefix, "lib", name), f"/usr/local/lib/{name}"]


def _open():
    faults = []
    for place in _places():
        try:
            return ctypes.CDLL(place)
        except OSError as fault:
            faults.append(str(fault))
    raise ImportError(
        "cannot load libplumb (make install, or set PLUMB_LIBRARY to the file): " + "; ".join(faults)
    )


# torch brings an OpenMP runtime of the same name: loaded first, both use one set of threads.
import torch  # noqa: E402

lib = _open()
if lib.plumb_abi_version() != ABI:
    raise ImportError(f"libplumb has ABI {lib.plumb_abi_version()}, this package is for {ABI}")
lib.plumb_version.restype = lib.plumb_errmsg.restype = ctypes.c_char_p
lib.plumb_dtype_name.restype = ctypes.c_char_p
version = lib.plumb_version().decode()


class _Field(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("offset", ctypes.c_size_t), ("bytes", ctypes.c_size_t),
        ("kind", ctypes.c_char), ("of", ctypes.c_char_p),
    ]


class _Layout(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("bytes", ctypes.c_size_t), ("fields", ctypes.POINTER(_Field)),
        ("field_count", ctypes.c_int64),
    ]


class _Constant(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_int64)]


def _table(function, of):
    count = ctypes.c_int64()
    function.restype = ctypes.POINTER(of)
    rows = function(ctypes.byref(count))
    return [rows[i] for i in range(count.value)]


constants = {c.name.decode(): c.value for c in _table(lib.plumb_constants, _Constant)}
_CTYPES = {
    b"b": ctypes.c_bool, b"i": ctypes.c_int32, b"l": ctypes.c_int64, b"u": ctypes.c_size_t,
    b"d": ctypes.c_double, b"p": ctypes.c_void_p,
}


def _type_of(field):
    if field.kind in _CTYPES:
        return _CTYPES[field.kind]
    if field.kind == b"t":
        return _struct("plumb_tensor")
    if field.of.decode() in _layouts:
        return _struct(field.of.decode())
    return ctypes.c_char * field.bytes


def _build(layout):
    """The ctypes struct of one layout; `kinds` says what each field is."""
    fields, kinds = [], {}
    for field in layout.fields[: layout.field_count]:
        kinds[field.name.decode()] = field.kind.decode()
        fields.append((field.name.decode(), _type_of(field)))
    made = type(layout.name.decode(), (ctypes.Structure,), {"_fields_": fields, "kinds": kinds})
    for field in layout.fields[: layout.field_count]:
        if getattr(made, field.name.decode()).offset != field.offset:
            raise ImportError(f"libplumb: {made.__name__}.{field.name.decode()} lies elsewhere")
    if ctypes.sizeof(made) != layout.bytes:
        raise ImportError(f"libplumb: {made.__name__} has {layout.bytes} bytes")
    return made


def _struct(name):
    if name not in structs:
        structs[name] = _build(_layouts[name])
    return structs[name]


_layouts = {layout.name.decode(): layout for layout in _table(lib.plumb_layouts, _Layout)}
structs = {}
for _name in _layouts:
    _struct(_name)
Tensor = structs["plumb_tensor"]

Epilogue = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def check(status):
    """Raises what a status other than PLUMB_OK stands for."""
    if status == 0:
        return
    text = lib.plumb_errmsg().decode(errors="replace")
    kinds = {
        constants["PLUMB_EINVAL"]: ArgumentError, constants["PLUMB_ENOTSUP"]: NotSupported,
        constants["PLUMB_EMEM"]: OutOfMemory,
    }
    raise kinds.get(status, Error)(status, text)


def call(name, device, args):
    """Runs plumb_<name>(device, args)."""
    check(getattr(lib, "plumb_" + name)(ctypes.c_void_p(device), ctypes.byref(args)))


def workspace(name, device, args):
    """Bytes of scratch by plumb_<name>_workspace."""
    function = getattr(lib, f"plumb_{name}_workspace")
    function.restype = ctypes.c_size_t
    return function(ctypes.c_void_p(device), ctypes.byref(args))


def find(family, name):
    """The id of a formula of a family, by the name that `plumb losses` lists."""
    of = getattr(lib, f"plumb_{family}_find")(str(name).encode())
    if of < 0:
        raise ValueError(f"{family}: there is no loss {name!r}; there are {', '.join(names(family))}")
    return of


def names(family):
    """The formulas of a family."""
    function = getattr(lib, f"plumb_{family}_name")
    function.restype = ctypes.c_char_p
    found = [function(i) for i in range(256)]
    return [name.decode() for name in found if name]


_dtype_of_name = {lib.plumb_dtype_name(i).decode(): i for i in range(constants["PLUMB_DTYPES"])}
dtypes = {
    getattr(torch, name): number for name, number in _dtype_of_name.items() if hasattr(torch, name)
}
