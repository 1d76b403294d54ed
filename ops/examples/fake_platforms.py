#!/usr/bin/env python3
"""Stands in for Slack and WhatsApp: takes what Penstock delivers, prints it, and fails on demand.

    ops/examples/fake_platforms.py --port 9090

Then in penstock.yaml:

    channels:
      slack:    { api_base: "http://127.0.0.1:9090/api", ... }
      whatsapp: { api_base: "http://127.0.0.1:9090/v26.0", ... }

For tests (JSON, no authentication; it listens on 127.0.0.1 only):

    GET  /_fake/deliveries?count=2&wait=10   what was delivered, once there are two or after 10 s
    POST /_fake/faults ["429:3", "503"]      what happens to the next deliveries, one fault each
    POST /_fake/reset                        forgets deliveries and faults

Faults: 429[:seconds], any 5xx, lost (the connection ends before the message is taken), lost-after (it ends after),
error:CODE (Slack's word or WhatsApp's number for a refusal).
"""

import argparse
import json
import re
import sys
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BODY_BYTES_MAX = 1 << 20
WHATSAPP_TEXT_MAX = 4096
SLACK_TEXT_MAX = 40000


class Platforms:
    """What both platforms remember."""

    def __init__(self, quiet):
        self.changed = threading.Condition()
        self.deliveries = []
        self.faults = []
        self.count = 0
        self.quiet = quiet

    def take_fault(self):
        with self.changed:
            return self.faults.pop(0) if self.faults else None

    def deliver(self, platform, place, text, request):
        with self.changed:
            self.count += 1
            moment = time.time()
            if platform == "slack":
                name = f"{int(moment)}.{self.count:06d}"
            else:
                name = f"wamid.FAKE{self.count:06d}"
            self.deliveries.append(
                {"platform": platform, "place": place, "id": name, "text": text, "time": moment, "request": request}
            )
            self.changed.notify_all()
        if not self.quiet:
            shown = text.replace("\n", "\n    ")
            print(f"{platform} -> {place}\n    {shown}", flush=True)
        return name

    def wait(self, count, seconds):
        with self.changed:
            self.changed.wait_for(lambda: len(self.deliveries) >= count, timeout=seconds)
            return list(self.deliveries)

    def reset(self):
        with self.changed:
            self.deliveries, self.faults = [], []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    platforms = None

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        self.path_only, _, query = self.path.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query))
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            return self.answer(413, {"error": "body too large"})
        self.body = self.rfile.read(length)
        whatsapp = re.fullmatch(r"/v[0-9.]+/([0-9]+)/messages", self.path_only)
        if self.path_only.startswith("/_fake/"):
            self.control(self.path_only[len("/_fake/"):])
        elif self.path_only.startswith("/api/"):
            self.slack(self.path_only[len("/api/"):])
        elif whatsapp and self.command == "POST":
            self.whatsapp(whatsapp.group(1))
        else:
            self.answer(404, {"error": f"nothing at {self.path_only}"})

    def answer(self, status, value, headers=None):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        for name, content in (headers or {}).items():
            self.send_header(name, content)
        self.end_headers()
        self.wfile.write(data)

    def hang_up(self):
        self.close_connection = True
        self.connection.close()

    # Control

    def control(self, name):
        if name == "deliveries":
            count, wait = int(self.query.get("count", 0)), float(self.query.get("wait", 0))
            self.answer(200, self.platforms.wait(count, min(wait, 60)))
        elif name == "faults" and self.command == "POST":
            with self.platforms.changed:
                self.platforms.faults.extend(json.loads(self.body))
            self.answer(200, {"ok": True})
        elif name == "reset" and self.command == "POST":
            self.platforms.reset()
            self.answer(200, {"ok": True})
        else:
            self.answer(404, {"error": "deliveries, faults or reset"})

    def fail(self, fault, refuse):
        """Acts out a fault before the message is taken; false when there is nothing more to do before."""
        if fault is None or fault == "lost-after":
            return False
        kind, _, detail = fault.partition(":")
        if kind == "lost":
            self.hang_up()
        elif kind == "error":
            refuse(detail)
        elif kind == "429":
            self.answer(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": detail or "1"})
        else:
            self.answer(int(kind), {})
        return True

    # Slack

    def arguments(self):
        kind = self.headers.get("Content-Type") or ""
        if self.command == "GET":
            return self.query
        if kind.startswith("application/json"):
            return json.loads(self.body or b"{}")
        fields = dict(urllib.parse.parse_qsl(self.body.decode()))
        for name in ("metadata", "blocks", "attachments"):
            if name in fields:
                fields[name] = json.loads(fields[name])
        return fields

    def slack(self, method):
        if not (self.headers.get("Authorization") or "").startswith("Bearer "):
            return self.answer(200, {"ok": False, "error": "not_authed"})
        try:
            given = self.arguments()
        except ValueError:
            return self.answer(200, {"ok": False, "error": "invalid_json"})
        if method == "auth.test":
            self.answer(200, {"ok": True, "team_id": "T1", "user_id": "UBOT", "bot_id": "BBOT"})
        elif method == "chat.postMessage" and self.command == "POST":
            self.post_message(given)
        elif method in ("conversations.replies", "conversations.history"):
            self.history(given, method)
        else:
            self.answer(200, {"ok": False, "error": "unknown_method"})

    def post_message(self, given):
        fault = self.platforms.take_fault()
        if self.fail(fault, lambda error: self.answer(200, {"ok": False, "error": error})):
            return None
        if not given.get("channel"):
            return self.answer(200, {"ok": False, "error": "channel_not_found"})
        text = given.get("text") or ""
        if not text and not given.get("blocks"):
            return self.answer(200, {"ok": False, "error": "no_text"})
        if len(text) > SLACK_TEXT_MAX:
            return self.answer(200, {"ok": False, "error": "msg_too_long"})
        thread = given.get("thread_ts")
        place = given["channel"] + (f" in thread {thread}" if thread else "")
        ts = self.platforms.deliver("slack", place, text, given)
        if fault == "lost-after":
            return self.hang_up()
        message = {"type": "message", "bot_id": "BBOT", "text": text, "ts": ts}
        return self.answer(200, {"ok": True, "channel": given["channel"], "ts": ts, "message": message})

    def history(self, given, method):
        oldest, limit = float(given.get("oldest") or 0), int(given.get("limit") or 100)
        start = int(given.get("cursor") or 0)
        found = []
        for delivery in self.platforms.wait(0, 0):
            request = delivery["request"]
            is_there = delivery["platform"] == "slack" and request["channel"] == given.get("channel")
            thread = given.get("ts") if method == "conversations.replies" else None
            if not is_there or request.get("thread_ts") != thread or float(delivery["id"]) < oldest:
                continue
            message = {"type": "message", "text": delivery["text"], "ts": delivery["id"]}
            if "metadata" in request and str(given.get("include_all_metadata")).lower() in ("true", "1"):
                message["metadata"] = request["metadata"]
            found.append(message)
        if method == "conversations.history":
            found.reverse()
        page = found[start:start + limit]
        cursor = str(start + limit) if start + limit < len(found) else ""
        self.answer(
            200,
            {"ok": True, "messages": page, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}},
        )

    # WhatsApp

    def whatsapp(self, number):
        def refuse(code, status=400, message="(#fake) refused"):
            self.answer(status, {"error": {"message": message, "type": "OAuthException", "code": int(code)}})

        if not (self.headers.get("Authorization") or "").startswith("Bearer "):
            return refuse(190, 401, "no access token")
        fault = self.platforms.take_fault()
        if self.fail(fault, refuse):
            return None
        try:
            given = json.loads(self.body)
        except ValueError:
            return refuse(100, message="the body is not JSON")
        recipient = given.get("to") or given.get("recipient")
        if given.get("messaging_product") != "whatsapp" or not recipient:
            return refuse(100, message="messaging_product and to or recipient are needed")
        text = (given.get("text") or {}).get("body")
        if given.get("type") != "text" or not text or len(text) > WHATSAPP_TEXT_MAX:
            return refuse(100, message=f"text.body must have 1 to {WHATSAPP_TEXT_MAX} characters")
        name = self.platforms.deliver("whatsapp", f"{recipient} from {number}", text, given)
        if fault == "lost-after":
            return self.hang_up()
        return self.answer(
            200,
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": recipient, "wa_id": recipient}],
                "messages": [{"id": name}],
            },
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9090, help="0 takes any free one")
    parser.add_argument("--port-file", help="write the port here once it is listening")
    parser.add_argument("--quiet", action="store_true", help="do not print deliveries")
    options = parser.parse_args()
    Handler.platforms = Platforms(options.quiet)
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    server.daemon_threads = True
    if options.port_file:
        with open(options.port_file, "w", encoding="utf-8") as file:
            file.write(f"{server.server_port}\n")
    print(f"fake platforms on http://127.0.0.1:{server.server_port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
