"""Runs inside a replica: sends requests to the service there and prints the replies. Standard library only.

Standard input is JSON: seconds that one request may take, and a list of [method, path, headers, body]. Standard output
is a list of [status, text]. A request without an answer has status 0 and the name of the error.
"""

import http.client
import json
import sys

limit, calls = json.load(sys.stdin)
replies = []
for method, path, headers, body in calls:
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=limit)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        status, text = answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        status, text = 0, type(error).__name__
    replies.append([status, text])
    connection.close()
sys.stdout.write(json.dumps(replies))
