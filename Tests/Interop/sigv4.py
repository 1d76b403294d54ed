"""Makes sigv4.json: requests signed by botocore's S3SigV4Auth, for the signer to be compared with.

Run with botocore installed: `python3 sigv4.py > sigv4.json`. The same seed gives the same requests.
"""

import datetime
import json
import random
import urllib.parse
from unittest import mock

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

random.seed(20261124)
SAFE = "abcXYZ019-_.~%=/"
ODD = SAFE + " +&é?*'()!@:,;$"


def text(alphabet, longest):
    return "".join(random.choice(alphabet) for _ in range(random.randint(1, longest)))


def encoded(value, safe):
    return urllib.parse.quote(value, safe=safe)


def vector():
    token = text("abcdEFG+/=", 40) if random.random() < 0.3 else None
    keys = Credentials("AKID" + text("ABC019", 12), text("abcXYZ0+/", 30), token)
    region = random.choice(["us-east-1", "eu-central-1", "auto"])
    host = random.choice(["127.0.0.1:8333", "bucket.s3.amazonaws.com", "minio.example"])
    path = "/" + encoded(text(ODD, 30).lstrip("/"), "/~-_.")
    query = [(text(ODD, 10), text(ODD, 10) if random.random() < 0.8 else "") for _ in range(random.randint(0, 4))]
    query = list({name: (name, value) for name, value in query}.values())
    headers = {"X-Amz-Meta-" + text("abc", 5): text("ab  c", 12).strip() for _ in range(random.randint(0, 2))}
    condition = random.choice([{}, {"If-None-Match": "*"}, {"If-Match": '"0123abc"'}])
    body = bytes(random.randrange(256) for _ in range(random.randint(0, 50)))
    line = "&".join(f"{encoded(n, '~-_.')}={encoded(v, '~-_.')}" for n, v in query)
    method = random.choice(["GET", "PUT", "DELETE", "POST"])
    url = f"https://{host}{path}" + (f"?{line}" if line else "")
    time = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(
        seconds=random.randrange(10**8)
    )
    request = AWSRequest(method=method, url=url, data=body, headers={**headers, **condition})
    auth = botocore.auth.S3SigV4Auth(keys, "s3", region)
    request.context["payload_signing_enabled"] = True
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda remove_tzinfo=True: time.replace(tzinfo=None)):
        auth.add_auth(request)
    return {
        "access_key": keys.access_key,
        "secret_key": keys.secret_key,
        "token": token or "",
        "region": region,
        "time": int(time.timestamp() * 1000),
        "method": method,
        "host": host,
        "path": path,
        "query": [[name, value] for name, value in query],
        "headers": {**headers, **condition},
        "body": body.hex(),
        "authorization": request.headers["Authorization"],
    }


print(json.dumps([vector() for _ in range(200)], indent=0))
