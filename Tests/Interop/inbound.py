"""Requests as the platforms' own libraries make them, with those libraries' verdict; one JSON value a line.

Each line: name, adapter (slack, whatsapp, events), method, target, headers, body (base64), at (s), accepted.
"""

import base64
import hashlib
import hmac
import json
import logging
import time
from datetime import datetime, timezone

from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent
from pywa.utils import webhook_updates_validator
from slack_bolt import App, BoltRequest
from slack_sdk.signature import Clock, SignatureVerifier
from standardwebhooks import Webhook

SIGNING_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
APP_SECRET = "app-secret"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = int(time.time())


def emit(name, adapter, method, target, headers, body, accepted):
    if isinstance(body, str):
        body = body.encode()
    line = {
        "name": name, "adapter": adapter, "method": method, "target": target, "headers": dict(headers),
        "body": base64.b64encode(body or b"").decode(), "at": NOW, "accepted": accepted,
    }
    print(json.dumps(line))


# Bolt's own verification too is at our hour: on a slow machine 299 s become 301 while it runs.
Clock.now = lambda self: float(NOW)


def slack():
    logging.disable(logging.CRITICAL)
    verifier = SignatureVerifier(SIGNING_SECRET)
    app = App(signing_secret=SIGNING_SECRET, authorize=lambda **_: None, process_before_response=True)

    def case(name, body, path="events", kind="application/json", at=NOW, spoil=lambda headers, body: (headers, body)):
        body = body if isinstance(body, str) else json.dumps(body)
        signature = verifier.generate_signature(timestamp=str(at), body=body)
        headers = {
            "Content-Type": kind, "X-Slack-Request-Timestamp": str(at), "X-Slack-Signature": signature or "",
        }
        headers, body = spoil(headers, body)
        lowered = {key.lower(): [value] for key, value in headers.items()}
        try:
            answer = app.dispatch(BoltRequest(body=body, headers=lowered, mode="http"))
            # Whether the signature passed: without a listener bolt answers 404.
            accepted = answer.status != 401
        except Exception:
            # It reads JSON before it verifies, and stops there.
            accepted = None
        emit(name, "slack", "POST", f"/v1/slack/{path}", headers, body, accepted)

    message = {
        "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event_id": "Ev1",
        "event": {"type": "message", "channel": "C1", "user": "U1", "text": "Grüße 😀 </b>", "ts": "1700000000.0001"},
        "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
    }
    command = "command=%2Fx&text=&team_id=T1&channel_id=C1&user_id=U1&api_app_id=A1&trigger_id=1.2.3"
    form = "application/x-www-form-urlencoded"
    case("message", message)
    case("message, its characters escaped", json.dumps(message, ensure_ascii=True))
    case("message, its characters as they are", json.dumps(message, ensure_ascii=False))
    case("url_verification", {"type": "url_verification", "token": "t", "challenge": "c"})
    case("command", command, "commands", form)
    case("299 s old", message, at=NOW - 299)
    case("301 s old", message, at=NOW - 301)
    case("not JSON", "{", spoil=lambda headers, body: (headers, body))

    def forge(headers, body):
        return {**headers, "X-Slack-Signature": "v0=" + "0" * 64}, body

    case("forged message", message, spoil=forge)
    case("forged url_verification", {"type": "url_verification", "challenge": "c"}, spoil=forge)
    case("forged command", command, "commands", form, spoil=forge)
    case("forged ssl_check", "ssl_check=1&token=x", "commands", form, spoil=forge)
    case("a byte more", message, spoil=lambda headers, body: (headers, body + " "))
    case("names of headers in lower case", message, spoil=lambda headers, body: (
        {name.lower(): value for name, value in headers.items()}, body))


def whatsapp():
    update = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "W", "changes": [{"field": "messages", "value": {
            "metadata": {"phone_number_id": "1001"},
            "messages": [{"from": "491701", "id": "wamid.1", "type": "text", "text": {"body": "Grüße 😀 </b>"}}],
        }}]}],
    }
    raw = json.dumps(update).replace("/", "\\/").encode()
    signed = "sha256=" + hmac.new(APP_SECRET.encode(), raw, hashlib.sha256).hexdigest()
    anew = json.dumps(update, ensure_ascii=False).encode()
    for name, body, signature in (
        ("as sent", raw, signed), ("written anew", anew, signed), ("forged", raw, "sha256=" + "0" * 64),
        ("no signature", raw, ""), ("upper case", raw, signed.upper()),
    ):
        accepted = webhook_updates_validator(APP_SECRET, body, signature)
        emit(name, "whatsapp", "POST", "/v1/whatsapp/webhook", {
            "Content-Type": "application/json", "X-Hub-Signature-256": signature}, body, accepted)


def events():
    attributes = {
        "id": 'a é"%', "source": "/my/irc", "type": "message.created", "specversion": "1.0",
        "datacontenttype": "application/json", "time": datetime(2026, 1, 31, 9, 30, tzinfo=timezone.utc),
    }
    data = {"conversation": {"id": "#ops"}, "sender": {"id": "böb"}, "message": {"text": "Grüße 😀"}}
    event = CloudEvent(attributes=attributes, data=data)
    hook = Webhook(WEBHOOK_SECRET)
    for name, message in (("binary", to_binary_event(event)), ("structured", to_structured_event(event))):
        body = message.body if isinstance(message.body, bytes) else message.body.encode()
        moment = datetime.fromtimestamp(NOW, timezone.utc)
        headers = {
            **message.headers, "webhook-id": "msg_1", "webhook-timestamp": str(NOW),
            "webhook-signature": hook.sign("msg_1", moment, body.decode()),
        }
        emit(name, "events", "POST", "/v1/events", headers, body, True)
        emit(name + ", a byte more", "events", "POST", "/v1/events", headers, body + b" ", False)


slack()
whatsapp()
events()
