"""Produces records with the Python client, and reads a topic with it; prints what it read, one JSON value a line.

Arguments: bootstrap servers, topic, how many records are to be read at the end. Input: one key a line.
"""

import json
import sys

from confluent_kafka import Consumer, Producer

bootstrap, topic, expected = sys.argv[1], sys.argv[2], int(sys.argv[3])
producer = Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random", "linger.ms": 5})
failures = []
for key in sys.stdin.read().split("\n"):
    producer.produce(topic, key=key, value="python", headers={"from": "python"},
                     on_delivery=lambda error, message: failures.append(str(error)) if error else None)
    producer.poll(0)
producer.flush(30)
if failures:
    sys.exit(failures[0])

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topic}-python", "isolation.level": "read_committed",
                     "auto.offset.reset": "earliest", "enable.auto.commit": False})
consumer.subscribe([topic])
count = 0
while count < expected:
    message = consumer.poll(30)
    if message is None:
        sys.exit(f"only {count} of {expected} records")
    if message.error():
        sys.exit(str(message.error()))
    headers = {name: value.decode() for name, value in message.headers() or []}
    print(json.dumps({"key": message.key().decode(), "partition": message.partition(),
                      "value": message.value().decode(), "headers": headers}))
    count += 1
consumer.close()
