"""A webhook with the flags and paths of `keyshepherd webhook` that only leaves a label: what test_rig.py tries the rig with."""

import argparse
import base64
import http.server
import json
import signal
import ssl
import sys
import threading

flags = argparse.ArgumentParser()
flags.add_argument("command", choices=["webhook"])
for flag in ("--listen", "--metrics-listen", "--tls-cert-file", "--tls-key-file"):
    flags.add_argument(flag, required=True)
flags, _ = flags.parse_known_args()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(b"ok")

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        print(json.dumps({"msg": "review", "operation": request["operation"], "name": request["name"]}), flush=True)
        metadata = request["object"]["metadata"]
        patch = [{"op": "add", "path": "/metadata/labels", "value": metadata.get("labels", {}) | {"stand-in": "seen"}}]
        response = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch",
                    "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
        self.answer(json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode())

    def log_message(self, *_):
        pass


host, port = flags.listen.rsplit(":", 1)
server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
server.daemon_threads = True
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain(flags.tls_cert_file, flags.tls_key_file)
server.socket = tls.wrap_socket(server.socket, server_side=True)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
sys.exit(0)
