//! What cannot be called is refused at `cargo build` at the latest, with a message that says what to do instead.
//!
//! Beside each program lies what the compiler says about it. `TRYBUILD=overwrite cargo test --test compile_fail` writes
//! these texts again; read the changes as a user would.

/// A program that compiles is among them because then the others are built and not only checked: what a closure captured
/// is known for certain when its code is generated.
#[test]
fn what_cannot_be_called_is_refused() {
    let cases = trybuild::TestCases::new();
    cases.pass("what_compiles.rs");
    for refused in [
        "argument_not_serialisable",
        "borrowed_argument",
        "captured_by_async_closure",
        "captured_copy",
        "captured_reference",
        "captured_value",
        "closure_without_types",
        "function_pointer",
        "nine_arguments",
        "not_async_main",
        "result_not_serialisable",
        "state_borrowed",
        "state_not_taken",
        "wrong_argument_count",
        "wrong_argument_type",
    ] {
        cases.compile_fail(format!("{refused}.rs"));
    }
}
