//! A test with Tokio's attribute instead of ours: the first spawn says which to write. Alone in its
//! file, because another test would open the way in for it.

mod deadline;

#[tokio::test]
async fn the_first_spawn_says_which_to_write() {
    let at_once = std::time::Duration::from_secs(1);
    let outcome = deadline::within_limit(at_once, procession::spawn(|| 1, ())).await;
    let error = outcome.expect_err("no child can come in");
    assert!(error.is_spawn() && !error.started(), "{error:?}");
    assert!(error.to_string().contains("#[procession::test]"), "{error}");
}
