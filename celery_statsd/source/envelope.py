"""Messages out of the envelopes in which kombu's virtual transports put them (Redis).

An envelope is a JSON object (kombu.transport.virtual.base.Channel.prepare_message).
"""

import msgspec

from celery_statsd.source.base import LONGEST_FACTS, Facts, Message

MOST_KNOWN = 10_000
"""What messages have in common that is remembered: one for each sender and kind."""

BAD_ENVELOPE = "application/x-bad-envelope"
"""The content type of a message whose envelope cannot be read; its body is the envelope."""

_HEAD, _TAG = b'{"body": "', b'"delivery_tag": "'
_TAIL = b'"}}'
_TAGGED = len(_TAG) + 36 + len(_TAIL)  # bytes from there to the end: a UUID, quoted
BAD = Facts(BAD_ENVELOPE)


class _Headers(msgspec.Struct):
    hostname: str = ""


class _DeliveryInfo(msgspec.Struct):
    routing_key: str = ""


class _Properties(msgspec.Struct):
    body_encoding: str | None = None
    delivery_info: _DeliveryInfo = msgspec.field(default_factory=_DeliveryInfo)


class _Envelope(msgspec.Struct, rename="kebab"):
    """What is wrapped around a body."""

    body: msgspec.Raw
    content_type: str | None = None
    content_encoding: str | None = None
    headers: _Headers = msgspec.field(default_factory=_Headers)
    properties: _Properties = msgspec.field(default_factory=_Properties)


_envelope = msgspec.json.Decoder(_Envelope).decode
_base64 = msgspec.json.Decoder(bytes).decode
_text = msgspec.json.Decoder(str).decode


def _plain(raw: msgspec.Raw) -> bytes:
    return _text(raw).encode()


_BODIES = {"base64": _base64, "utf-8": _plain, None: _plain}


class Unwrapper:
    """Takes messages out of kombu's envelopes.

    The body in base64 stands first, a tag of its own last, and between them what all messages of
    one sender have in common. That is read once. The body ends at the first quote, for base64 has
    none.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Facts, str]] = {}

    def message(self, envelope: bytes) -> Message:
        """The message in `envelope`; never raises (see BAD_ENVELOPE)."""
        end, tag = envelope.find(b'"', len(_HEAD)), len(envelope) - _TAGGED
        known = self._known.get(envelope[end:tag])
        if known is None:
            return self._learnt(envelope, end, tag)
        body = _body(envelope, end, tag)
        return unwrapped(envelope) if body is None else Message(body, *known)

    def _learnt(self, envelope: bytes, end: int, tag: int) -> Message:
        """Read all of it, and know what it has in common with others if it is what it looks like:
        then they can be read by their looks."""
        message, common = unwrapped(envelope), envelope[end:tag]
        plain = message.body == _body(envelope, end, tag) and b"\\" not in common
        if plain and len(common) <= LONGEST_FACTS:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[common] = message.facts, message.routing_key
        return message


def _body(envelope: bytes, end: int, tag: int) -> bytes | None:
    """The body that ends there, before a tag that should begin there; None when that cannot be."""
    if not envelope.startswith(_HEAD) or not envelope.startswith(_TAG, tag):
        return None
    uuid = envelope[tag + len(_TAG) : -len(_TAIL)]
    if not envelope.endswith(_TAIL) or not uuid.replace(b"-", b"").isalnum():
        return None
    try:
        return _base64(envelope[len(_HEAD) - 1 : end + 1])
    except msgspec.MsgspecError:
        return None


def unwrapped(envelope: bytes) -> Message:
    """As `Unwrapper.message`, whatever the envelope looks like."""
    try:
        parts = _envelope(envelope)
        body = _BODIES[parts.properties.body_encoding](parts.body)
    except (msgspec.MsgspecError, KeyError, ValueError, RecursionError):
        return Message(envelope, BAD)
    facts = Facts(parts.content_type or "", parts.content_encoding or "", parts.headers.hostname)
    return Message(body, facts, parts.properties.delivery_info.routing_key)
