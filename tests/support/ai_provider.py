"""An OpenAI-compatible provider on loopback: it answers whoever brings the right key, and refuses everyone else."""

import http.server
import json
import threading


class AIProvider:
    """`base_url` is what goes into Vault beside the key; `served` and `refused` count the calls. A context manager."""

    def __init__(self, api_key):
        self.api_key, self.served, self.refused = api_key, 0, 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path != "/v1/chat/completions":
                    return self.answer(404, {"error": {"message": "no such path"}})
                if self.headers["Authorization"] != f"Bearer {provider.api_key}":
                    provider.refused += 1
                    return self.answer(401, {"error": {"message": "invalid key"}})
                provider.served += 1
                message = {"role": "assistant", "content": f"{body['model']} says: the shepherd does."}
                self.answer(200, {"object": "chat.completion", "choices": [{"index": 0, "message": message}]})

            def answer(self, status, content):
                data = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
