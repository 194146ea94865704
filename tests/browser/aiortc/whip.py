"""aiortc behind a few lines of WHIP and WHEP, for aiortc.test.mjs. Knows nothing of the host but its addresses.

    whip.py publish|play URL [TOKEN]

Says what happens as lines of JSON on its standard output; deletes its resource and ends when its standard input does.
"""

import array
import asyncio
import fractions
import json
import math
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import av
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription

WIDTH, HEIGHT, FRAMES_PER_SECOND = 320, 180, 15
SAMPLE_RATE, SAMPLES_PER_FRAME, TONE_HZ = 48_000, 960, 440
TELL_EVERY_S = 0.25


class Paced(MediaStreamTrack):
    """Yields frames at their own times; `clock` ticks a second, `step` a frame."""

    clock, step = 1, 1

    def __init__(self):
        super().__init__()
        self.started = time.monotonic()
        self.ticks = 0

    async def recv(self):
        await asyncio.sleep(max(0.0, self.started + self.ticks / self.clock - time.monotonic()))
        frame = self.draw(self.ticks // self.step)
        frame.pts, frame.time_base = self.ticks, fractions.Fraction(1, self.clock)
        self.ticks += self.step
        return frame


class Stripes(Paced):
    """Grey stripes that wander, so that every frame differs from the one before."""

    kind = "video"
    clock, step = 90_000, 90_000 // FRAMES_PER_SECOND
    row = bytes((column * 4) % 256 for column in range(WIDTH * 2))

    def draw(self, number):
        frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
        luma, *colours = frame.planes
        start = (number * 4) % WIDTH
        line = self.row[start : start + WIDTH].ljust(luma.line_size, b"\0")
        luma.update(line * HEIGHT)
        for plane in colours:
            plane.update(b"\x80" * plane.buffer_size)
        return frame


class Tone(Paced):
    """A sine at half of full scale."""

    kind = "audio"
    clock, step = SAMPLE_RATE, SAMPLES_PER_FRAME

    def draw(self, number):
        angle = 2 * math.pi * TONE_HZ / SAMPLE_RATE
        first = number * SAMPLES_PER_FRAME
        wave = (int(16_000 * math.sin(angle * (first + n))) for n in range(SAMPLES_PER_FRAME))
        frame = av.AudioFrame("s16", "mono", SAMPLES_PER_FRAME)
        frame.planes[0].update(array.array("h", wave).tobytes())
        frame.sample_rate = SAMPLE_RATE
        return frame


def tell(**event):
    print(json.dumps(event), flush=True)


def request(method, url, token, body=None):
    """One HTTP exchange: status, headers, body. A refusal is an answer, too."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/sdp"
    asked = urllib.request.Request(url, data=body and body.encode(), headers=headers, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.headers, refusal.read().decode()


async def offer(url, token, sdp):
    """POSTs an offer; where a busy host could not decide in time, it is asked again when it says."""
    for _ in range(5):
        answer = await asyncio.to_thread(request, "POST", url, token, sdp)
        if answer[0] != 503 or "Retry-After" not in answer[1]:
            break
        await asyncio.sleep(int(answer[1]["Retry-After"]))
    return answer


async def count(track, seen):
    """Counts what was decoded of a track until it ends."""
    while True:
        frame = await track.recv()
        if track.kind == "video":
            seen["frames"] += 1
            seen["width"] = frame.width
        else:
            samples = array.array("h", bytes(frame.planes[0])[: frame.samples * 2])
            seen["energy"] += sum(sample * sample for sample in samples) / 2**30 / frame.sample_rate


async def main(role, url, token=""):
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # its default asks a public STUN server
    seen = {"frames": 0, "width": 0, "energy": 0.0}
    counting = []
    peer.on("connectionstatechange", lambda: tell(state=peer.connectionState))
    peer.on("track", lambda track: counting.append(asyncio.ensure_future(count(track, seen))))
    if role == "publish":
        for track in (Tone(), Stripes()):
            peer.addTransceiver(track, direction="sendonly")
    else:
        for kind in ("audio", "video"):
            peer.addTransceiver(kind, direction="recvonly")

    await peer.setLocalDescription(await peer.createOffer())
    status, headers, body = await offer(url, token, peer.localDescription.sdp)
    tell(status=status, body=body if status != 201 else "")
    if status != 201:
        return
    resource = urllib.parse.urljoin(url, headers["Location"])
    await peer.setRemoteDescription(RTCSessionDescription(sdp=body, type="answer"))

    ended = asyncio.ensure_future(asyncio.to_thread(sys.stdin.read))
    while not ended.done():
        if role == "play":
            tell(**seen)
        await asyncio.wait([ended], timeout=TELL_EVERY_S)
    status, _, _ = await asyncio.to_thread(request, "DELETE", resource, token)
    await peer.close()
    for task in counting:
        task.cancel()
    tell(deleted=status)


asyncio.run(main(*sys.argv[1:]))
