"""Find the companion, tell XLA of its handlers, and call them."""

import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax

INTERFACE = 3  # of the handlers; another number is another companion than this code knows
SWITCH = "DELTARULE_NATIVE"  # "0" in the environment turns the companion off


def is_there() -> bool:
    """Whether the companion can be used: installed, loadable, of this version, not turned off."""
    return os.environ.get(SWITCH, "1") != "0" and not _register()


def has_bfloat16() -> bool:
    """Whether the companion is there, and has kernels for bfloat16 on this processor."""
    if not is_there():
        return False
    import deltarule_native

    return bool(deltarule_native.has_bfloat16())


def describe() -> str:
    """Return a sentence on the companion: what it is made of, or why it is not in use."""
    if os.environ.get(SWITCH, "1") == "0":
        return f"not in use: {SWITCH} is 0"
    if reason := _register():
        return f"not in use: {reason}"
    import deltarule_native

    return f"deltarule-native, {deltarule_native.describe()}"


@cache
def _register() -> str:
    """Tell XLA of the handlers, once; return why that cannot be done, or ""."""
    try:
        import deltarule_native
    except ImportError as error:
        if error.name in ("deltarule_native", None):
            return "deltarule-native is not installed"
        return f"it cannot be imported here ({error})"
    theirs = getattr(deltarule_native, "INTERFACE", None)  # none where only a folder was left
    if theirs != INTERFACE:
        return (
            f"the installed deltarule-native has interface {theirs}, this "
            f"deltarule needs {INTERFACE}; install the two of one version"
        )
    try:
        for name, function in deltarule_native.handlers().items():
            capsule = jax.ffi.pycapsule(function)  # type: ignore[no-untyped-call]
            jax.ffi.register_ffi_target(name, capsule, platform="cpu")
    except (OSError, AttributeError, RuntimeError) as error:  # no such file, name, or version
        return f"its library cannot be loaded here ({error})"
    return ""


def array(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return what stands for a result of a handler."""
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]


def call(name: str, results: Any, *arrays: jax.Array, **attributes: Any) -> Any:
    """Return what the handler ``name`` makes of ``arrays``: arrays like ``results``.

    ``results`` is a ``jax.ShapeDtypeStruct`` or a sequence of them; ``attributes`` are NumPy
    numbers and arrays, strings and booleans, static. Shapes are checked again by the handler.
    """
    _register()
    many = isinstance(results, Sequence)
    shapes = tuple(results) if many else results
    return jax.ffi.ffi_call(name, shapes, vmap_method="sequential")(*arrays, **attributes)
