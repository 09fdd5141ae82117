//! A test with Tokio's attribute instead of `#[procession::test]`.
//!
//! It is the only test of its binary: the attribute of another test would enable children for it.

mod deadline;

#[tokio::test]
async fn spawn_names_the_attribute_to_write() {
    let at_once = std::time::Duration::from_secs(1);
    let outcome = deadline::within_limit(at_once, procession::spawn(|| 1, ())).await;
    let error = outcome.expect_err("no child can come in");
    assert!(error.is_spawn() && !error.started(), "{error:?}");
    assert!(error.to_string().contains("#[procession::test]"), "{error}");
}
