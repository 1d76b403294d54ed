"""A model server in the two dialects, and the providers' own clients run against it.

`models.py serve` prints its address and answers until stdin closes; `models.py check BASE` asks it with the
`openai` and `anthropic` packages and prints what they understood as one JSON object a line.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = ["Let me ", "look \u2013 ", "\u2600\ufe0f"]
PIECES = ['{"city"', ': "Par', 'is"}']


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.split("?")[0]
        is_anthropic = path == "/v1/messages"
        # Anthropic takes either.
        key = (is_anthropic and self.headers.get("x-api-key")) or self.headers.get("Authorization")
        if key not in ("right-key", "Bearer right-key"):
            return self.refuse(401, "authentication_error", f"wrong key for {self.path}")
        if body["model"] == "busy":
            return self.refuse(529 if is_anthropic else 429, "overloaded_error", "busy", {"Retry-After": "7"})
        if body["model"] == "broken":
            return self.stream([b"data: {\"type\""], is_whole=False)
        if is_anthropic:
            return self.stream(anthropic(body))
        if path == "/v1/chat/completions":
            return self.stream(openai(body))
        self.refuse(404, "not_found_error", self.path)

    def refuse(self, status, kind, message, fields={}):
        body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **fields}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, chunks, is_whole=True):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
        if is_whole:
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.close_connection = True


def wants_tool(body):
    """Whether the last words are the user's and there is a tool: a result is answered with words."""
    last = body["messages"][-1]
    content = last["content"]
    is_result = last["role"] == "tool" or (
        isinstance(content, list) and any(part["type"] == "tool_result" for part in content)
    )
    return bool(body.get("tools")) and not is_result


def openai(body):
    def chunk(delta, finish=None):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({"choices": [choice]})

    def event(value):
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        return b"data: " + json.dumps({**base, **value}).encode() + b"\n\n"

    yield chunk({"role": "assistant", "content": ""})
    for word in WORDS:
        yield chunk({"content": word})
    if wants_tool(body):
        function = {"name": body["tools"][0]["function"]["name"], "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]})
        for piece in PIECES:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
    yield chunk({}, "tool_calls" if wants_tool(body) else "stop")
    if body.get("stream_options", {}).get("include_usage"):
        details = {"cached_tokens": 4}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "prompt_tokens_details": details}
        yield event({"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def anthropic(body):
    def event(value):
        return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()

    usage = {"input_tokens": 7, "cache_read_input_tokens": 4, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    yield event({"type": "message_start", "message": {**message, "stop_reason": None, "usage": usage}})
    yield event({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        yield event({"type": "content_block_delta", "index": 0, "delta": delta})
    yield event({"type": "content_block_stop", "index": 0})
    yield event({"type": "ping"})
    if wants_tool(body):
        block = {"type": "tool_use", "id": "call_1", "name": body["tools"][0]["name"], "input": {}}
        yield event({"type": "content_block_start", "index": 1, "content_block": block})
        for piece in PIECES:
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event({"type": "content_block_delta", "index": 1, "delta": delta})
        yield event({"type": "content_block_stop", "index": 1})
    stop = "tool_use" if wants_tool(body) else "end_turn"
    yield event({"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}})
    yield event({"type": "message_stop"})


def serve():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


def check(base):
    import anthropic as anthropic_client
    import openai as openai_client

    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    client = openai_client.OpenAI(base_url=f"{base}/v1", api_key="right-key", max_retries=0)
    tool = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": parameters}}
    with client.chat.completions.stream(
        model="m",
        messages=[{"role": "user", "content": "hi"}],
        tools=[tool],
        stream_options={"include_usage": True},
    ) as stream:
        answer = stream.get_final_completion()
    said = answer.choices[0].message
    call = said.tool_calls[0]
    tell("openai", said.content, call.id, call.function.name, call.function.arguments, answer.usage.prompt_tokens)

    client = anthropic_client.Anthropic(base_url=base, api_key="right-key", max_retries=0)
    tool = {"name": "weather", "description": "d", "input_schema": parameters}
    with client.messages.stream(
        model="m", max_tokens=100, messages=[{"role": "user", "content": "hi"}], tools=[tool]
    ) as stream:
        answer = stream.get_final_message()
    text, call = answer.content
    tokens = answer.usage.input_tokens + answer.usage.cache_read_input_tokens
    tell("anthropic", text.text, call.id, call.name, json.dumps(call.input), tokens)


def tell(client, text, call, tool, arguments, tokens):
    value = {"client": client, "text": text, "call": call, "tool": tool, "arguments": json.loads(arguments)}
    print(json.dumps({**value, "input": tokens}))


if __name__ == "__main__":
    serve() if sys.argv[1] == "serve" else check(sys.argv[2])
