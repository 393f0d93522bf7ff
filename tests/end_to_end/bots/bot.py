"""A bot that takes what the official library verifies with $SECRET, and says what became of each post."""

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["SECRET"])


def say(line):
    """One write to a line: requests are served in threads."""
    print(f"{line}\n", end="", flush=True)


class Bot(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            webhook.verify(body, dict(self.headers))
            verdict, status = "taken", 204
        except WebhookVerificationError:
            verdict, status = "refused", 401
        say(f"{verdict} {self.headers['webhook-id']}")
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Bot)
say(f"listening {server.server_port}")
server.serve_forever()
