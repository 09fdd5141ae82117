//! `source()` of a `JoinError`.

use std::error::Error as _;

use procession::{PanicReport, Process};

use crate::deadline::within;
use crate::failure;

#[procession::test]
async fn source_of_a_panic_is_its_report() {
    let (error, _) = failure(|| -> u32 { panic!("two\nlines") }, ()).await;
    let source = error.source().expect("a panic has a report");
    let report = source.downcast_ref::<PanicReport>().unwrap();
    assert_eq!(Some(report), error.panic());
    assert!(error.to_string().contains(&source.to_string()), "{error}");
    assert!(source.to_string().ends_with(": two lines"), "{source}");
}

#[procession::test]
async fn source_of_a_failed_start_is_the_system_error() {
    let missing = Process::builder().current_dir("/there/is/no/such/directory");
    let error = within(missing.spawn(|| 1, ())).await.unwrap_err();
    let source = error.source().expect("the start failed for a reason");
    assert!(source.to_string().contains("No such file"), "{source}");
    assert!(error.to_string().contains(&source.to_string()), "{error}");
}

#[procession::test]
async fn source_of_a_plain_exit_is_none() {
    let (error, _) = failure(|| -> u32 { std::process::exit(4) }, ()).await;
    assert!(error.is_exited() && error.source().is_none(), "{error:?}");
}
