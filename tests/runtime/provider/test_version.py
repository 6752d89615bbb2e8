"""An onnxruntime that is too old is told so, in Python and at load."""

from __future__ import annotations

import ctypes

import pytest

from nvmc.errors import ProviderError
from nvmc.runtime.provider import _shim, register_provider
from nvmc.runtime.provider.registration import check_version

LOWEST = _shim.LOWEST_ONNXRUNTIME


@pytest.mark.parametrize("found", ["1.24.3", "1.22.1", "1.9.0", "0.99"])
def test_an_old_version_is_refused(found: str):
    with pytest.raises(ProviderError, match=f"onnxruntime is {found}, but .* needs {LOWEST}"):
        check_version(found, LOWEST)


@pytest.mark.parametrize("found", [LOWEST, f"{LOWEST}.7", "1.100.0", "2.0.0", "1.31.0.dev2026"])
def test_a_new_version_is_taken(found: str):
    check_version(found, LOWEST)


def test_registering_checks_the_version(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnxruntime.__version__", "1.20.0")
    with pytest.raises(ProviderError, match=r"onnxruntime is 1\.20\.0"):
        register_provider()


def test_a_library_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnxruntime.get_ep_devices", lambda: [])
    monkeypatch.setattr(_shim, "__file__", "/no/such/library.so")
    with pytest.raises(ProviderError, match=r"does not load '/no/such/library\.so'"):
        register_provider()


def test_the_library_itself_refuses_an_old_host():
    messages: list[bytes] = []
    create_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p)
    api_type = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)
    version_type = ctypes.CFUNCTYPE(ctypes.c_void_p)

    def create_status(code: int, message: bytes) -> int:
        messages.append(message)
        return 1

    create = create_type(create_status)
    table = (ctypes.c_void_p * 1)(ctypes.cast(create, ctypes.c_void_p))  # slot 0: CreateStatus
    version = ctypes.create_string_buffer(b"1.23.2")
    get_api = api_type(lambda wanted: ctypes.addressof(table) if wanted <= 23 else None)
    get_version = version_type(lambda: ctypes.addressof(version))
    base = (ctypes.c_void_p * 2)(*(ctypes.cast(f, ctypes.c_void_p) for f in (get_api, get_version)))
    load = ctypes.PyDLL(_shim.__file__).CreateEpFactories
    load.restype = ctypes.c_void_p
    count = ctypes.c_size_t(0)
    factories = (ctypes.c_void_p * 4)()
    status = load(b"name", base, None, factories, ctypes.c_size_t(4), ctypes.byref(count))
    assert status == 1
    assert count.value == 0
    text = f"onnxruntime is 1.23.2, but NvmcExecutionProvider needs {LOWEST} or newer"
    assert text.encode() in messages[0]
