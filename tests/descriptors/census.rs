//! The count of descriptors, tasks and processes itself.

use std::fs::File;
use std::io;

use crate::deadline;
use crate::leftovers::{Census, alone};

/// The count itself: a test that looked away would find nothing for ever.
#[procession::test]
async fn the_census_sees_what_is_left() {
    alone("census::the_census_sees_what_is_left", async {
        let before = Census::now();
        assert_eq!(before.left(), Vec::<String>::new());
        let file = File::open("/dev/null").unwrap();
        assert!(before.left()[0].contains("/dev/null"));
        drop(file);
        let pipe = io::pipe().unwrap();
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
        // An orphan: its parent ends at once, and it does not.
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
        assert!(before.left().iter().any(|found| found.contains("sleep")));
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    })
    .await;
}
