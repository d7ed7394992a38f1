#!/usr/bin/env bash
# Measures eventyard and event-ruler side by side: the same events, the same rules, in turns, one thread each.
#
#   rules/benches/beside.sh [FOLDER] [ROUNDS]
#
# FOLDER (default: target/beside) takes the data and what is built; each of ROUNDS (default: 3) runs both engines on
# both files. Needs a JDK of at least 17 and Maven. Prints for each set the best round of each engine, in events per
# second of processor time, and the median of the rounds' ratios; fails where the two do not count the same matches.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=${1:-target/beside}
rounds=${2:-3}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
target=${CARGO_TARGET_DIR:-target}

cargo build --locked --release -p eventyard-rules --example match_data --example match_bench
mvn -q -B -f rules/benches/event-ruler/pom.xml -DoutputFolder="$folder/event-ruler" package
"$target/release/examples/match_data" "$folder"

: > "$folder/results.jsonl"
# A set must be warm before it counts: five passes for the virtual machine's compiler, one for our caches.
measure() {
    "$target/release/examples/match_bench" "$folder/$1.jsonl" "$folder/$1-rules.jsonl" 1 10
    java -Xmx2g -XX:+UseSerialGC -cp "$folder/event-ruler/classes:$folder/event-ruler/lib/*" bench.MatchBench \
        "$folder/$1.jsonl" "$folder/$1-rules.jsonl" 5 5
}
for _ in $(seq "$rounds"); do
    measure parcels >> "$folder/results.jsonl"
    measure orders >> "$folder/results.jsonl"
done

echo "load: $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
python3 - "$folder/results.jsonl" <<'PYTHON'
import json, statistics, sys

runs = {}
for line in open(sys.argv[1], encoding="utf-8"):
    run = json.loads(line)
    runs.setdefault(run["set"], {}).setdefault(run["engine"], []).append(run)
print(f"{'set':20} {'eventyard':>12} {'event-ruler':>12} {'ratio':>7}  build_cpu_s and heap_mib of each")
differ = []
for name, engines in runs.items():
    ours, theirs = engines["eventyard"], engines["event-ruler"]
    best = [max(run["events_per_cpu_s"] for run in side) for side in (ours, theirs)]
    ratio = statistics.median(a["events_per_cpu_s"] / b["events_per_cpu_s"] for a, b in zip(ours, theirs))
    built = [f"{min(r['build_cpu_s'] for r in side):.2f} {max(r['heap_mib'] for r in side):.0f}" for side in (ours, theirs)]
    print(f"{name:20} {best[0]:12,.0f} {best[1]:12,.0f} {ratio:6.1f}x  {built[0]} | {built[1]}")
    if {run["matches"] for run in ours + theirs} != {ours[0]["matches"]}:
        differ.append(name)
if differ:
    sys.exit(f"the engines do not count the same matches in: {', '.join(differ)}")
PYTHON
