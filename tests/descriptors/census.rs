//! The census itself: what other tests rely on to find leftovers.

use std::fs::File;

use crate::deadline;
use crate::leftovers::{Census, alone};

#[procession::test]
async fn census_finds_descriptors_tasks_zombies_and_orphans() {
    let test = "census::census_finds_descriptors_tasks_zombies_and_orphans";
    alone(test, async {
        let before = Census::now();
        assert_eq!(before.left(), Vec::<String>::new());
        let file = File::open("/dev/null").unwrap();
        assert!(before.left()[0].contains("/dev/null"));
        drop(file);
        let pipe = rustix::pipe::pipe().unwrap();
        assert!(before.left()[0].contains("pipe"));
        drop(pipe);
        let task = tokio::spawn(std::future::pending::<()>());
        assert!(before.left()[0].contains("tasks"));
        task.abort();
        before.assert_none().await;
        let mut zombie = std::process::Command::new("true").spawn().unwrap();
        let seen = || before.left().iter().any(|found| found.contains("state Z"));
        deadline::until(seen).await;
        zombie.wait().unwrap();
        before.assert_none().await;
        // An orphan: the shell exits and leaves `sleep` running.
        let script = "sleep 1000 >/dev/null 2>&1 & echo $!";
        let shell = std::process::Command::new("sh")
            .args(["-c", script])
            .output()
            .unwrap();
        let pid = String::from_utf8(shell.stdout)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // It may not have executed `sleep` yet.
        let seen = || before.left().iter().any(|found| found.contains("sleep"));
        deadline::until(seen).await;
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    })
    .await;
}
