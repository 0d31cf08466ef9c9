"""A service whose answers can't be relied on: it hands requests on to another, and spoils as many per cent as it is told, or does
not answer."""
import collections
import http.client
import http.server
import random
import threading
import time
import urllib.parse

import pytest

from services import ceph  # noqa: F401  pylint: disable=unused-import

# Status and code of a refusal.
REFUSALS = {"clock": (403, "RequestTimeTooSkewed"), "expired": (400, "ExpiredToken"), "full": (507, "InsufficientStorage")}


class BadService:
    """Has set() like the service that it stands before, and counts what it did."""

    def __init__(self, behind):
        self.behind = behind
        self.percent = {}
        self.chances = collections.Counter()  # by fault: how often it could have been
        self.struck = collections.Counter()
        self.asked = []  # of all requests: command and path
        self.held = []  # what hold() has held
        self.dropped = 0  # and of that let_go() has dropped
        self.holds = lambda handler: False
        self.drops = False
        self.going_on = threading.Condition()
        self.counting = threading.Lock()
        self.rng = random.Random(1)
        bad = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def answer(self):
                bad.answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = answer

            def log_message(self, format, *args):  # pylint: disable=redefined-builtin
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def keys(self):
        return self.behind.keys()

    def set(self, **percent):
        with self.counting:
            self.percent = percent
            self.chances.clear()
            self.struck.clear()

    def strikes(self, fault):
        """At random; but whoever asks seldom meets each fault, too."""
        with self.counting:
            self.chances[fault] += 1
            percent = self.percent.get(fault, 0)
            due = percent > 0 and not self.struck[fault] and self.chances[fault] >= 10
            if not due and self.rng.random() * 100 >= percent:
                return False
            self.struck[fault] += 1
            return True

    def hold(self, command, part):
        """Requests with that in their path get no answer until let_go()."""
        self.holds = lambda handler: handler.command == command and part in handler.path

    def let_go(self, drop=False):
        """drop: those that were held never get one, and their connections end."""
        with self.going_on:
            self.drops = drop
            self.holds = lambda handler: False
            self.going_on.notify_all()

    def clean_up(self):
        self.let_go()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # One request

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        with self.going_on:
            held = self.holds(handler)
            self.asked.append((handler.command, handler.path))
            if held:
                self.held.append(handler.path)
            self.going_on.wait_for(lambda: not self.holds(handler))
            if held and self.drops:
                self.dropped += 1
                handler.close_connection = True
                return
        for fault, (status, code) in REFUSALS.items():
            if (fault != "full" or handler.command == "PUT") and self.strikes(fault):
                text = f"<Error><Code>{code}</Code></Error>".encode()
                self.send(handler, status, [("Content-Type", "application/xml")], text)
                return
        self.send(handler, *self.ask(handler, body))

    def ask(self, handler, body):
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.behind.endpoint).netloc, timeout=100)
        try:
            connection.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
            for name, value in handler.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            ours = ("content-length", "connection", "transfer-encoding")
            return answer.status, [field for field in answer.getheaders() if field[0].lower() not in ours], answer.read()
        finally:
            connection.close()

    def send(self, handler, status, fields, body):
        if self.strikes("slow"):
            time.sleep(2)
        whole = len(body)
        if body and 200 <= status < 300:
            if self.strikes("corrupted"):
                body = bytearray(body)
                body[self.rng.randrange(whole)] ^= 1 << self.rng.randrange(8)
            if self.strikes("truncated"):
                body = body[:self.rng.randrange(whole)]
        handler.send_response_only(status)
        for name, value in fields:
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(whole))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = len(body) < whole


@pytest.fixture
def bad_service(ceph):  # pylint: disable=redefined-outer-name
    service = BadService(ceph)
    yield service
    service.clean_up()
