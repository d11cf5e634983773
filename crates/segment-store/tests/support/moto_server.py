"""A moto S3 server on a free port of the loopback, with one bucket, for tests.

moto decides conditional puts by look-then-write without a lock, and a read of an object that is being replaced fails; S3
does neither. So requests for objects run under one lock here. Python's HTTP server takes a request whose head was cut off for a whole
one, and would store an empty object; here it is dropped. Prints "listening PORT" when it serves, and ends when its standard
input is closed, so that it never outlives its test.

On its standard input it takes "kill", which cuts every connection and closes the port (answer: "killed"), and "start", which
serves again on the same port ("listening PORT"). Data stays, since it is this process's. A request that was cut may still be
carried out. "list" is answered with "listed" and the keys of all objects, with spaces between.
"""

import os
import socket
import sys
import threading
import urllib.request

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.responses import S3Response
from s3_client import keys
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

LOCK = threading.RLock()


def locked(method):
    def call(*arguments, **named):
        with LOCK:
            return method(*arguments, **named)

    return call


for name in ("_key_response", "_bucket_response_post"):
    setattr(S3Response, name, locked(getattr(S3Response, name)))


class Lines:
    """Reads lines and remembers the last."""

    def __init__(self, file):
        self.file = file
        self.last = None

    def readline(self, *size):
        self.last = self.file.readline(*size)
        return self.last


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def parse_request(self):
        file, self.rfile = self.rfile, Lines(self.rfile)
        try:
            parsed = super().parse_request()
            is_cut_off = self.rfile.last == b""
        finally:
            self.rfile = file
        if is_cut_off:
            self.close_connection = True
        return parsed and not is_cut_off

    def log_request(self, *_):
        pass


class Server(ThreadedWSGIServer):
    def __init__(self, port):
        super().__init__("127.0.0.1", port, DomainDispatcherApplication(create_backend_app), handler=Quiet)
        self.connections = set()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def process_request(self, request, client_address):
        self.connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request):
        self.connections.discard(request)
        super().close_request(request)

    def handle_error(self, request, client_address):
        pass

    def log(self, *_):
        pass

    def kill(self):
        self.shutdown()
        self.server_close()
        for connection in list(self.connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


server = Server(0)
port = server.server_port
urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{sys.argv[1]}", method="PUT"))
print("listening", port, flush=True)
for line in sys.stdin:
    if line.strip() == "kill":
        server.kill()
        print("killed", flush=True)
    elif line.strip() == "start":
        server = Server(port)
        print("listening", port, flush=True)
    elif line.strip() == "list":
        print("listed", *keys(port, sys.argv[1]), flush=True)
os._exit(0)
