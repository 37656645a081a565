import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto import frame_protocol
from wsproto.frame_protocol import Opcode

from volly_fed.daemon import masking


class Reference:
    """RFC 6455 §5.3, letter by letter."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.at = 0

    def process(self, data: bytes) -> bytes:
        masked = bytes(byte ^ self.key[(self.at + index) % 4] for index, byte in enumerate(data))
        self.at += len(data)
        return masked


def original_masker() -> type:
    """wsproto's own class, which `install` has replaced by now."""
    import importlib.util

    spec = importlib.util.find_spec("wsproto.frame_protocol")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: type = module.XorMaskerSimple
    return found


ORIGINAL = original_masker()


@given(key=st.binary(min_size=4, max_size=4), parts=st.lists(st.binary(max_size=70), max_size=6))
def test_the_c_masker_makes_wsprotos_bytes_in_every_split(key: bytes, parts: list[bytes]) -> None:
    ours, theirs, rfc = masking.FastMasker(key), ORIGINAL(key), Reference(key)
    for part in parts:
        masked = ours.process(part)
        assert bytes(masked) == bytes(theirs.process(bytearray(part))) == rfc.process(part)


SIZES = st.sampled_from([0, 1, 125, 126, 127, 65535, 65536, 70000])


@given(
    size=SIZES, client=st.booleans(), fin=st.booleans(), opcode=st.sampled_from([Opcode.BINARY, Opcode.CONTINUATION])
)
def test_frames_are_read_back_as_wsprotos_own(size: int, client: bool, fin: bool, opcode: Opcode) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    payload = payload[:size]
    sender = frame_protocol.FrameProtocol(client=client, extensions=[])
    ours = bytes(masking.serialize_frame(sender, opcode, payload, fin))
    theirs = bytes(masking._original_frame(sender, opcode, payload, fin))
    assert len(ours) == len(theirs)
    head = len(ours) - size - (4 if client else 0)
    assert ours[:head] == theirs[:head]
    if client:
        assert Reference(ours[head : head + 4]).process(ours[head + 4 :]) == payload
    else:
        assert ours == theirs


def test_control_frames_are_left_to_wsproto() -> None:
    sender = frame_protocol.FrameProtocol(client=False, extensions=[])
    assert masking.serialize_frame(sender, Opcode.PING, b"x") == masking._original_frame(sender, Opcode.PING, b"x")


def test_it_is_installed_and_the_original_is_another_class() -> None:
    assert masking.install()
    assert frame_protocol.XorMaskerSimple is masking.FastMasker  # type: ignore[comparison-overlap]  # replaced
    assert ORIGINAL is not masking.FastMasker


def test_without_the_c_code_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masking, "_apply_mask", None)
    monkeypatch.setattr(frame_protocol, "XorMaskerSimple", ORIGINAL)
    assert not masking.install()
    assert frame_protocol.XorMaskerSimple is ORIGINAL
    with pytest.raises(RuntimeError):
        masking.FastMasker(bytes(4)).process(b"x")
