"""A user's mistake inside a job ends it with one message, in the log and on the terminal, and no traceback."""

from conftest import TINY

from camstudy.data.formats.tfrecord import record_offsets


def test_truncated_shard(copied):
    shard = copied.path / "results/raw/tiny/0.tfrecord"
    folder = copied.path / "click-me"
    folder.mkdir()
    (folder / "val-0.tfrecords").write_bytes(shard.read_bytes()[:-1000])
    people = {"source": "clickme", "shards": ["click-me/val-0.tfrecords"], "num_classes": 10}
    people |= {"human_ceiling": "from_halves", "human_maps": "simulated"}
    datasets = {**TINY["catalog"]["datasets"], "people": people}
    copied.write_study({**TINY, "dataset": "people", "catalog": {**TINY["catalog"], "datasets": datasets}})
    done = copied.run("results/data/people.json", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    start = record_offsets(shard)[23]
    message = f"error: click-me/val-0.tfrecords, record 23 at byte {start}: the shard ends in its data"
    assert message in output
    assert message in (copied.path / "results/logs/prepare_dataset/people.log").read_text()
    assert "Traceback" not in output
    assert not (copied.path / "results/data/people.json").exists()
