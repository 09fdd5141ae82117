//! A function that never returns has no result to await.

#[procession::main]
async fn main() {
    let _ = procession::spawn(|| std::process::abort(), ());
}
