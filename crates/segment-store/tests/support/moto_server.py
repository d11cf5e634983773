"""A moto S3 server on a free port of the loopback, with one bucket, for tests.

moto decides conditional puts by look-then-write without a lock, and a read of an object that is being replaced fails; S3
does neither. So requests for objects run under one lock here. Prints "listening PORT" when it serves, and ends when its standard input is closed, so that it never outlives its test.
"""

import os
import sys
import threading
import urllib.request

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3.responses import S3Response
from werkzeug.serving import WSGIRequestHandler, make_server

LOCK = threading.RLock()


def locked(method):
    def call(*arguments, **named):
        with LOCK:
            return method(*arguments, **named)

    return call


for name in ("_key_response", "_bucket_response_post"):
    setattr(S3Response, name, locked(getattr(S3Response, name)))


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


application = DomainDispatcherApplication(create_backend_app)
server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
urllib.request.urlopen(urllib.request.Request(f"{url}/{sys.argv[1]}", method="PUT"))
print("listening", server.server_port, flush=True)
sys.stdin.read()
os._exit(0)
