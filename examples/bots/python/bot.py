"""Answers customers. Start it with: pip install -r requirements.txt; SECRET=whsec_… PORT=9000 python3 bot.py"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError


def answer(kind, data):
    said = data["text"]["content"] if kind == "kf.text" else ""
    lines = [line for line in said.split("\n") if line][:5]
    if kind == "kf.event.enter_session" and data["event"].get("welcome_code"):
        lines = ["您好，请问有什么可以帮您？"]
    transfer = {"service_state": 2} if said == "人工" else None
    return {"replies": [{"msgtype": "text", "text": {"content": line}} for line in lines], "transfer": transfer}


class Bot(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            message = webhook.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.send_error(401)
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer(message["type"], message["data"])).encode())


webhook = Webhook(os.environ["SECRET"])
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Bot)
print("listening", server.server_port, flush=True)
server.serve_forever()
