//! The arguments are not of the types that the function takes.

fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[procession::main]
async fn main() {
    let _ = procession::spawn(add, (1, "two"));
}
