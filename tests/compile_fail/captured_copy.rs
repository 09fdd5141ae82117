//! A closure that owns something which can be copied: known to be wrong when its size is.

#[procession::main]
async fn main() {
    let step = std::env::args().count() as u64;
    let _ = procession::spawn(move |x: u64| x + step, 1);
}
