"""A small S3 server on the loopback address: real HTTP, real signatures; what it holds can be looked at and changed.

    with serve_s3() as server:
        bucket = server.new_bucket()

It puts, gets, tells, lists (a few keys a page), and deletes objects, as Amazon's API reference has it, and answers a
request that is not signed with the credentials of `ENVIRON` as Amazon does: 403. moto does not check that, and
cannot be installed beside us (its botocore wants python-dateutil below 3).
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import re
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from lxml import etree

#: The tests' credentials; the secret must be found nowhere.
ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIATESTS",
    "AWS_SECRET_ACCESS_KEY": "hunter2-hunter2-hunter2",
    "AWS_REGION": "eu-test-1",
}
#: Keys told at once: a list of any length takes several requests.
PAGE = 7

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8}/[^/]+/s3/aws4_request), ?SignedHeaders=([^,]+), ?Signature=(\w+)\Z"
)


class _Object:
    """What lies under a key."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.put_at = time.time()

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data, usedforsecurity=False).hexdigest()}"'


class S3Server:
    """The server, and what lies in it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.buckets: dict[str, dict[str, _Object]] = {}
        #: Requests whose signature was not ours.
        self.refused = 0
        self._numbers = itertools.count()

    def new_bucket(self) -> str:
        """The name of an empty one."""
        name = f"bucket-{next(self._numbers)}"
        self.buckets[name] = {}
        return name

    def sizes(self, bucket: str) -> dict[str, int]:
        """Key -> bytes."""
        return {key: len(found.data) for key, found in self.buckets[bucket].items()}

    def age(self, bucket: str, key: str, seconds: float) -> None:
        """It was put at that time."""
        self.buckets[bucket][key].put_at = seconds

    def write(self, bucket: str, key: str, data: bytes) -> None:
        """These bytes lie there now."""
        self.buckets[bucket][key] = _Object(data)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    s3: S3Server

    def do_PUT(self) -> None:
        if (place := self._place()) is not None:
            bucket, key = place
            bucket[key] = _Object(self._body)
            self._answer(200, headers={"ETag": bucket[key].etag})

    def do_GET(self) -> None:
        if (place := self._place()) is not None:
            bucket, key = place
            if key:
                self._tell(bucket, key)
            else:
                self._list(bucket)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        """Delete several."""
        if (place := self._place()) is not None:
            bucket, _ = place
            keys = [found.text or "" for found in etree.fromstring(self._body).iter("{*}Key")]
            for key in keys:
                bucket.pop(key, None)
            told = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{told}</DeleteResult>".encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def _place(self) -> tuple[dict[str, _Object], str] | None:
        """The bucket and the key, once the request is read and seen to be signed."""
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._is_signed():
            self.s3.refused += 1
            self._answer(403, b"<Error><Code>SignatureDoesNotMatch</Code></Error>")
            return None
        name, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        if name not in self.s3.buckets:
            self._answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
            return None
        return self.s3.buckets[name], key

    def _is_signed(self) -> bool:
        """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
        match = _AUTHORIZATION.match(self.headers.get("Authorization") or "")
        if match is None:
            return False
        key_id, scope, signed, signature = match.groups()
        target = urlsplit(self.path)
        hashed = self.headers["x-amz-content-sha256"]
        canonical = "\n".join(
            [
                self.command,
                target.path,
                "&".join(
                    part if "=" in part else f"{part}="
                    for part in sorted(filter(None, target.query.split("&")))
                ),
                *(f"{name}:{' '.join((self.headers[name] or '').split())}" for name in signed.split(";")),
                "",
                signed,
                hashed,
            ]
        )
        words = f"AWS4-HMAC-SHA256\n{self.headers['x-amz-date']}\n{scope}\n{_sha256(canonical.encode())}"
        secret = f"AWS4{ENVIRON['AWS_SECRET_ACCESS_KEY']}".encode()
        for part in (*scope.split("/"), words):
            secret = hmac.digest(secret, part.encode(), "sha256")
        ours = key_id == ENVIRON["AWS_ACCESS_KEY_ID"] and f"/{ENVIRON['AWS_REGION']}/" in scope
        whole = hashed in ("UNSIGNED-PAYLOAD", _sha256(self._body))
        return ours and whole and hmac.compare_digest(secret.hex(), signature)

    def _tell(self, bucket: dict[str, _Object], key: str) -> None:
        found = bucket.get(key)
        if found is None:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        told = {"ETag": found.etag, "Last-Modified": formatdate(found.put_at, usegmt=True)}
        self._answer(200, found.data, headers=told)

    def _list(self, bucket: dict[str, _Object]) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        after = asked.get("continuation-token", "")
        keys = sorted(key for key in bucket if key.startswith(asked.get("prefix", "")) and key > after)
        told = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(bucket[key].data)}</Size>"
            f"<ETag>{escape(bucket[key].etag)}</ETag><LastModified>{_iso(bucket[key].put_at)}</LastModified>"
            "</Contents>"
            for key in keys[:PAGE]
        )
        more = len(keys) > PAGE
        following = f"<NextContinuationToken>{escape(keys[PAGE - 1])}</NextContinuationToken>" if more else ""
        self._answer(
            200,
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{following}{told}"
            "</ListBucketResult>".encode(),
        )

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))


@contextlib.contextmanager
def serve_s3() -> Iterator[S3Server]:
    """On a free port, in threads."""
    handler = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        http.block_on_close = False
        server = S3Server(http.server_port)
        handler.s3 = server  # type: ignore[attr-defined]  # http.server makes handlers by class
        thread = threading.Thread(target=http.serve_forever, name="test-s3", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join(10)
