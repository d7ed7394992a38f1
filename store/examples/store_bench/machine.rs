//! What the figures were measured on, read from `/proc`: a figure without its machine says nothing.

use std::fs::read_to_string;
use std::path::Path;

/// Ticks a second in `/proc/self/stat`; the same on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

/// One line: processor, cores, file system of `dir`, kernel, load.
pub(crate) fn describe(dir: &Path) -> String {
    let cpu = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "machine: {}, {cores} cores, {}, Linux {}, load {}",
        model.unwrap_or("unknown processor"),
        file_system(dir),
        kernel.trim(),
        load()
    )
}

/// The type and device of the file system that holds `dir`.
fn file_system(dir: &Path) -> String {
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let mounts = read_to_string("/proc/self/mounts").unwrap_or_default();
    let found = mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (device, at, kind) = (words.next()?, words.next()?, words.next()?);
            dir.starts_with(at).then(|| (at.len(), format!("{kind} on {device}")))
        })
        .max();
    found.map_or_else(|| "unknown file system".to_owned(), |(_, text)| text)
}

/// The load average of the last minute. This program is part of it.
pub(crate) fn load() -> String {
    let all = read_to_string("/proc/loadavg").unwrap_or_default();
    all.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Processor time of this process so far, in seconds, all threads and the kernel's part included.
pub(crate) fn processor_seconds() -> f64 {
    processor_seconds_of("self")
}

/// Processor time of a process, by its id.
pub(crate) fn processor_seconds_of(process: &str) -> f64 {
    let stat = read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the program's name, which may hold anything, in brackets.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / TICKS_PER_SECOND
}

/// Bytes that this process has handed to write calls so far.
pub(crate) fn written_bytes() -> u64 {
    let io = read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("wchar: ")?.parse().ok()).unwrap_or_default()
}
