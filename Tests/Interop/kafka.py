"""Reads our records as CloudEvents' own library does; prints what it sees, one JSON value a line.

Input: one record a line, {"key", "headers": {name: text}, "value"}.
"""

import json
import sys

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka_event
from jsonschema import Draft202012Validator

schemas = {}
for path in sys.argv[1:]:
    with open(path) as file:
        schema = json.load(file)
    Draft202012Validator.check_schema(schema)
    schemas[schema["$id"]] = Draft202012Validator(schema)

for line in sys.stdin:
    record = json.loads(line)
    headers = {name: value.encode() for name, value in record["headers"].items()}
    event = from_kafka_event(KafkaMessage(headers=headers, key=record["key"], value=record["value"].encode()))
    attributes = {name: str(value) for name, value in event.get_attributes().items()}
    data = event.get_data()
    schemas[attributes["dataschema"]].validate(data)
    print(json.dumps({"attributes": attributes, "data": data}))
