"""What can be wrong with bytes that came over the wire.

WireError
├── UnsupportedVersion   the other side speaks another protocol version
├── FrameError           a frame is malformed, too large, of unknown type, or the stream ends inside one
├── CodecError           compressed bytes do not decompress to what their record declares
├── PatchError           a patch does not fit its base
├── TreeError            a leaf or root node is malformed
└── MessageError         a JSON message lacks a field, has an unknown one, or one of the wrong type
"""


class WireError(Exception):
    """Bytes from the other side cannot be accepted. `code` is stable and goes into problem documents."""

    code = "WIRE_ERROR"


class UnsupportedVersion(WireError):
    """The other side speaks another protocol version."""

    code = "UNSUPPORTED_PROTOCOL_VERSION"


class FrameError(WireError):
    """A frame is malformed, too large or cut off."""

    code = "BAD_FRAME"


class CodecError(WireError):
    """Compressed bytes are not what their record declares."""

    code = "BAD_COMPRESSED_DATA"


class PatchError(WireError):
    """A patch does not fit its base chunk."""

    code = "BAD_PATCH"


class TreeError(WireError):
    """A leaf or a root node is malformed."""

    code = "BAD_TREE_NODE"


class MessageError(WireError):
    """A JSON message does not have the declared form."""

    code = "BAD_MESSAGE"
