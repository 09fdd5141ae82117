//! The attribute is for an `async fn`.

#[procession::main]
fn main() {}
