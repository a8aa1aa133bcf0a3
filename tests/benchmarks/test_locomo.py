"""The recall benchmark reads its format and counts right, on a made-up conversation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

TURNS = [
    "I moved to Turin",
    "How nice!",
    "My cat likes the balcony",
    "Mine hates heights",
    "Shall we cook soup?",
    "Leek soup",
]
CONVERSATION = {
    "speaker_a": "Ada",
    "speaker_b": "Bob",
    "session_1_date_time": "1:56 pm on 8 May, 2023",
    "session_1": [
        {"speaker": "Ada" if i % 2 == 0 else "Bob", "dia_id": f"D1:{i + 1}", "text": text}
        for i, text in enumerate(TURNS)
    ],
    "session_2_date_time": "9:05 am on 1 June, 2023",
    "session_2": [
        {"speaker": "Bob", "dia_id": f"D2:{i + 1}", "text": f"Trains and numbers {i}", "blip_caption": "a train"}
        for i in range(60)
    ],
}
QUESTIONS = [
    {"question": "Where did Ada move?", "category": 4, "evidence": ["D1:1"], "answer": "Turin"},
    {"question": "What does the cat like?", "category": 1, "evidence": ["D:1:03; D1:1"], "answer": "the balcony"},
    {"question": "Whose evidence is unknown?", "category": 1, "evidence": ["D9:9"], "answer": ""},
    {"question": "Who adores leeks?", "category": 5, "evidence": ["D1:6"], "answer": ""},
]


def test_the_benchmark_reads_asks_and_counts(tmp_path: Path) -> None:
    """Odd labels are read, unknown evidence is left out, category 5 is not in the headline."""
    data = tmp_path / "data.json"
    data.write_text(json.dumps([{"sample_id": "made-up", "conversation": CONVERSATION, "qa": QUESTIONS}]))
    command = [
        sys.executable,
        "-m",
        "benchmarks.locomo",
        "--data",
        str(data),
        "--set",
        "MEMORY_MODE=test",
        "--by-category",
    ]
    environment = {**os.environ, "SFM_DATA_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[0] == ["R@5", "R@10", "R@20", "R@50", "n"]
    assert lines[1] == ["categories", "1", "to", "4", "100.0", "100.0", "100.0", "100.0", "2"]
    assert [line[-1] for line in lines[2:5]] == ["1", "1", "1"]
