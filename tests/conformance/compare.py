"""What is the same in two servers' answers, and where they differ.

`normal` takes out what may differ between two runs of one server (times, counters, the server's own
name); `differences` gives every other place where two answers part, as `field: theirs, ours`.
"""

import fnmatch
import math
import tomllib
from dataclasses import dataclass, field

LONGEST_TEXT = 400
TOLERANCE = 1e-5
# Two ways to write the same FP32 may differ by its smallest step.
SMALLEST = 1e-45
NO_ANSWER = ("closed", "silent")


def normal(answer):
    for reply in [answer.get("json"), *answer.get("replies", [])]:
        if isinstance(reply, dict):
            if "extensions" in reply:
                reply["name"], reply["version"] = "*", "*"
            for model in reply.get("model_stats", []):
                _statistics(model)
    return _shortened(answer)


def _statistics(model):
    """Counters and times become 0; over gRPC, where 0 is left out, they go."""
    over_grpc = "response_stats" not in model
    for key in ["last_inference", "inference_count", "execution_count"]:
        model.pop(key, None) if over_grpc else model.update({key: _zero(model.get(key))})
    for key, duration in model.get("inference_stats", {}).items():
        model["inference_stats"][key] = {} if over_grpc else {name: _zero(value) for name, value in duration.items()}
    batches = model.pop("batch_stats", [])
    if not over_grpc:
        model["batch_stats"] = "a list" if isinstance(batches, list) else batches


def _zero(value):
    return 0 if isinstance(value, int) else value


def _shortened(value):
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"{value[:60]}.. ({len(value)} letters)"
    if isinstance(value, dict):
        return {_shortened(key): _shortened(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shortened(inner) for inner in value]
    return value


def differences(theirs, ours):
    """Yields (field, theirs, ours). Fields: status, message, headers.NAME, body.PATH, order.PATH, tail..

    Where one gives an answer and the other an error or nothing, the rest has nothing in common.
    """
    if theirs["status"] != ours["status"]:
        yield "status", theirs["status"], ours["status"]
    said = _message(theirs), _message(ours)
    if any(answer["status"] in NO_ANSWER for answer in (theirs, ours)):
        return
    if (said[0] is None) != (said[1] is None):
        if theirs["status"] == ours["status"]:
            yield "error", *said
        return
    if said[0] != said[1]:
        yield "message", *said
    for key in theirs | ours:
        if key == "headers" or (key != "status" and said[0] is None):
            name = {"json": "body", "replies": "body"}.get(key, key)
            yield from _at(name, theirs.get(key), ours.get(key))


def _message(answer):
    """The text of an error, where the answer is nothing but an error."""
    if "message" in answer:
        return answer["message"]
    body = answer.get("json")
    if isinstance(body, dict) and list(body) == ["error"] and isinstance(body["error"], str):
        return body["error"]
    return None


def _at(path, theirs, ours):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        both = [key for key in theirs if key in ours]
        if path != "headers" and both != [key for key in ours if key in theirs]:
            yield f"order.{path}", list(theirs), list(ours)
        for key in theirs | ours:
            yield from _at(f"{path}.{key}", theirs.get(key), ours.get(key))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for index, (their, our) in enumerate(zip(theirs, ours)):
            yield from _at(f"{path}.{index}", their, our)
    elif not _same(theirs, ours):
        yield path, theirs, ours


def _same(theirs, ours):
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (theirs, ours))
    if numbers and float in (type(theirs), type(ours)):
        return type(theirs) is type(ours) and math.isclose(theirs, ours, rel_tol=TOLERANCE, abs_tol=SMALLEST)
    return type(theirs) is type(ours) and theirs == ours


@dataclass
class Known:
    """One entry of differences.toml."""

    reason: str
    cases: list
    fields: list
    triton: object = None
    ours: object = None
    used: set = field(default_factory=set)

    def explains(self, case, place, theirs, ours):
        if self.triton not in (None, theirs) or self.ours not in (None, ours):
            return False
        names = [pattern for pattern in self.cases if fnmatch.fnmatchcase(case, pattern)]
        places = [pattern for pattern in self.fields if fnmatch.fnmatchcase(place, pattern)]
        if names and places:
            self.used.update(names + places)
        return bool(names and places)

    def unused(self):
        return [pattern for pattern in self.cases + self.fields if pattern not in self.used]


def known(path):
    return [Known(**entry) for entry in tomllib.loads(path.read_text()).get("difference", [])]
