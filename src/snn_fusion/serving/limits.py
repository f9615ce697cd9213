"""What one request may ask for. Whoever runs the service may lower none of these by accident: they are constants."""

from __future__ import annotations

BODY = 16 * 2**20  # bytes, after decompression
BODIES = 48 * 2**20  # bytes of all large bodies that are in memory at once
UNPACKING = 64 * 2**20  # bytes a second that gzip unpacks to and that are decoded, of all large bodies
ROOM_S = 1.0  # that a large body in gzip waits for those before it to be decoded
BATCH = 64  # recordings in one request
OBJECTS = 2_000  # JSON objects in one request: what a batch of all senses holds four times over
QUOTES = 60_000  # quotation marks in one request, likewise
PARTS = 1_000  # entries of a list or object that is none of numbers
STROKES = 500  # of a drawing
POINTS = 20_000  # of a drawing
SAMPLES = 2_000_000  # of audio: ten seconds at the highest rate
RATE = 192_000  # Hz
EVENTS = 1_000_000
READINGS = 200_000  # of an IMU
CHANNELS = 64  # of an IMU
SPAN_US = 60_000_000  # that a recording lasts, and that a stream's message goes on by; work and memory grow with it
STREAM_US = 600_000_000  # that a stream's recording lasts: as long as one is open
SESSIONS = 64  # streams open at once
MESSAGE = 2**20  # bytes of a stream's message
IDLE_S = 30.0  # a stream without a message is closed after
STREAM_S = 600.0  # a stream that takes longer is closed, however busy
FRAGMENTS = 256  # of one message
CONTROLS = 64  # pings and pongs that a stream takes
URL = 8 * 1024  # bytes of a request's target
HEADERS = 100  # of one request, trailers among them
OUTSIDE = 32 * 1024  # bytes of a request outside its body: its head, then its chunks' sizes and its trailers
CHUNKS = 1024  # of a body; more only of CHUNK bytes on average
CHUNK = 64
PIPELINED = 16  # requests of one connection that wait for the answer to the one before
UNWANTED = 2**20  # bytes of a body that still come after the answer
UNREAD_S = 20.0  # a connection whose client does not read for so long is closed
LINGER_S = 1.0  # a refused connection is read on for so long, up to UNWANTED bytes, so that it can read its answer
HEAD_S = 10.0  # a request whose head takes longer to arrive is refused
BODY_S = 20.0  # a body that takes longer to arrive is refused
