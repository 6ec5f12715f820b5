"""WebSocket frames as bytes, for what a library would not send: half a frame, a frame in drips. Pure."""


def server_frame(opcode: int, payload: bytes) -> bytes:
    """One final, unmasked frame (RFC 6455, section 5.2)."""
    size = len(payload)
    head = bytes([0x80 | opcode])
    if size < 126:
        return head + bytes([size]) + payload
    if size < 1 << 16:
        return head + bytes([126]) + size.to_bytes(2, "big") + payload
    return head + bytes([127]) + size.to_bytes(8, "big") + payload


def half(frame: bytes) -> bytes:
    """The first half of a frame, never nothing and never all of it."""
    return frame[: max(1, len(frame) // 2)]
