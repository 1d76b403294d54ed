"""Proves the fake Slack by the real client: what slack_sdk can do with it, Penstock may rely on."""

import json
import sys
import urllib.request

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler

base = sys.argv[1]


def control(path, value=None):
    data = None if value is None else json.dumps(value).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{base}/_fake/{path}", data=data)) as response:
        return json.load(response)


def check(condition, what):
    if not condition:
        sys.exit(f"fake Slack: {what}")


client = WebClient(token="xoxb-test", base_url=f"{base}/api/", timeout=5, retry_handlers=[])
control("reset", {})
check(client.auth_test()["user_id"] == "UBOT", "auth.test")

metadata = {"event_type": "penstock_reply", "event_payload": {"idempotency_key": "k1"}}
first = client.chat_postMessage(channel="C1", text="hi &amp; hello", thread_ts="1.2", metadata=metadata)
check(first["ok"] and first["ts"] == control("deliveries")[0]["id"], "chat.postMessage")

found = client.conversations_replies(channel="C1", ts="1.2", include_all_metadata=True)["messages"]
check([one["metadata"]["event_payload"]["idempotency_key"] for one in found] == ["k1"], "conversations.replies")
check(client.conversations_history(channel="C1")["messages"] == [], "threads are not in the history")

for number in range(5):
    client.chat_postMessage(channel="C2", text=f"m{number}")
pages = [page["messages"] for page in client.conversations_history(channel="C2", limit=2)]
check([one["text"] for page in pages for one in page] == ["m4", "m3", "m2", "m1", "m0"], "pages, newest first")

for fault, error in (("error:is_archived", "is_archived"), ("429:1", "ratelimited")):
    control("faults", [fault])
    try:
        client.chat_postMessage(channel="C1", text="x")
        sys.exit(f"fake Slack: {fault} did nothing")
    except SlackApiError as refused:
        check(refused.response["error"] == error, fault)

patient = WebClient(token="xoxb-test", base_url=f"{base}/api/", retry_handlers=[RateLimitErrorRetryHandler(1)])
control("faults", ["429:1"])
check(patient.chat_postMessage(channel="C3", text="after waiting")["ok"], "Retry-After is honoured")

for fault, count in (("lost", 0), ("lost-after", 1)):
    control("reset", {})
    control("faults", [fault])
    try:
        client.chat_postMessage(channel="C1", text="x")
        sys.exit(f"fake Slack: {fault} did nothing")
    except Exception as lost:
        check(not isinstance(lost, SlackApiError), fault)
    check(len(control("deliveries")) == count, f"{fault} leaves {count}")

control("reset", {})
print("ok")
