//! What the kernel says about this process and everything below it: memory and context switches.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Duration;

/// How long a pool gets to come to rest before it counts as idle.
pub(crate) const REST: Duration = Duration::from_millis(500);
/// How long an idle pool is watched.
const WATCH: Duration = Duration::from_secs(2);

/// The proportional set size of a process in bytes: pages it shares count by their share.
pub(crate) fn pss(pid: u32) -> f64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).expect("a worker that is idle is there to be read");
    let kib = field(&rollup, "Pss:").expect("smaps_rollup has had Pss since Linux 4.14");
    (kib * 1024) as f64
}

/// The sizes of all processes below this one, once they have come to rest.
pub(crate) fn pss_of_descendants() -> Vec<f64> {
    thread::sleep(REST);
    descendants().into_iter().map(pss).collect()
}

/// Counts the context switches of this process and all below it while a runtime of one thread
/// sleeps. The sleep's own wake-ups are among them.
pub(crate) async fn switches_while_idle() -> Vec<f64> {
    tokio::time::sleep(REST).await;
    let before = switches();
    tokio::time::sleep(WATCH).await;
    let after = switches();
    // A thread that ended in between is counted as if it had not switched.
    let count: u64 = after
        .iter()
        .map(|(task, now)| now - before.get(task).unwrap_or(&0))
        .sum();
    vec![count as f64]
}

/// The processes below this one, their children included.
pub(crate) fn descendants() -> Vec<u32> {
    let parents = parents();
    let mut found = vec![process::id()];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(
            parents
                .iter()
                .filter(|&(_, &of)| of == parent)
                .map(|(&pid, _)| pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Voluntary and involuntary switches so far, by the directory of the thread.
fn switches() -> HashMap<PathBuf, u64> {
    let mut processes = descendants();
    processes.push(process::id());
    let mut counts = HashMap::new();
    for pid in processes {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten().map(|entry| entry.path()) {
            let Ok(status) = fs::read_to_string(thread.join("status")) else {
                continue;
            };
            let voluntary = field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            let involuntary = field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
            counts.insert(thread, voluntary + involuntary);
        }
    }
    counts
}

/// Every process of the machine and its parent.
fn parents() -> HashMap<u32, u32> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc");
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            Some((pid, field(&status, "PPid:")?.try_into().ok()?))
        })
        .collect()
}

/// The number after `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "nonvoluntary_ctxt_switches:\t3\nvoluntary_ctxt_switches:\t7\nPss:  12 kB\n";
        assert_eq!(field(text, "voluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(text, "Pss:"), Some(12));
        assert_eq!(field(text, "Rss:"), None);
    }

    #[test]
    fn a_child_is_a_descendant() {
        let mut child = process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep exists");
        assert!(descendants().contains(&child.id()));
        assert!(pss(child.id()) > 0.0);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}
