"""A service that is not one: answers that no HTTP or S3 server gives.  More of them, one function at a time: tests/unit/remote."""
import http.server
import itertools
import socket
import threading

import pytest

from conftest import assert_little_memory, assert_readable

XML = b'<?xml version="1.0"?>'
LAUGHS = (XML + b'<!DOCTYPE l [<!ENTITY a "ha">' + b"".join(b'<!ENTITY %c "%s">' % (98 + i, b"&%c;" % (97 + i) * 10) for i in range(9)) +
          b"]><ListBucketResult>&j;</ListBucketResult>")


def answer(status=b"200 OK", body=b"", *fields):
    return b"\r\n".join([b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), b"Connection: close", *fields, b"", body])


ANSWERS = {
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "another version": b"HTTP/9.9 200 OK\r\n\r\n",
    "a status that is no number": b"HTTP/1.1 abc OK\r\n\r\n",
    "a length that is no number": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a body that is cut": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nConnection: close\r\n\r\nabc",
    "a length past all bounds": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\nabc",
    "chunks that lie": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    "a header without end": b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100000,
    "a header line without end": b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 1000000,
    "a redirect": answer(b"301 Moved", b"", b"Location: file:///etc/passwd"),
    "an encoding": answer(b"200 OK", b"\x1f\x8b" + b"a" * 100, b"Content-Encoding: gzip"),
    "an object that is none": answer(b"200 OK", b"a" * 4096),
    "an error without meaning": answer(b"403 Forbidden", b"\xff\xfe<<<"),
    "an error that nests": answer(b"403 Forbidden", b"<a>" * 100000),
    "an error with entities": answer(b"403 Forbidden", LAUGHS),
    "an error without end": answer(b"400 Bad", XML + b"<Error><Code>" + b"A" * 5000000 + b"</Code></Error>"),
}


class Liar:
    """Says the same to everybody, until closed."""

    def __init__(self, reply):
        self.reply = reply
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked = 0
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.asked += 1
            with connection:
                try:
                    connection.settimeout(10)
                    connection.recv(65536)
                    connection.sendall(self.reply)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(20)


@pytest.mark.parametrize("name", ANSWERS)
def test_malformed_http_and_xml_from_the_store_is_refused(scene, name):
    liar = Liar(ANSWERS[name])
    scene.gamma.env.update(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="never-to-be-shown")
    try:
        done = scene.gamma.run("join", scene.gamma.mountpoint, "--vault", scene.gamma.dir, "--remote",
                               f"s3:http://127.0.0.1:{liar.port}/bucket", "--no-passphrase", "--recovery-key-file", scene.paper,
                               check=False)
    finally:
        liar.close()
    scene.gamma.refuses(done, f"127.0.0.1:{liar.port}")
    assert liar.asked and not scene.gamma.dir.exists()
    assert "never-to-be-shown" not in done.stderr and "passwd" not in done.stderr
    assert all(c.isprintable() for c in done.stderr.rstrip("\n")), done.stderr
    assert_little_memory()
    assert_readable(scene.alpha, ["one"])


def test_a_listing_that_never_ends_is_given_up(scene):
    """Each page is empty, and says that there are more."""
    pages = itertools.count()

    class Endless(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self):
            if "list-type=2" in self.path:
                status = 200
                body = XML + (b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>%d</NextContinuationToken>"
                              b"</ListBucketResult>" % next(pages))
            else:
                status, body = 200, scene.object(self.path.removeprefix("/bucket/")).read_bytes()
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):  # pylint: disable=redefined-builtin
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    scene.gamma.env.update(AWS_ACCESS_KEY_ID="id", AWS_SECRET_ACCESS_KEY="secret")
    try:
        done = scene.gamma.run("join", scene.gamma.mountpoint, "--vault", scene.gamma.dir, "--remote",
                               f"s3:http://127.0.0.1:{server.server_port}/bucket", "--no-passphrase", "--recovery-key-file",
                               scene.paper, check=False)
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)
    scene.gamma.refuses(done, "answered with something other")
    assert next(pages) > 0 and not scene.gamma.dir.exists()
    assert_little_memory()
