"""What was measured, as frozen types, and its files: ``results.jsonl`` and ``summary.json``.

Nothing here knows a metric, a detector's code or a page: rows and facts go in, the same rows and facts come
out.

| module | holds |
|---|---|
| `rows` | `ResultRow`, one scored picture, and its file |
| `facts` | `Facts`: everything about a validation that is not computed from rows |
| `kept` | the word of every judge of kept on a picture |
| `figures` | figures as they are written down |
| `compute` | pure functions from rows to intervals |
| `summary` | `Summary`: facts, figures, gates and verdict together |
| `report` | `Report`: facts and rows, loaded and saved |
| `schemas` | the published JSON Schemas, generated from these types |
"""
