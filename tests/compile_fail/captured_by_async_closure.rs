//! An `async` closure that owns something which can be copied.

#[procession::main]
async fn main() {
    let step = std::env::args().count() as u64;
    let _ = procession::spawn(move |x: u64| async move { x + step }, 1);
}
