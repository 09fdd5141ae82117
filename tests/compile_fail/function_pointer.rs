//! A function pointer is a number that means nothing elsewhere.

fn double(x: u64) -> u64 {
    x * 2
}

#[procession::main]
async fn main() {
    let f: fn(u64) -> u64 = double;
    let _ = procession::spawn(f, 1);
}
