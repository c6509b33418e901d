"""Reads two blocks with pyarrow and compares them: the schema as text, and the rows after bringing both into one order.

    python rows.py RECORDED/data.parquet WRITTEN/data.parquet

Rows are ordered by trace id; resources, scopes and spans of a row are compared whatever their order is, with all their
attributes. Nested set numbers may differ where siblings are numbered in another order: they are compared by what they
say, that is by which spans are ancestors of which.
"""

import json
import sys

import pyarrow.parquet as pq

NUMBERS = ("NestedSetLeft", "NestedSetRight", "ParentID")


def plain(value):
    """A value as JSON holds it, with the attributes of every list in one order."""
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list):
        parts = [plain(part) for part in value]
        if parts and isinstance(parts[0], dict) and "Key" in parts[0]:
            parts.sort(key=lambda part: json.dumps(part, sort_keys=True))
        return parts
    return value


def shape(spans):
    """Of each span the id of the span it is numbered under, and whether its numbers enclose what they must."""
    by_left = {span["NestedSetLeft"]: span for span in spans if span["NestedSetLeft"]}
    said = []
    for span in spans:
        left, right, parent = (span[name] for name in NUMBERS)
        above = by_left.get(parent)
        if left and above and not above["NestedSetLeft"] < left < right < above["NestedSetRight"]:
            sys.exit(f"span {span['SpanID'].hex()} is not inside of its parent's numbers")
        inside = sum(1 for other in spans if left < other["NestedSetLeft"] < right)
        said.append((span["SpanID"].hex(), bool(left), parent if above is None else above["SpanID"].hex(), inside))
    if len(by_left) != sum(1 for span in spans if span["NestedSetLeft"]):
        sys.exit("two spans of a trace have the same number")
    return sorted(said, key=str)


def normal(row):
    """One row without any order but that of its keys."""
    spans, parts = [], []
    for resource_spans in row.pop("rs")["list"] if isinstance(row["rs"], dict) else row.pop("rs"):
        resource_spans = resource_spans.get("element", resource_spans)
        for scope_spans in listed(resource_spans["ss"]):
            for span in listed(scope_spans["Spans"]):
                spans.append(dict(span))
                span = {key: part for key, part in span.items() if key not in NUMBERS}
                parts.append(
                    {
                        "resource": plain(resource_spans["Resource"]),
                        "scope": plain(scope_spans["Scope"]),
                        "span": plain(span),
                    }
                )
    parts.sort(key=lambda part: json.dumps(part, sort_keys=True))
    return {"row": plain(row), "spans": parts, "shape": shape(spans)}


def listed(value):
    """The elements of a list column, whichever way it is spelled."""
    if isinstance(value, dict):
        value = value["list"]
    return [part.get("element", part) if isinstance(part, dict) else part for part in value or []]


def rows(path):
    table = pq.read_table(path).to_pylist()
    return {row["TraceID"].hex(): normal(row) for row in table}


def difference(path, one, other):
    """The first place at which two values differ."""
    if type(one) is not type(other):
        return f"{path}: {one!r} and {other!r}"
    if isinstance(one, dict):
        for key in sorted(set(one) | set(other)):
            if one.get(key) != other.get(key):
                return difference(f"{path}.{key}", one.get(key), other.get(key))
    if isinstance(one, list) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other)):
            if left != right:
                return difference(f"{path}[{index}]", left, right)
    return f"{path}: {one!r} and {other!r}"


def main() -> None:
    recorded, written = sys.argv[1:]
    schemas = [str(pq.ParquetFile(path).schema).split("\n", 1)[1] for path in (recorded, written)]
    if schemas[0] != schemas[1]:
        pairs = zip(schemas[0].splitlines(), schemas[1].splitlines())
        sys.exit("schemas differ: " + next((f"{a!r} and {b!r}" for a, b in pairs if a != b), "one is longer"))
    first, second = rows(recorded), rows(written)
    if set(first) != set(second):
        sys.exit(f"traces differ: {sorted(set(first) ^ set(second))}")
    wrong = [difference(trace, first[trace], second[trace]) for trace in first if first[trace] != second[trace]]
    if wrong:
        sys.exit(f"{len(wrong)} of {len(first)} traces differ:\n" + "\n".join(wrong[:20]))
    print(json.dumps({"traces": len(first), "spans": sum(len(row["spans"]) for row in first.values())}))


if __name__ == "__main__":
    main()
