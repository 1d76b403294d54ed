"""An HTTP/1.1 proxy in front of one server, which does what networks and stores do on bad days.

    fault_proxy.py UPSTREAM_PORT SEED SHARE

Prints its own port. SHARE of the requests (0 to 1), chosen by chance from SEED, meet one fault each:

    refuse   503 SlowDown, nothing is handed on
    reset    the connection is reset before anything is handed on
    lose     the request takes effect, the connection is reset instead of an answer
    stall    the request takes effect, and nothing is answered for 10 s
    cut      half of the answer's body, then the end
    late     the answer comes after 300 ms

Ends when its standard input does; prints then how often each happened.
"""
import asyncio
import collections
import json
import random
import socket
import struct
import sys

FAULTS = ["refuse", "reset", "lose", "lose", "stall", "cut", "late"]
REFUSAL = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

upstream, seed, share = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
chance = random.Random(seed)
counts = collections.Counter()


async def message(reader, has_body=lambda head: True):
    """Head and body of one message; None at the end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    fields = {}
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        fields[name.strip().lower()] = value.strip()
    if not has_body(head):
        return head, b""
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = b""
        while True:
            line = await reader.readuntil(b"\r\n")
            chunk = await reader.readexactly(int(line, 16) + 2)
            body += line + chunk
            if line.strip() == b"0":
                return head, body
    return head, await reader.readexactly(int(fields.get(b"content-length", b"0")))


async def forwarded(request):
    reader, writer = await asyncio.open_connection("127.0.0.1", upstream)
    try:
        writer.write(request[0] + request[1])
        await writer.drain()
        is_head = request[0].startswith(b"HEAD")
        return await message(reader, lambda head: not is_head and b" 204 " not in head.split(b"\r\n")[0])
    finally:
        writer.close()


def reset(writer):
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


async def serve(reader, writer):
    try:
        while (request := await message(reader)) is not None:
            fault = chance.choice(FAULTS) if chance.random() < share else "none"
            counts[fault] += 1
            if fault == "refuse":
                head = b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n\r\n"
                writer.write(head % len(REFUSAL) + REFUSAL)
                await writer.drain()
                continue
            if fault == "reset":
                return reset(writer)
            answer = await forwarded(request)
            if fault == "lose" or answer is None:
                return reset(writer)
            if fault == "stall":
                await asyncio.sleep(10)
                return reset(writer)
            if fault == "late":
                await asyncio.sleep(0.3)
            if fault == "cut":
                writer.write(answer[0] + answer[1][: len(answer[1]) // 2])
                await writer.drain()
                return writer.close()
            writer.write(answer[0] + answer[1])
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(counts), flush=True)
    sys.stdout.flush()
    # Connections that stall are not waited for.
    import os

    os._exit(0)


asyncio.run(main())
